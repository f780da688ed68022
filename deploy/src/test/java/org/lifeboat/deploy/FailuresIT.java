package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/** A snapshot that cannot be taken costs the task nothing. */
final class FailuresIT {

  private static final int STEPS = 200;

  @Test
  void aTaskThatCannotBeDumpedGoesOn() throws Exception {
    try (Scene scene = new Scene("obstinate", Site.Kind.FILE)) {
      Host host = scene.host();
      Program run =
          scene.run(
              host,
              List.of(
                  "/usr/bin/python3",
                  "/srv/src/test/workloads/obstinate.py",
                  Integer.toString(STEPS),
                  "0.1"));
      run.awaitLine("^step 3$");
      for (String option : List.of("--leave-running", "--deadline=60s")) {
        Program failed = scene.checkpoint(host, option).expect(175);
        assertEquals(1, failed.lines("not saved, the task goes on: ").size(), failed::toString);
        int printed = run.lines("^step ").size();
        run.awaitLine("^step " + (printed + 2) + "$");
      }
      List<JsonNode> dumps = scene.dumps(host);
      assertEquals(2, dumps.size());
      dumps.forEach(dump -> assertEquals("FAILED", dump.path("state").asString()));
      host.run("touch", "release");
      run.awaitLine("^released$");
      scene.checkpoint(host).expect(0);
      run.expect(75);

      Host second = scene.host();
      Program after =
          scene.run(
              second,
              List.of(
                  "/usr/bin/python3",
                  "/srv/src/test/workloads/obstinate.py",
                  Integer.toString(STEPS),
                  "0.1"));
      after.awaitLine("^step ");
      second.run("touch", "hurry");
      after.expect(0);
      assertEquals(STEPS, run.out().size() + after.out().size());
    }
  }

  /** Before the dump has begun, and in its middle, with the tree frozen. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aStoreThatHangsCostsTheDeadlineAndNoMore(boolean begun) throws Exception {
    try (Scene scene = new Scene("hangs-" + begun, Site.Kind.VERSITYGW)) {
      Host host = scene.host();
      Program run = scene.run(host, Workload.TREE, STEPS);
      run.awaitLine("^step 3 ");
      if (!begun) {
        scene.site().freeze(true);
      }
      Program failed = scene.checkpoint(host, "--deadline", "3s");
      if (begun) {
        run.awaitLine("dump 1 begins");
        scene.site().freeze(true);
      }
      int printed = run.lines("^step ").size();
      run.awaitLine("^step " + (printed + 40) + " "); // 4 s at least
      scene.site().freeze(false);
      failed.expect(175);
      assertEquals(1, failed.lines("not saved, the task goes on").size(), failed::toString);
      printed = run.lines("^step ").size();
      run.awaitLine("^step " + (printed + 2) + " ");
      scene.checkpoint(host).expect(0);
      run.expect(75);
      host.kill();

      Host second = scene.host();
      Program after = scene.run(second, Workload.TREE, STEPS);
      after.awaitLine("^step ");
      scene.finish(second, after, Workload.TREE);
      Workload.TREE.assertExact(STEPS, run, after);
    }
  }

  /**
   * The secret key is in no log and in no object but the pages of a task that has it in its
   * environment.
   */
  @Test
  void secretsStayOutOfLogsAndTheTaskSeesItsOwnEnvironment() throws Exception {
    try (Scene scene = new Scene("secrets", Site.Kind.VERSITYGW)) {
      Host host = scene.host();
      List<String> task = List.of("/bin/sh", "-c", "env | sort; exec sleep 1000");
      String plain = host.run("sh", "-c", "env | sort");
      Program run =
          host.lifeboat(java.util.Map.of("LIFEBOAT_LOG_LEVEL", "debug"), scene.runArguments(task));
      run.awaitLine("^PWD=");
      Program saved = scene.checkpoint(host).expect(0);
      run.expect(75);
      List<String> more =
          run.out().stream()
              .filter(line -> !plain.lines().toList().contains(line))
              .filter(line -> !line.startsWith("LIFEBOAT_LOG_LEVEL=") && !line.startsWith("_="))
              .toList();
      assertEquals(List.of(), more, "the task's environment is its own");
      assertFalse(
          String.join("\n", run.lines(""))
              .lines()
              .anyMatch(line -> line.contains("testsecret") && !line.startsWith("AWS_")),
          run::toString);
      assertEquals(0, saved.lines("testsecret").size());
      for (String key : scene.site().keys(Scene.NAME, ".fusion/dump/")) {
        byte[] bytes = Files.readAllBytes(scene.site().object(Scene.NAME, key));
        if (!key.endsWith(".pack")) {
          assertFalse(
              new String(bytes, java.nio.charset.StandardCharsets.ISO_8859_1)
                  .contains("testsecret"),
              key);
        }
      }
    }
  }

  /** A run that has ended leaves nothing on its host. */
  @Test
  void leavesNothingBehind() throws Exception {
    try (Scene scene = new Scene("tidy", Site.Kind.FILE)) {
      Host host = scene.host();
      Program run = scene.run(host, Workload.COUNTER, STEPS);
      run.awaitLine("^step 3 ");
      scene.checkpoint(host, "--leave-running").expect(0);
      scene.checkpoint(host).expect(0);
      run.expect(75);
      Program again = scene.run(host, Workload.COUNTER, STEPS);
      again.awaitLine("^step ");
      scene.finish(host, again, Workload.COUNTER);
      String left =
          host.run(
              "sh",
              "-c",
              "find /run /var/cache /tmp /var/tmp /dev/shm /mnt -type f -size +0; find /run /var/cache -type d -name 'run-*'; find /run /var/cache -type s");
      assertEquals(
          "",
          left.lines()
              .filter(line -> !line.endsWith("/criu.kdat"))
              .reduce("", (a, b) -> a + b + "\n"));
      assertEquals(1, host.processes().size(), () -> "processes are left");
      try (Stream<Path> all = Files.walk(Path.of("/proc/" + host.pid() + "/root/run"))) {
        assertTrue(all.count() < 12, "folders and locks pile up in /run");
      }
    }
  }
}
