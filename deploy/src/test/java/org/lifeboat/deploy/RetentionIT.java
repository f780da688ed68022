package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;

/** What stays in the store and what goes, whatever is killed while it goes. */
final class RetentionIT {

  private static final int STEPS = 250;
  private static final String METADATA = ".fusion/dump/dump_metadata";
  private static final String HERE = "/mnt/home/here";

  @ParameterizedTest
  @CsvSource({"VERSITYGW,RETENTION_MANIFEST_REMOVED"})
  void killedWhileAnOldSnapshotGoes(Site.Kind kind, String point) throws Exception {
    whileThinning(kind, point);
  }

  @Tag("long")
  @ParameterizedTest
  @CsvSource({
    "FILE,RETENTION_THINNED",
    "FILE,RETENTION_FOUND",
    "FILE,RETENTION_MANIFEST_REMOVED",
    "FILE,RETENTION_OBJECT_REMOVED",
    "FILE,RETENTION_OBJECT_REMOVED:7",
    "FILE,RETENTION_DUMP_REMOVED",
    "VERSITYGW,RETENTION_OBJECT_REMOVED:3"
  })
  void killedAnywhereWhileAnOldSnapshotGoes(Site.Kind kind, String point) throws Exception {
    whileThinning(kind, point);
  }

  private static void await(Path file, Program run) {
    long limit = System.nanoTime() + Program.LIMIT.toNanos();
    while (!Files.exists(file)) {
      if (System.nanoTime() > limit) {
        throw new AssertionError("it never comes to the crash point\n" + run);
      }
      LockSupport.parkNanos(10_000_000);
    }
  }

  /** Of a dump only its logs are left. */
  private static void awaitOnlyLogs(Scene scene, int dump, Program run) throws IOException {
    long limit = System.nanoTime() + Program.LIMIT.toNanos();
    List<String> left = scene.keys(dump, ".*(?<!\\.log)");
    while (!left.isEmpty()) {
      if (System.nanoTime() > limit) {
        throw new AssertionError("dump " + dump + " is not removed: " + left + "\n" + run);
      }
      LockSupport.parkNanos(50_000_000);
      left = scene.keys(dump, ".*(?<!\\.log)");
    }
    assertTrue(!scene.keys(dump, "dump_.*\\.log").isEmpty(), "its log is gone");
  }

  private static void whileThinning(Site.Kind kind, String point) throws Exception {
    String name = "thinned-" + point.replace(':', '-');
    try (Scene scene = new Scene(name, kind)) {
      Host first = scene.host();
      Program one =
          first.lifeboat(
              Map.of("LIFEBOAT_CRASH_POINT", point, "LIFEBOAT_CRASH_FILE", HERE),
              scene.runArguments(Workload.TREE.command(STEPS), "--keep", "1"));
      one.awaitLine("^step 3 ");
      scene.checkpoint(first, "--leave-running").expect(0);
      one.awaitLine("^step " + (one.lines("^step ").size() + 2) + " ");
      scene.checkpoint(first, "--leave-running"); // its answer comes when the old one is gone
      await(first.file(HERE), one);
      first.kill();

      Host second = scene.host();
      List<JsonNode> dumps = scene.dumps(second);
      assertEquals(List.of(2), dumps.stream().map(dump -> dump.path("id").asInt()).toList());
      assertEquals(1, scene.command(second, "verify").expect(0).lines("snapshot 2: whole").size());
      Program two = scene.run(second, Workload.TREE, STEPS, "--keep", "1");
      two.awaitLine("restored snapshot 2");
      awaitOnlyLogs(scene, 1, two);
      scene.finish(second, two, Workload.TREE);
      Workload.TREE.assertGoesOn(STEPS, one, two);
      assertOnlyLogsAndMetadata(scene);
    }
  }

  private static void assertOnlyLogsAndMetadata(Scene scene) throws IOException {
    List<String> left =
        scene.site().keys(Scene.NAME, ".fusion/dump/").stream()
            .filter(key -> key.matches("\\.fusion/dump/\\d+/.*") && !key.endsWith(".log"))
            .toList();
    assertEquals(List.of(), left);
    assertTrue(scene.site().keys(Scene.NAME, ".fusion/dump/").contains(METADATA));
  }

