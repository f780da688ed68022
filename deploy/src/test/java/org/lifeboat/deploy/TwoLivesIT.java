package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;

/**
 * A task lives once. A host that stood still comes back when another has its task; several hosts
 * want one task at once; a task is taken from a host that is in the middle of something.
 */
final class TwoLivesIT {

  private static final int STEPS = 250;
  private static final String HERE = "/mnt/home/here";

  /** Every object that a snapshot needs, with its digest. */
  private static Map<String, String> digests(Scene scene, int dump) throws Exception {
    Map<String, String> digests = new TreeMap<>();
    for (String key : scene.site().keys(Scene.NAME, ".fusion/dump/" + dump + "/")) {
      if (!key.endsWith(".log")) {
        byte[] bytes = Files.readAllBytes(scene.site().object(Scene.NAME, key));
        MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
        digests.put(key, HexFormat.of().formatHex(sha256.digest(bytes)));
      }
    }
    assertTrue(digests.size() > 3, () -> "dump " + dump + " has " + digests);
    return digests;
  }

  /** What a clean-up would find once the task has ended. */
  private static void assertNothingLeft(Scene scene, Host host) throws Exception {
    JsonNode found =
        Scene.json(
            host.lifeboat("gc", "--json", "--older-than", "1ms", scene.url()).expect(0).text());
    JsonNode task = found.path("tasks").get(0);
    assertEquals("ENDED", task.path("state").asString(), found::toString);
    assertEquals(0, task.path("items").size(), found::toString);
  }

  private static void await(Path file, Program... programs) {
    long limit = System.nanoTime() + Program.LIMIT.toNanos();
    while (!Files.exists(file)) {
      if (System.nanoTime() > limit) {
        throw new AssertionError("nobody comes to the crash point\n" + List.of(programs));
      }
      LockSupport.parkNanos(10_000_000);
    }
  }

  private static int steps(Program run) {
    return run.lines("^step ").size();
  }

  @ParameterizedTest
  @CsvSource({"VERSITYGW"})
  void stoppedWhileTheTaskRuns(Site.Kind kind) throws Exception {
    try (Scene scene = new Scene("stopped", kind)) {
      Host first = scene.host();
      Program one = scene.run(first, Workload.TREE, STEPS);
      one.awaitLine("^step 3 ");
      scene.checkpoint(first, "--leave-running").expect(0);
      one.awaitLine("^step " + (steps(one) + 2) + " ");
      first.stop();

      Host second = scene.host();
      Program two = scene.run(second, Workload.TREE, STEPS);
      two.awaitLine("restored snapshot 1");
      two.awaitLine("^step ", 3);
      Map<String, String> before = digests(scene, 1);

      int printed = steps(one);
      first.goOn();
      long start = System.nanoTime();
      one.expect(175);
      System.out.println(
          "stopped-"
              + kind
              + ": the old run ended after "
              + Duration.ofNanos(System.nanoTime() - start).toMillis()
              + " ms and "
              + (steps(one) - printed)
              + " steps");
      assertEquals(1, one.lines("this run stood still for ").size(), one::toString);
      assertEquals(1, one.lines("another run has taken .*host2").size(), one::toString);
      assertEquals(
          0, first.processes().values().stream().filter(c -> c.contains("tree.py")).count());
      assertEquals(before, digests(scene, 1));

      two.awaitLine("^step ", steps(two) + 2);
      scene.checkpoint(second).expect(0);
      two.expect(75);
      second.kill();
      Host third = scene.host();
      Program three = scene.run(third, Workload.TREE, STEPS);
      three.awaitLine("restored snapshot 2");
      scene.finish(third, three, Workload.TREE);
      assertNothingLeft(scene, third);
    }
  }

  /**
   * It is nobody else's: the task goes on as if nothing had been, with what was asked meanwhile.
   */
  @ParameterizedTest
  @CsvSource({"FILE"})
  void stoppedAndStillAlone(Site.Kind kind) throws Exception {
    try (Scene scene = new Scene("paused", kind)) {
      Host host = scene.host();
      Program run = scene.run(host, Workload.TREE, STEPS);
      run.awaitLine("^step 3 ");
      host.stop();
      Thread.sleep(6000); // the length of the stop, which is what is tested
      host.goOn();
      run.awaitLine("this run stood still for ");
      run.awaitLine("no other run has taken the task");
      run.awaitLine("^step " + (steps(run) + 2) + " ");
      scene.checkpoint(host).expect(0);
      run.expect(75);
      Program again = scene.run(host, Workload.TREE, STEPS);
      again.awaitLine("^step ");
      scene.finish(host, again, Workload.TREE);
      Workload.TREE.assertExact(STEPS, run, again);
    }
  }

