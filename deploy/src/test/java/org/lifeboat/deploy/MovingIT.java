package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import tools.jackson.databind.JsonNode;

/**
 * A task moves from host to host: its output, its exit code, its files and its memory are as if it
 * had never moved.
 */
final class MovingIT {

  private static final int STEPS = 150;

  @ParameterizedTest
  @EnumSource
  void stopsOnOneHostAndGoesOnOnAnother(Site.Kind kind) throws Exception {
    try (Scene scene = new Scene("moves", kind)) {
      Host first = scene.host();
      Set<String> ports = first.ports();
      Program before = scene.run(first, Workload.TREE, STEPS);
      before.awaitLine("^step 10 ");
      Set<String> running = first.ports();
      Program checkpoint = scene.checkpoint(first);
      checkpoint.expect(0);
      before.expect(75);
      assertEquals(ports, first.ports(), "the run left a port open");
      assertEquals(1, running.size() - ports.size(), () -> "only the task listens: " + running);
      first.kill();

      Host second = scene.host();
      Program after = scene.run(second, Workload.TREE, STEPS);
      after.awaitLine("^step ");
      scene.finish(second, after, Workload.TREE);
      Workload.TREE.assertExact(STEPS, before, after);

      if (kind != Site.Kind.MINIO) {
        assertTrue(Files.exists(scene.site().object(Scene.NAME, ".fusion/dump/dump_metadata")));
        scene.assertLog(1, "dump_.*\\.log", "Dumping finished successfully");
        scene.assertLog(1, "restore_.*\\.log", "Restore finished successfully. Tasks resumed.");
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FILE", "VERSITYGW"})
  void goesOnFromTheNewerOfTwoSnapshots(Site.Kind kind) throws Exception {
    try (Scene scene = new Scene("newer", kind)) {
      Host first = scene.host();
      Program before = scene.run(first, Workload.TREE, STEPS);
      before.awaitLine("^step 5 ");
      scene.checkpoint(first, "--leave-running").expect(0);
      int printed = before.lines("^step ").size();
      before.awaitLine("^step " + (printed + 5) + " ");
      scene.checkpoint(first, "--leave-running").expect(0);
      List<JsonNode> dumps = scene.dumps(first);
      assertEquals(2, dumps.size());
      dumps.forEach(dump -> assertEquals("COMPLETE", dump.path("state").asString()));
      first.kill();

      Host second = scene.host();
      Program after = scene.run(second, Workload.TREE, STEPS);
      after.awaitLine("^step ");
      scene.finish(second, after, Workload.TREE);
      int step = Workload.TREE.assertGoesOn(STEPS, before, after);
      assertTrue(step > printed + 5, () -> "went on with step " + step + ", the older snapshot's");
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FILE", "VERSITYGW"})
  void startsProcessesBetweenThreeMoves(Site.Kind kind) throws Exception {
    try (Scene scene = new Scene("generations", kind)) {
      Program[] runs = new Program[4];
      Host host = null;
      for (int i = 0; i < runs.length; i++) {
        host = scene.host();
        runs[i] = scene.run(host, Workload.PIPELINE, STEPS);
        runs[i].awaitLine("^step ", 8);
        if (i < runs.length - 1) {
          scene.checkpoint(host).expect(0);
          runs[i].expect(75);
          host.kill();
        }
      }
      scene.finish(host, runs[runs.length - 1], Workload.PIPELINE);
      Workload.PIPELINE.assertExact(STEPS, runs);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FILE", "VERSITYGW"})
  void survivesAHostThatIsLostWithoutNotice(Site.Kind kind) throws Exception {
    try (Scene scene = new Scene("lost", kind)) {
      Host first = scene.host();
      Program before = scene.run(first, Workload.TREE, STEPS, "--every", "2s");
      before.awaitLine("dump 2 committed");
      first.kill();
      before.await();

      Host second = scene.host();
      Program after = scene.run(second, Workload.TREE, STEPS, "--every", "2s");
      after.awaitLine("^step ");
      scene.finish(second, after, Workload.TREE);
      Workload.TREE.assertGoesOn(STEPS, before, after);
    }
  }

  /** As in a container, whose PID 1 Lifeboat is. */
  @Test
  void movesAsPid1OfItsHost() throws Exception {
    try (Scene scene = new Scene("pid1", Site.Kind.FILE)) {
      List<String> container =
          List.of("unshare", "--pid", "--mount-proc", "--fork", "--kill-child");
      Program[] runs = new Program[2];
      Host host = null;
      for (int i = 0; i < 2; i++) {
        host = scene.host();
        List<String> command = new java.util.ArrayList<>(List.of(Host.LIFEBOAT));
        command.addAll(List.of(scene.runArguments(Workload.PIPELINE.command(STEPS))));
        runs[i] = host.start(java.util.Map.of(), container, command);
        runs[i].awaitLine("^step ", 5);
        if (i == 0) {
          scene.checkpoint(host).expect(0);
          runs[i].expect(75);
        }
      }
      scene.finish(host, runs[1], Workload.PIPELINE);
      Workload.PIPELINE.assertExact(STEPS, runs);
    }
  }
}