  /** The next run finishes, or `gc`. */
  @Tag("long")
  @ParameterizedTest
  @CsvSource({
    "FILE,RUN_END_RECORDED,true",
    "FILE,RETENTION_MANIFEST_REMOVED,true",
    "FILE,RETENTION_OBJECT_REMOVED:5,false",
    "VERSITYGW,RUN_END_RECORDED,false",
    "VERSITYGW,RETENTION_OBJECT_REMOVED:2,true"
  })
  void killedAtTheTasksEnd(Site.Kind kind, String point, boolean gc) throws Exception {
    String name = "ended-" + point.replace(':', '-') + gc;
    try (Scene scene = new Scene(name, kind)) {
      Host first = scene.host();
      Program one =
          first.lifeboat(
              Map.of("LIFEBOAT_CRASH_POINT", point, "LIFEBOAT_CRASH_FILE", HERE),
              scene.runArguments(Workload.TREE.command(STEPS)));
      one.awaitLine("^step 3 ");
      scene.checkpoint(first, "--leave-running").expect(0);
      first.run("touch", "hurry");
      await(first.file(HERE), one);
      first.kill();

      Host second = scene.host();
      if (gc) {
        // seen from above, as a folder of tasks
        String above = scene.url().substring(0, scene.url().lastIndexOf('/'));
        Program dry = second.lifeboat("gc", "--older-than", "1ms", above).expect(0);
        assertEquals(1, dry.lines("dump 1 \\(the task has ended\\)").size(), dry::toString);
        assertTrue(!scene.keys(1, ".*(?<!\\.log)").isEmpty(), "a look removed something");
        second.lifeboat("gc", "--older-than", "1ms", "--delete", above).expect(0);
        assertOnlyLogsAndMetadata(scene);
      } else {
        Program two = scene.run(second, Workload.TREE, STEPS);
        two.awaitLine("^step 1 ");
        awaitOnlyLogs(scene, 1, two);
        scene.finish(second, two, Workload.TREE);
        Workload.TREE.assertExact(STEPS, two);
      }
    }
  }

  /** What hosts that were lost left behind, uploads too, while the task waits for its next run. */
  @ParameterizedTest
  @CsvSource("MINIO,DUMP_PART_SAFE")
  void gcFindsWhatALostHostLeft(Site.Kind kind, String point) throws Exception {
    lost(kind, point);
  }

  @Tag("long")
  @ParameterizedTest
  @CsvSource({
    "FILE,DUMP_PART_SAFE",
    "FILE,DUMP_IMAGES_STORED",
    "VERSITYGW,DUMP_PART_SAFE",
    "VERSITYGW,DUMP_IMAGES_STORED",
    "MINIO,DUMP_IMAGES_STORED"
  })
  void gcFindsWhateverALostHostLeft(Site.Kind kind, String point) throws Exception {
    lost(kind, point);
  }

  private static void lost(Site.Kind kind, String point) throws Exception {
    boolean uploading = point.equals("DUMP_PART_SAFE");
    try (Scene scene = new Scene("lost-" + point, kind)) {
      Host first = scene.host();
      Program one =
          first.lifeboat(
              Map.of("LIFEBOAT_CRASH_POINT", point, "LIFEBOAT_CRASH_FILE", HERE),
              scene.runArguments(Workload.TREE.command(STEPS)));
      one.awaitLine("^step 3 ");
      scene.checkpoint(first);
      await(first.file(HERE), one);
      Program young = first.lifeboat("gc", "--delete", scene.url()).expect(0);
      assertEquals(1, young.lines("a run has it: left alone").size(), young::toString);
      first.kill();

      Host second = scene.host();
      Program none = second.lifeboat("gc", "--delete", scene.url()).expect(0);
      assertEquals(1, none.lines("less than --older-than: left alone").size(), none::toString);
      String[] look = {"gc", "--json", "--older-than", "1ms", scene.url()};
      JsonNode task = Scene.json(second.lifeboat(look).expect(0).text()).path("tasks").get(0);
      assertEquals("WAITING", task.path("state").asString());
      assertEquals("torn", task.path("items").get(0).path("why").asString());
      String what = uploading ? "uploads" : "objects";
      assertTrue(task.path("items").get(0).path(what).asInt() > 0, task::toString);
      second.lifeboat("gc", "--older-than", "1ms", "--delete", scene.url()).expect(0);
      JsonNode after = Scene.json(second.lifeboat(look).expect(0).text()).path("tasks").get(0);
      assertEquals(0, after.path("items").size(), after::toString);
      Program two = scene.run(second, Workload.TREE, STEPS);
      two.awaitLine("no snapshot of .* was ever committed");
      two.awaitLine("^step 1 ");
      scene.finish(second, two, Workload.TREE);
      Workload.TREE.assertExact(STEPS, two);
    }
  }
}
