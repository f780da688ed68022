package org.lifeboat.crash;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
final class CrashPointsTest {

  private enum Point implements CrashPoint {
    ONE,
    OTHER
  }

  @TempDir Path folder;

  private CrashPoints points(String point) {
    return CrashPoints.of(
        Map.of(
            "LIFEBOAT_CRASH_POINT",
            point,
            "LIFEBOAT_CRASH_FILE",
            folder.resolve("here").toString()));
  }

  @Test
  void nothingIsAskedFor() {
    assertSame(CrashPoints.NONE, CrashPoints.of(Map.of("LIFEBOAT_CRASH_POINT", "")));
  }

  @Test
  void stopsAtTheChosenArrivalUntilTheFileIsGone() throws Exception {
    CrashPoints points = points("ONE:2");
    Path file = folder.resolve("here");
    points.at(Point.OTHER);
    points.at(Point.ONE);
    points.at(Point.OTHER);
    assertFalse(Files.exists(file));
    boolean[] interrupted = new boolean[1];
    Thread thread =
        Thread.ofPlatform()
            .start(
                () -> {
                  points.at(Point.ONE);
                  interrupted[0] = Thread.interrupted();
                });
    while (!Files.exists(file)) {
      Thread.onSpinWait();
    }
    thread.interrupt();
    assertFalse(thread.join(java.time.Duration.ofMillis(50)), "it waits, interrupted or not");
    Files.delete(file);
    thread.join();
    assertTrue(interrupted[0], "the interrupt is kept");
    points.at(Point.ONE); // never again
    assertFalse(Files.exists(file));
  }

  @Test
  void anEarlierProcessStoppedThere() throws Exception {
    Files.createFile(folder.resolve("here"));
    assertSame(CrashPoints.NONE, points("ONE"));
  }

  @Test
  void whatMakesNoSenseIsRefused() {
    for (String point : new String[] {"", ":1", "ONE:0", "ONE:x"}) {
      assertThrows(IllegalArgumentException.class, () -> points(point), point);
    }
    assertThrows(
        IllegalArgumentException.class,
        () -> CrashPoints.of(Map.of("LIFEBOAT_CRASH_POINT", "ONE")));
  }
}
