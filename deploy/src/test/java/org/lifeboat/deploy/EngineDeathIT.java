package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import tools.jackson.databind.JsonNode;

/**
 * The engine is killed. The task never notices: it runs on unharmed, or it is in a committed
 * snapshot.
 */
final class EngineDeathIT {

  private static final int STEPS = 200;
  private static final String JAVA = "/srv/target/lifeboat/jre/bin/java";

  @ParameterizedTest
  @EnumSource(names = {"FILE", "VERSITYGW"})
  void whileTheTaskRuns(Site.Kind kind) throws Exception {
    try (Scene scene = new Scene("engine", kind)) {
      Host first = scene.host();
      Program before = scene.run(first, Workload.TREE, STEPS);
      before.awaitLine("^step 3 ");
      kill(engine(first));
      before.awaitLine("a new engine takes over");
      int printed = before.lines("^step ").size();
      before.awaitLine("^step " + (printed + 3) + " ");
      scene.checkpoint(first).expect(0);
      before.expect(75);
      first.kill();

      Host second = scene.host();
      Program after = scene.run(second, Workload.TREE, STEPS);
      after.awaitLine("restored snapshot 1");
      kill(engine(second));
      after.awaitLine("a new engine takes over");
      scene.finish(second, after, Workload.TREE);
      Workload.TREE.assertExact(STEPS, before, after);
    }
  }

  /** At instants that are spread over the dump. */
  @RepeatedTest(2)
  void inTheMiddleOfADump(RepetitionInfo repetition) throws Exception {
    int n = repetition.getCurrentRepetition();
    try (Scene scene = new Scene("engine-dump" + n, Site.Kind.FILE)) {
      Host first = scene.host();
      Program before = scene.run(first, Workload.TREE, STEPS);
      before.awaitLine("^step 3 ");
      long engine = engine(first);
      Program checkpoint = scene.checkpoint(first);
      before.awaitLine("dump 1 begins");
      Thread.sleep((n - 1) * 200L); // no synchronisation: a further instant to die at
      if (!before.running()) {
        before.expect(75);
      } else {
        kill(engine);
      }
      checkpoint.await();
      awaitOutcome(before);
      boolean saved = !before.running();
      if (!saved) {
        scene.checkpoint(first).expect(0);
      }
      before.expect(75);
      first.kill();

      Host second = scene.host();
      Program after = scene.run(second, Workload.TREE, STEPS);
      after.awaitLine("^step ");
      scene.finish(second, after, Workload.TREE);
      Workload.TREE.assertExact(STEPS, before, after);
      List<JsonNode> dumps = scene.dumps(second);
      assertEquals(saved ? 1 : 2, dumps.size());
      assertTrue(
          saved || dumps.getFirst().path("state").asString().equals("FAILED"), dumps::toString);
    }
  }

  /** Until it has ended, or the next engine has said what became of the dump. */
  private static void awaitOutcome(Program run) throws InterruptedException {
    long limit = System.nanoTime() + Program.LIMIT.toNanos();
    while (run.running() && run.lines("dump 1 failed").isEmpty()) {
      if (System.nanoTime() > limit) {
        throw new AssertionError("the dump is neither given up nor committed\n" + run);
      }
      Thread.sleep(20);
    }
  }

  /** The task is saved, and its host is not to end by itself: no engine's death changes that. */
  @Test
  void whileItIsParked() throws Exception {
    try (Scene scene = new Scene("engine-parked", Site.Kind.FILE)) {
      Host first = scene.host();
      Program before = scene.run(first, Workload.PAIR, STEPS, "--after-dump", "park");
      before.awaitLine("^step 3 ");
      scene.checkpoint(first).expect(0);
      before.awaitLine("staying until this host is gone");
      kill(engine(first));
      before.awaitLine("staying until this host is gone", 2);
      kill(engine(first));
      before.awaitLine("staying until this host is gone", 3);
      assertEquals(
          List.of(),
          first.processes().values().stream()
              .filter(c -> c.startsWith("/usr/bin/python3"))
              .toList());
      first.run("pkill", "-TERM", "-o", "-f", "lifeboat-init run");
      before.expect(75);
    }
  }

  private static long engine(Host host) throws Exception {
    List<Long> engines =
        host.processes().entrySet().stream()
            .filter(
                entry ->
                    entry.getValue().startsWith(JAVA) && entry.getValue().contains("Main run "))
            .map(java.util.Map.Entry::getKey)
            .toList();
    assertEquals(1, engines.size(), () -> "engines: " + engines);
    return engines.getFirst();
  }

  private static void kill(long pid) throws Exception {
    Host.command("kill", "-KILL", Long.toString(pid));
  }
}