  @ParameterizedTest
  @CsvSource({"VERSITYGW,DUMP_COMMITTING"})
  void stoppedInADump(Site.Kind kind, String point) throws Exception {
    inADump(kind, point, true);
  }

  @Tag("long")
  @ParameterizedTest
  @CsvSource({
    "VERSITYGW,DUMP_BEGUN",
    "VERSITYGW,DUMP_FREEZING",
    "VERSITYGW,DUMP_RECEIVING",
    "VERSITYGW,DUMP_PACK_BEGUN",
    "VERSITYGW,DUMP_PART_SAFE",
    "VERSITYGW,DUMP_FILES_CAPTURED",
    "VERSITYGW,DUMP_IMAGES_STORED",
    "VERSITYGW,DUMP_MANIFEST_STORED",
    "VERSITYGW,DUMP_COMMITTED",
    "FILE,DUMP_RECEIVING",
    "FILE,DUMP_PART_SAFE",
    "FILE,DUMP_IMAGES_STORED",
    "FILE,DUMP_COMMITTING",
    "FILE,DUMP_COMMITTED"
  })
  void stoppedAnywhereInADump(Site.Kind kind, String point) throws Exception {
    inADump(kind, point, true);
  }

  /** Not stopped: taken over by force. */
  @Tag("long")
  @ParameterizedTest
  @CsvSource({
    "VERSITYGW,DUMP_RECEIVING",
    "VERSITYGW,DUMP_IMAGES_STORED",
    "FILE,DUMP_PART_SAFE",
    "FILE,DUMP_COMMITTING"
  })
  void takenOverInADump(Site.Kind kind, String point) throws Exception {
    inADump(kind, point, false);
  }

  private static void inADump(Site.Kind kind, String point, boolean stopped) throws Exception {
    String name = (stopped ? "stopped-" : "taken-") + point;
    try (Scene scene = new Scene(name, kind)) {
      Host first = scene.host();
      Program zero = scene.run(first, Workload.TREE, STEPS);
      zero.awaitLine("^step 3 ");
      scene.checkpoint(first).expect(0);
      zero.expect(75);

      Program one =
          first.lifeboat(
              Map.of("LIFEBOAT_CRASH_POINT", point, "LIFEBOAT_CRASH_FILE", HERE),
              scene.runArguments(Workload.TREE.command(STEPS)));
      one.awaitLine("^step ", 2);
      Program checkpoint = scene.checkpoint(first);
      await(first.file(HERE), one, checkpoint);
      if (stopped) {
        first.stop();
      }

      boolean committed = point.equals("DUMP_COMMITTED");
      int restored = committed ? 2 : 1;
      Host second = scene.host();
      Program two =
          stopped
              ? scene.run(second, Workload.TREE, STEPS)
              : scene.run(second, Workload.TREE, STEPS, "--takeover");
      two.awaitLine("restored snapshot " + restored);
      two.awaitLine("^step ", 2);
      Map<String, String> before = digests(scene, restored);

      Files.delete(first.file(HERE));
      int printed = steps(one);
      long start = System.nanoTime();
      if (stopped) {
        first.goOn();
      }
      one.expect(committed ? 75 : 175);
      System.out.println(
          name
              + "-"
              + kind
              + ": the old run ended after "
              + Duration.ofNanos(System.nanoTime() - start).toMillis()
              + " ms and "
              + (steps(one) - printed)
              + " steps");
      assertEquals(
          0, first.processes().values().stream().filter(c -> c.contains("tree.py")).count());
      assertEquals(before, digests(scene, restored));

      two.awaitLine("^step ", steps(two) + 2);
      scene.checkpoint(second).expect(0);
      two.expect(75);
      second.kill();
      Host third = scene.host();
      Program three = scene.run(third, Workload.TREE, STEPS);
      three.awaitLine("restored snapshot 3");
      scene.finish(third, three, Workload.TREE);
      if (committed) {
        Workload.TREE.assertExact(STEPS, zero, one, two, three);
      } else {
        Workload.TREE.assertExact(STEPS, zero, two, three);
      }
      assertNothingLeft(scene, third);
    }
  }

