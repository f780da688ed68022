package org.lifeboat.vfs;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.lifeboat.crash.CrashPoints;

/** A process is killed at each point of the journal: what it told is there for the next one. */
@Timeout(60)
final class JournalCrashTest {

  @TempDir Path temp;

  @ParameterizedTest
  @EnumSource(JournalPoint.class)
  void whatWasToldSurvives(JournalPoint point) throws Exception {
    Path journal = temp.resolve("journal");
    Path file = temp.resolve("here");
    boolean each = point.name().endsWith("DECIDED") || point.name().endsWith("APPENDED");
    ProcessBuilder command = JournalProcess.command(journal);
    command.environment().put("LIFEBOAT_CRASH_POINT", point.name() + (each ? ":70" : ":2"));
    command.environment().put("LIFEBOAT_CRASH_FILE", file.toString());
    Path output = temp.resolve("told");
    Process process = command.redirectOutput(output.toFile()).start();
    while (!Files.exists(file)) {
      assertTrue(process.isAlive(), "it came to the end and not to " + point);
      Thread.onSpinWait();
    }
    process.destroyForcibly().waitFor();
    int acknowledged = Files.readAllLines(output).size();
    int there;
    try (State state = JournalProcess.open(journal, CrashPoints.NONE)) {
      there = state.tree().node(2).children.size();
      for (int i = 0; i < there; i++) {
        Child child = state.tree().node(2).children.get(Name.of("" + i));
        assertEquals(100 + i, child.node.id);
      }
    }
    assertTrue(
        there == acknowledged || there == acknowledged + 1,
        there + " are there, " + acknowledged + " were told");
    if (point == JournalPoint.JOURNAL_DECIDED) {
      assertEquals(acknowledged, there);
    }
    if (point == JournalPoint.JOURNAL_APPENDED) {
      assertEquals(acknowledged + 1, there);
    }
  }
}
