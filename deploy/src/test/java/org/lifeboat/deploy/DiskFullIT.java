package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import tools.jackson.databind.JsonNode;

/** Disks that are full: one line that names the folder and the remedy, and nothing is lost. */
final class DiskFullIT {

  private static final int STEPS = 2000;
  private static final int MEBIBYTES = 40;
  private static final String CACHE = "/var/cache";

  /** Half of its memory does not compress. */
  private static final List<String> TASK =
      List.of(
          "/usr/bin/python3",
          "/srv/src/test/workloads/memory.py",
          Integer.toString(MEBIBYTES),
          Integer.toString(STEPS),
          "0.1");

  private static void mount(Host host, String place, String size) throws Exception {
    host.run("mount", "-t", "tmpfs", "-o", "mode=1777,size=" + size, "lifeboat-test", place);
  }

  private static void grow(Host host, String place, String size) throws Exception {
    host.run("mount", "-o", "remount,size=" + size, place);
  }

  private static String only(Program program, String pattern) {
    List<String> lines = program.lines(pattern);
    assertEquals(1, lines.size(), program::toString);
    return lines.getFirst();
  }

  private static void assertNamed(String line, String... parts) {
    for (String part : parts) {
      assertTrue(line.contains(part), () -> "'" + part + "' is not in: " + line);
    }
  }

  private static void assertNoTrace(Program program) {
    assertEquals(List.of(), program.lines("^\\s+at |Exception"), program::toString);
  }

  private static void goesOn(Program run) throws Exception {
    int printed = run.lines("^step ").size();
    run.awaitLine("^step " + (printed + 2) + " ");
  }

  @Test
  void aCacheThatIsTooSmall() throws Exception {
    try (Scene scene = new Scene("cache-full", Site.Kind.FILE)) {
      Host first = scene.host();
      mount(first, CACHE, "6m");
      Program before = scene.run(first, TASK);
      before.awaitLine("^step 3 ");
      Program failed = scene.checkpoint(first, "--leave-running").expect(175);
      assertNamed(
          only(failed, "not saved, the task goes on: "),
          "/var/cache/lifeboat",
          "LIFEBOAT_CACHE_LOCATION");
      assertNoTrace(before);
      goesOn(before);
      assertEquals("", first.run("find", CACHE, "-type", "f"));
      assertEquals(List.of(), scene.keys(1, "(?!.*\\.log$).*"));
      scene.checkpoint(first).expect(0); // its pages go past the cache
      before.expect(75);
      first.kill();

      Host second = scene.host();
      mount(second, CACHE, "16m");
      Program refused = scene.run(second, TASK).expect(176);
      assertNamed(
          only(refused, " ERROR "), "snapshot 2 needs ", "/var/cache/lifeboat", "which has 15 MiB");
      assertNoTrace(refused);
      assertEquals("", second.run("find", CACHE, Host.WORK, "/tmp", "-type", "f"));
      grow(second, CACHE, "100m");
      Program after = scene.run(second, TASK);
      after.awaitLine("^step ");
      second.run("touch", "hurry");
      after.expect(0);
      assertWhole(scene, before, after);
    }
  }

  private static void assertWhole(Scene scene, Program before, Program after) throws Exception {
    List<String> printed = new ArrayList<>(before.out());
    printed.addAll(after.out());
    Host alone = scene.host();
    alone.run("touch", "hurry");
    assertEquals(alone.start(TASK).expect(0).out(), printed);
  }

  @Test
  void aWorkingDirectoryThatIsTooSmall() throws Exception {
    List<String> task =
        List.of(
            "/bin/bash",
            "-c",
            "head -c 20M /dev/urandom >data; sum=$(cksum <data); echo up; "
                + "until [ -e hurry ]; do sleep 0.1; done; "
                + "[ \"$sum\" = \"$(cksum <data)\" ] && echo same");
    try (Scene scene = new Scene("work-full", Site.Kind.FILE)) {
      Host first = scene.host();
      Program before = scene.run(first, task);
      before.awaitLine("^up$");
      scene.checkpoint(first).expect(0);
      before.expect(75);
      first.kill();

      Host second = scene.host();
      mount(second, Host.WORK, "8m");
      second.run("sh", "-c", "echo older >data; mkdir mine; echo kept >mine/file");
      Program refused = scene.run(second, task).expect(176);
      assertNamed(only(refused, " ERROR "), Host.WORK, "there are ", " bytes free", "free some");
      assertNoTrace(refused);
      assertEquals(
          "/mnt/work/data\n/mnt/work/mine/file",
          second.run("sh", "-c", "find /mnt/work -type f | sort"));
      assertEquals("older\nkept", second.run("cat", "data", "mine/file"));
      grow(second, Host.WORK, "64m");
      Program after = scene.run(second, task);
      after.awaitLine("restored snapshot 1");
      second.run("touch", "hurry");
      assertEquals(List.of("same"), after.expect(0).out());
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FILE", "VERSITYGW"})
  void aStoreThatIsFull(Site.Kind kind) throws Exception {
    fillsUp(kind);
  }

  /** It takes its time to say so. */
  @Tag("long")
  @Test
  void aMinioThatIsFull() throws Exception {
    fillsUp(Site.Kind.MINIO);
  }

  private static void fillsUp(Site.Kind kind) throws Exception {
    try (Scene scene = new Scene("store-full", kind, "24m")) {
      Host host = scene.host();
      Program run = scene.run(host, TASK);
      run.awaitLine("^step 2 ");
      for (String option : List.of("--leave-running", "--deadline=60s")) {
        Program failed = scene.checkpoint(host, option).expect(175);
        assertNamed(only(failed, "not saved, the task goes on: "), scene.url());
        assertNoTrace(run);
        goesOn(run);
      }
      assertEquals("", scene.site().inStore("find /media -name '*.pack*'"));
      free(scene);
      List<JsonNode> dumps = scene.dumps(host);
      assertEquals(2, dumps.size());
      dumps.forEach(dump -> assertEquals("FAILED", dump.path("state").asString()));
      scene.checkpoint(host).expect(0);
      run.expect(75);
      Program after = scene.run(host, TASK);
      after.awaitLine("^step ");
      host.run("touch", "hurry");
      after.expect(0);
      assertWhole(scene, run, after);
    }
  }

  private static void free(Scene scene) throws Exception {
    scene.site().inStore("mount -o remount,size=200m /media");
  }
}