  /** What newcomers find. */
  enum Found {
    NOTHING,
    RELEASED,
    DEAD
  }

  @ParameterizedTest
  @CsvSource({"FILE,DEAD,2"})
  void ofSeveralAtOnceOneWins(Site.Kind kind, Found found, int count) throws Exception {
    atOnce(kind, found, count);
  }

  @Tag("long")
  @ParameterizedTest
  @CsvSource({
    "FILE,NOTHING,2",
    "FILE,NOTHING,5",
    "FILE,RELEASED,5",
    "FILE,DEAD,5",
    "VERSITYGW,NOTHING,5",
    "VERSITYGW,RELEASED,5",
    "VERSITYGW,DEAD,5",
    "MINIO,NOTHING,5",
    "MINIO,RELEASED,5",
    "MINIO,DEAD,5"
  })
  void ofManyAtOnceOneWins(Site.Kind kind, Found found, int count) throws Exception {
    atOnce(kind, found, count);
  }

  private static void atOnce(Site.Kind kind, Found found, int count) throws Exception {
    try (Scene scene = new Scene("at-once-" + found + count, kind)) {
      Program lost = null;
      if (found != Found.NOTHING) {
        Host first = scene.host();
        lost = scene.run(first, Workload.TREE, STEPS);
        lost.awaitLine("^step 3 ");
        if (found == Found.RELEASED) {
          scene.checkpoint(first).expect(0);
          lost.expect(75);
        } else {
          scene.checkpoint(first, "--leave-running").expect(0);
          lost.awaitLine("^step " + (steps(lost) + 2) + " ");
        }
        first.kill();
      }
      List<Host> hosts = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        hosts.add(scene.host());
      }
      List<Program> runs = new ArrayList<>();
      for (Host host : hosts) {
        runs.add(scene.run(host, Workload.TREE, STEPS));
      }
      Program winner = awaitWinner(runs);
      Host home = hosts.get(runs.indexOf(winner));
      for (Program run : runs) {
        if (run != winner) {
          run.expect(176);
          assertEquals(0, run.out().size(), run::toString);
          assertEquals(
              1,
              run.lines("is in use by a run on " + home.name() + " .*--takeover").size(),
              run::toString);
        }
      }
      winner.awaitLine("^step ", 3);
      scene.finish(home, winner, Workload.TREE);
      switch (found) {
        case NOTHING -> Workload.TREE.assertExact(STEPS, winner);
        case RELEASED -> Workload.TREE.assertExact(STEPS, lost, winner);
        case DEAD -> Workload.TREE.assertGoesOn(STEPS, lost, winner);
      }
      assertNothingLeft(scene, home);
    }
  }

  /** All but one have ended. */
  private static Program awaitWinner(List<Program> runs) throws InterruptedException {
    long limit = System.nanoTime() + 2 * Program.LIMIT.toNanos();
    while (true) {
      List<Program> left = runs.stream().filter(Program::running).toList();
      if (left.size() <= 1) {
        assertEquals(1, left.size(), () -> "nobody has it: " + runs);
        return left.getFirst();
      }
      if (System.nanoTime() > limit) {
        throw new AssertionError(left.size() + " are left: " + left);
      }
      Thread.sleep(50);
    }
  }

  @Tag("long")
  @Test
  void attemptsOfABatchSystem() throws Exception {
    try (Scene scene = new Scene("attempts", Site.Kind.VERSITYGW)) {
      Host first = scene.host();
      String[] arguments = scene.runArguments(Workload.TREE.command(STEPS));
      Program two = first.lifeboat(Map.of("AWS_BATCH_JOB_ATTEMPT", "2"), arguments);
      two.awaitLine("^step 3 ");
      scene.checkpoint(first, "--leave-running").expect(0);

      Host second = scene.host();
      Program lower = second.lifeboat(Map.of("AWS_BATCH_JOB_ATTEMPT", "1"), arguments);
      lower.expect(176);
      assertEquals(1, lower.lines("it belongs to attempt 2, this is attempt 1").size());

      Program higher = second.lifeboat(Map.of("AWS_BATCH_JOB_ATTEMPT", "3"), arguments);
      higher.awaitLine("restored snapshot 1");
      two.expect(175);
      scene.finish(second, higher, Workload.TREE);
      Workload.TREE.assertGoesOn(STEPS, two, higher);
      assertFalse(higher.lines("looking for 5 s").size() > 0, "a higher attempt does not wait");
      assertNothingLeft(scene, second);
    }
  }
}
