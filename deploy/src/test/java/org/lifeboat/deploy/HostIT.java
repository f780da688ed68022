package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The other tests prove something only if their hosts share the store and nothing else. */
final class HostIT {

  @ParameterizedTest
  @EnumSource
  void sharesTheStoreAndNothingElse(Site.Kind kind) throws Exception {
    Path folder = Host.DEPLOY.resolve("target/it/hosts-" + kind);
    Scene.delete(folder);
    try (Site site = new Site(kind, java.nio.file.Files.createDirectories(folder));
        Host first = site.host("first", folder, Host.Kind.USUAL);
        Host second = site.host("second", folder, Host.Kind.USUAL)) {
      for (String place :
          List.of("/tmp", "/var/tmp", "/var/cache", "/run", "/dev/shm", "/mnt/work")) {
        first.run("touch", place + "/mark");
        second.run("test", "!", "-e", place + "/mark");
      }
      first.run("sh", "-c", "! touch /root/mark /srv/mark 2>/dev/null");
      assertTrue(first.run("ipcmk", "-M", "4096").contains("id"));
      assertTrue(second.run("ipcs", "-m").lines().noneMatch(line -> line.startsWith("0x")));
      assertEquals("second", second.run("hostname"));
      assertEquals("", second.run("ip", "route", "show", "default"));
      String sleeping = "sleep 4711";
      Program program =
          first.start(
              List.of(
                  "sh",
                  "-c",
                  "(setsid "
                      + sleeping
                      + " &); "
                      + sleeping
                      + " & "
                      + "until [ $(pgrep -fc '^sleep 4711') = 2 ]; do :; done; echo up; wait"));
      program.awaitLine("up");
      assertEquals(2, first.processes().values().stream().filter(sleeping::equals).count());
      second.run("sh", "-c", "! pgrep -f '[s]leep 4711'");
      first.kill();
      assertEquals(128 + 9, program.await());
      assertEquals(0, first.processes().size());
      if (kind == Site.Kind.FILE) {
        second.run("touch", "/media/mark");
      } else {
        second.run("curl", "-sS", "-o", "/dev/null", second.environment().get("AWS_ENDPOINT_URL"));
      }
    }
  }
}
