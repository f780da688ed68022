package org.lifeboat.perf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Runs the benchmarks once, on very little memory, so that the harness can't rot unseen; of those
 * that share their code, one. What is measured does not matter here; that it happened does, and the
 * harness checks that itself. Needs root and what {@code deploy/setup test} brings.
 */
@Timeout(600)
class HarnessIT {

  private static final List<String> BENCHMARKS =
      List.of("receive", "overlap", "link", "large", "images", "start", "slowdown", "restore");

  @TempDir Path directory;

  @Test
  void benchmarksRun() throws Exception {
    assertTrue("root".equals(System.getProperty("user.name")), "run it as root");
    Map<String, String> environment = System.getenv();
    for (String needed : List.of("LIFEBOAT_CRIU", "LIFEBOAT_MINIO")) {
      assertTrue(environment.containsKey(needed), needed + " is not set: run deploy/setup test");
    }
    Path output = directory.resolve("output");
    Path results = Path.of("target", "smoke").toAbsolutePath();
    List<String> command = new ArrayList<>();
    command.addAll(List.of("/usr/bin/python3", "-B", "-m", "bench"));
    command.addAll(List.of("--quick", "--out=" + results));
    command.addAll(BENCHMARKS);
    Process harness =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    harness.getOutputStream().close();
    try {
      assertTrue(harness.waitFor(540, TimeUnit.SECONDS), () -> "does not end: " + text(output));
    } finally {
      harness.destroyForcibly();
    }
    assertEquals(0, harness.exitValue(), () -> text(output));
    for (String benchmark : BENCHMARKS) {
      String file = Files.readString(results.resolve(benchmark + ".json"));
      assertTrue(file.contains("\"summary\": {"), file);
      assertTrue(text(output).contains("\n" + benchmark + ": "), () -> text(output));
    }
  }

  private static String text(Path file) {
    try {
      return Files.readString(file);
    } catch (java.io.IOException e) {
      return e.toString();
    }
  }
}
