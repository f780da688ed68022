package org.lifeboat.perf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Runs every benchmark once, on very little memory, so that the harness can't rot unseen. What is
 * measured does not matter here; that it happened does, and the harness checks that itself. Needs
 * root, CRIU and MinIO, as {@code deploy/setup test} brings them.
 */
@Timeout(300)
class HarnessIT {

  @TempDir Path directory;

  @Test
  void everyBenchmarkRuns() throws Exception {
    assertTrue("root".equals(System.getProperty("user.name")), "run it as root");
    Map<String, String> environment = System.getenv();
    for (String needed : List.of("LIFEBOAT_CRIU", "LIFEBOAT_MINIO")) {
      assertTrue(environment.containsKey(needed), needed + " is not set: run deploy/setup test");
    }
    Path output = directory.resolve("output");
    Path results = Path.of("target", "smoke.json").toAbsolutePath();
    Files.deleteIfExists(results);
    Process harness =
        new ProcessBuilder(
                "/usr/bin/python3",
                "-B",
                "-m",
                "bench",
                "--size=64",
                "--runs=1",
                "--starts=1",
                "--iperf=1",
                "--out=" + results)
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    harness.getOutputStream().close();
    try {
      assertTrue(harness.waitFor(240, TimeUnit.SECONDS), () -> "does not end: " + text(output));
    } finally {
      harness.destroyForcibly();
    }
    assertEquals(0, harness.exitValue(), () -> text(output));
    for (String benchmark : List.of("receive", "overlap", "link", "dump", "start")) {
      assertTrue(Files.readString(results).contains("\"" + benchmark + "\": {"), benchmark);
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
