package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Dumps and restores where the task, CRIU and all of Lifeboat share a memory limit that is 512 MiB
 * above what the task has: nothing is killed.
 */
final class MemoryLimitIT {

  private static final int STEPS = 2000;
  private static final long MIB = 1 << 20;

  @Test
  void aTaskOf200MiB() throws Exception {
    moves(200, 512, Site.Kind.FILE);
  }

  @Tag("long")
  @Test
  void aTaskOf600MiB() throws Exception {
    moves(600, 512, Site.Kind.VERSITYGW);
  }

  @Tag("long")
  @Test
  void aTaskOf3GiB() throws Exception {
    moves(3072, 512, Site.Kind.FILE);
  }

  private static void moves(int mebibytes, int more, Site.Kind kind) throws Exception {
    List<String> task =
        List.of(
            "/usr/bin/python3",
            "/srv/src/test/workloads/memory.py",
            Integer.toString(mebibytes),
            Integer.toString(STEPS),
            "0.1");
    try (Scene scene = new Scene("limit-" + mebibytes, kind)) {
      Host first = scene.host(Host.Kind.SMALL);
      Program before = scene.run(first, task);
      before.awaitLine("^step 3 ");
      long limit = residentBytes(first.starting("/usr/bin/python3").getFirst()) + more * MIB;
      first.memory().limit(limit);
      scene.checkpoint(first, "--leave-running").expect(0);
      int printed = before.lines("^step ").size();
      before.awaitLine("^step " + (printed + 2) + " ");
      scene.checkpoint(first).expect(0);
      before.expect(75);
      System.out.println("memory limit, " + mebibytes + " MiB, dumps: " + first.memory());
      before.lines("dump \\d committed|MiB left in ").forEach(System.out::println);
      assertEquals(0, first.memory().kills());
      first.kill();

      Host second = scene.host(Host.Kind.SMALL);
      second.memory().limit(limit);
      Program after = scene.run(second, task);
      after.awaitLine("^step ");
      second.run("touch", "hurry");
      after.expect(0);
      System.out.println("memory limit, " + mebibytes + " MiB, restore: " + second.memory());
      after.lines("restored snapshot|MiB left in ").forEach(System.out::println);
      assertEquals(0, second.memory().kills());

      List<String> printedInAll = new ArrayList<>(before.out());
      printedInAll.addAll(after.out());
      Host alone = scene.host();
      alone.run("touch", "hurry");
      assertEquals(alone.start(task).expect(0).out(), printedInAll);
    }
  }

  /** The engine alone, so that what it needs is known. */
  static long residentBytes(long pid) throws Exception {
    for (String line : Files.readAllLines(Path.of("/proc/" + pid + "/status"))) {
      if (line.startsWith("VmRSS:")) {
        return Long.parseLong(line.replaceAll("\\D", "")) << 10;
      }
    }
    assertTrue(false, "process " + pid + " has ended");
    return 0;
  }
}
