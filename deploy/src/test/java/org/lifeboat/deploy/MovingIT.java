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

  /** What the task did in its working directory after the snapshot is undone, where it did it. */
  @Test
  void goesOnOnTheSameHostOverNewerFiles() throws Exception {
    try (Scene scene = new Scene("same-host", Site.Kind.FILE)) {
      Host host = scene.host();
      List<String> task = new java.util.ArrayList<>(Workload.TREE.command(STEPS));
      task.addAll(List.of("--temporary", Host.WORK));
      Program before = scene.run(host, task);
      before.awaitLine("^step 5 ");
      scene.checkpoint(host, "--leave-running").expect(0);
      int printed = before.lines("^step ").size();
      before.awaitLine("^step " + (printed + 8) + " ");
      host.run("pkill", "-KILL", "-o", "-f", "lifeboat-init run");
      before.await();

      Program after = scene.run(host, task);
      after.awaitLine("^step ");
      scene.finish(host, after, Workload.TREE);
      Workload.TREE.assertGoesOn(STEPS, before, after);
    }
  }

  /** A regular file as standard input is read on from where it was. */
  @Test
  void readsOnInItsStandardInput() throws Exception {
    try (Scene scene = new Scene("stdin", Site.Kind.FILE)) {
      List<String> task =
          List.of(
              "/bin/bash",
              "-c",
              "while read -r line; do echo \"$line\"; [ -e hurry ] || sleep 0.1; done; echo done");
      Program[] runs = new Program[2];
      Host host = null;
      for (int i = 0; i < 2; i++) {
        host = scene.host();
        List<String> command =
            new java.util.ArrayList<>(
                List.of("sh", "-c", "seq 100 >input; exec \"$@\" <input", "sh", Host.LIFEBOAT));
        command.addAll(List.of(scene.runArguments(task)));
        runs[i] = host.start(command);
        runs[i].awaitLine("^\\d+$", 5);
        if (i == 0) {
          scene.checkpoint(host).expect(0);
          runs[0].expect(75);
          host.kill();
        }
      }
      host.run("touch", "hurry");
      runs[1].expect(0);
      List<String> printed = new java.util.ArrayList<>(runs[0].out());
      printed.addAll(runs[1].out());
      List<String> expected = new java.util.ArrayList<>();
      for (int i = 1; i <= 100; i++) {
        expected.add(Integer.toString(i));
      }
      expected.add("done");
      assertEquals(expected, printed);
    }
  }

  /** Changes in a folder elsewhere belong to the snapshot where they are asked for. */
  @Test
  void bringsPreservedFolders() throws Exception {
    try (Scene scene = new Scene("preserve", Site.Kind.FILE)) {
      List<String> task =
          List.of(
              "/bin/bash",
              "-c",
              "echo kept >/mnt/home/a; echo up; until [ -e hurry ]; do sleep 0.1; done; cat /mnt/home/a");
      Host first = scene.host();
      Program before = scene.run(first, task, "--preserve", "/mnt/home");
      before.awaitLine("^up$");
      scene.checkpoint(first).expect(0);
      before.expect(75);
      first.kill();
      Host second = scene.host();
      Program after = scene.run(second, task, "--preserve", "/mnt/home");
      after.awaitLine("restored snapshot 1");
      second.run("touch", "hurry");
      assertEquals(List.of("kept"), after.expect(0).out());
    }
  }
}
