package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** Nothing is left behind: of a run on its host, of a task in its store, of CRIU in a process. */
final class Remains {

  private static final long PATIENCE_NANOS = 20_000_000_000L;

  /** What a task that checks itself leaves in its own working directory is its own. */
  private static final List<String> PLACES =
      List.of("/run", "/var/cache", "/tmp", "/var/tmp", "/dev/shm", "/mnt/home");

  private Remains() {}

  /**
   * A run that has ended left no process, no mount, no socket and no file with anything in it, but
   * CRIU's cache of what the kernel can do and the lock that marks a store's place.
   *
   * @param mounts of the host before the run
   */
  static void assertNone(Host host, String mounts) throws IOException, InterruptedException {
    assertAlone(host);
    assertEquals(mounts, mounts(host), "mounts");
    List<String> left = new ArrayList<>();
    Path root = Path.of("/proc/" + host.pid() + "/root");
    for (String place : PLACES) {
      Path below = root.resolve(place.substring(1));
      try (Stream<Path> all = Files.walk(below)) {
        for (Path path : all.toList()) {
          String name = path.toString().substring(root.toString().length());
          boolean expected =
              PLACES.contains(name)
                  || name.equals("/run/criu.kdat")
                  || name.equals("/run/mount") // mount(8)'s
                  || name.equals("/run/lifeboat")
                  || name.matches("/run/lifeboat/[0-9a-f]{16}\\.lock")
                  || name.equals("/var/cache/lifeboat");
          if (!expected) {
            left.add(name);
          }
        }
      }
    }
    assertEquals(List.of(), left, "files on " + host.name());
    try (Stream<Path> aside = Files.walk(root.resolve(Host.WORK.substring(1)))) {
      assertEquals(
          List.of(),
          aside.filter(path -> path.toString().contains(".lifeboat-")).toList(),
          "of a roll-back");
    }
  }

  /** No process is left but the host's own. */
  static void assertAlone(Host host) throws IOException, InterruptedException {
    long end = System.nanoTime() + PATIENCE_NANOS;
    while (host.processes().size() > 1 && System.nanoTime() < end) {
      Thread.sleep(20); // they are being killed
    }
    assertEquals(1, host.processes().size(), () -> "processes are left");
  }

  static String mounts(Host host) {
    return Tools.read(Path.of("/proc/" + host.pid() + "/mounts"));
  }

  /** A task that has ended left logs and metadata in its store. */
  static void assertOnlyRecords(Site site, String name) throws IOException {
    assertEquals(
        List.of(),
        site.keys(name, ".fusion/").stream()
            .filter(key -> !key.endsWith(".log"))
            .filter(
                key ->
                    !key.matches(
                        "\\.fusion/dump/(dump_metadata|heartbeat|copies/dump_metadata-[0-9]+)"))
            .toList(),
        "objects of a task that has ended");
    assertEquals(List.of(), site.uploads(name), "unfinished uploads");
  }

  /**
   * The most mappings that CRIU left in one process of the host.
   *
   * @param part of the command lines of the processes to look at
   */
  static long mappings(Host host, String part) throws IOException {
    long most = 0;
    for (Map.Entry<Long, String> process : host.processes().entrySet()) {
      if (process.getValue().contains(part)) {
        String maps = Tools.read(Path.of("/proc/" + process.getKey() + "/maps"));
        most = Math.max(most, maps.lines().filter(line -> line.contains("CRIUMFD")).count());
      }
    }
    return most;
  }
}
