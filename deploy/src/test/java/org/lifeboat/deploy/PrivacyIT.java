package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What Lifeboat makes is its user's alone, and what it is told in confidence it tells nobody. */
final class PrivacyIT {

  private static final int STEPS = 120;
  private static final String STOP = "/mnt/home/stop";

  /** Everything of ours on a host, and the store if it is a folder. */
  private static void assertPrivate(Host host, String when, String... folders) throws Exception {
    List<String> find = new ArrayList<>(List.of("find"));
    find.addAll(List.of(folders));
    find.addAll(List.of("-printf", "%y %m %p\\n"));
    String all = host.run(find.toArray(String[]::new));
    List<String> open =
        all.lines()
            .filter(line -> !line.matches("(d 700|f 600|s 600) .*|l .*"))
            .filter(line -> !line.endsWith("/stop"))
            .toList();
    assertEquals(List.of(), open, when);
    assertTrue(all.lines().count() > 10, () -> when + ": " + all);
  }

  private static Program run(Scene scene, Host host, String umask, String point) throws Exception {
    List<String> command =
        new ArrayList<>(
            List.of("sh", "-c", "umask " + umask + "; exec \"$@\"", "sh", Host.LIFEBOAT));
    command.addAll(List.of(scene.runArguments(Workload.TREE.command(STEPS))));
    return host.start(
        Map.of("LIFEBOAT_CRASH_POINT", point, "LIFEBOAT_CRASH_FILE", STOP), List.of(), command);
  }

  /** Waits until the engine stands still at its point. */
  private static void awaitStop(Host host) throws Exception {
    host.run("sh", "-c", "until [ -e " + STOP + " ]; do sleep 0.05; done");
  }

  @ParameterizedTest
  @ValueSource(strings = {"000", "022"})
  void filesAndFoldersAreTheUsersAlone(String umask) throws Exception {
    try (Scene scene = new Scene("modes-" + umask, Site.Kind.FILE)) {
      Host first = scene.host();
      Program before = run(scene, first, umask, "DUMP_SEALED");
      before.awaitLine("^step 3 ");
      Program saved = scene.checkpoint(first, "--leave-running");
      awaitStop(first); // everything is on the cache disk, the tree is frozen
      assertPrivate(first, "at a dump", "/run/lifeboat", "/var/cache/lifeboat", "/media/task");
      first.run("rm", STOP);
      saved.expect(0);
      scene.checkpoint(first).expect(0);
      before.expect(75);
      first.kill();

      Host second = scene.host();
      Program after = run(scene, second, umask, "RESTORE_FETCHED");
      awaitStop(second); // everything is fetched, nothing of the host is changed
      assertPrivate(second, "at a restore", "/run/lifeboat", "/var/cache/lifeboat", "/media/task");
      assertEquals(java.util.Set.of(), second.ports(), "a port is open during a restore");
      second.run("rm", STOP);
      after.awaitLine("^step ");
      scene.finish(second, after, Workload.TREE);
      Workload.TREE.assertExact(STEPS, before, after);
      assertPrivate(second, "in the store", "/media/task");
    }
  }

  private static final String ID = "AKIAHUSHHUSH";
  private static final String SECRET = "hush/secret+key";
  private static final String TOKEN = "hush-session-token";
  private static final String WORD = "hushword";

  private static void assertSilent(String what, Program program) {
    for (String secret : List.of(SECRET, TOKEN, WORD, "hush%2Fsecret")) {
      assertEquals(List.of(), program.lines(java.util.regex.Pattern.quote(secret)), what);
    }
  }

  /** Whatever goes wrong, at whatever level it is told, no credential is in it. */
  @Test
  void noSecretIsToldWhateverGoesWrong() throws Exception {
    try (Scene scene = new Scene("hush", Site.Kind.VERSITYGW)) {
      Host host = scene.host();
      Map<String, String> base = new TreeMap<>();
      base.put("LIFEBOAT_LOG_LEVEL", "debug");
      base.put("AWS_ACCESS_KEY_ID", ID);
      base.put("AWS_SECRET_ACCESS_KEY", SECRET);
      base.put("AWS_SESSION_TOKEN", TOKEN);
      String[][] cases = {
        {"refused", "s3://bucket/task", "AWS_REGION", "us-east-1"},
        {"no bucket", "s3://nowhere/task", "AWS_REGION", "us-east-1"},
        {"unreachable", "s3://bucket/task", "AWS_ENDPOINT_URL", "http://10.77.0.1:9"},
        {
          "password in endpoint",
          "s3://b/t",
          "AWS_ENDPOINT_URL",
          "http://u:" + WORD + "@10.77.0.1:9"
        },
        {"no endpoint", "s3://b/t", "AWS_ENDPOINT_URL", "ftp://u:" + WORD + "@h/?x=" + WORD},
        {"malformed endpoint", "s3://b/t", "AWS_ENDPOINT_URL", "http://u:" + WORD + "@h h"},
        {"password in URL", "s3://u:" + WORD + "@bucket/t", "AWS_REGION", "x"},
        {"signature in URL", "s3://bucket/t?X-Amz-Signature=" + WORD, "AWS_REGION", "x"},
      };
      for (String[] each : cases) {
        Map<String, String> environment = new TreeMap<>(base);
        environment.put(each[2], each[3]);
        for (String command : List.of("list", "verify")) {
          Program program = host.lifeboat(environment, command, "--store", each[1]);
          assertTrue(program.await() != 0, program::toString);
          assertSilent(each[0] + ", " + command, program);
        }
      }
      Map<String, String> environment = new TreeMap<>(base);
      Program run = host.lifeboat(environment, "run", "--store", "s3://bucket/task", "--", "true");
      run.expect(176);
      assertSilent("run", run);
      environment.put("LIFEBOAT_REQUEST_LOG", "/mnt/home/requests");
      host.lifeboat(environment, "list", "--store", "s3://bucket/task").await();
      String log = host.run("cat", "/mnt/home/requests");
      assertFalse(log.contains(SECRET) || log.contains(TOKEN), log);
      for (String key : scene.site().keys(Scene.NAME, "")) {
        byte[] bytes = Files.readAllBytes(scene.site().object(Scene.NAME, key));
        String text = new String(bytes, StandardCharsets.ISO_8859_1);
        assertFalse(text.contains(SECRET) || text.contains(TOKEN), key);
      }
      assertTrue(Files.exists(Path.of("/proc/" + host.pid())));
    }
  }
}
