package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class CriuDeathTest {

  @TempDir private Path temp;

  private Path log(String... lines) throws Exception {
    Path file = temp.resolve("dump_1.log");
    Files.writeString(file, String.join("\n", lines));
    return file;
  }

  @Test
  void theProcessThatTheLogNamesLastIsTheOneInDanger() throws Exception {
    Path log =
        log(
            "(00.065189) Dumping task (pid: 1001 comm: java)",
            "(00.065220) Collecting mappings (pid: 1001)",
            "(00.085189) Dumping task (pid: 1002 comm: a b (pid: 7))",
            "(00.085589) Dump rseq of 1002: ptr = 0x7f");
    assertEquals(Optional.of(1002L), CriuDeath.infected(log));
    assertTrue(CriuDeath.wasKilled(log));
    assertEquals(Optional.empty(), CriuDeath.infected(log("(00.01) Seized task 5, state 1")));
    assertEquals(Optional.empty(), CriuDeath.infected(temp.resolve("none")));
    assertFalse(CriuDeath.wasKilled(temp.resolve("none")));
  }

  @Test
  void anEndOfItsOwnIsNoDeath() throws Exception {
    assertFalse(CriuDeath.wasKilled(log("(00.2) Dumping finished successfully")));
    assertFalse(CriuDeath.wasKilled(log("(00.2) Error (criu/cr-dump.c:1): Dumping FAILED.")));
  }

  @Test
  void onlyAFaultOfTheProcessInDangerCounts() throws Exception {
    String me = Long.toString(ProcessHandle.current().pid());
    assertEquals(
        Optional.empty(), CriuDeath.victim(log("(0) Dumping task (pid: " + me + " comm: java)")));
    // the child waits until the shell is a program that waits for nobody: then it stays a zombie
    String child = "until read name </proc/$PPID/comm && [ $name = sleep ]; do :; done; kill -";
    for (String signal : new String[] {"TRAP", "KILL"}) {
      Process parent =
          new ProcessBuilder(
                  "bash", "-c", "bash -c '" + child + signal + " $$' & echo $!; exec sleep 1000")
              .start();
      try {
        long pid = Long.parseLong(parent.inputReader().readLine().strip());
        while (!Files.readString(Path.of("/proc/" + pid + "/stat")).contains(") Z ")) {
          Thread.onSpinWait();
        }
        Path log = log("(0) Dumping task (pid: " + pid + " comm: bash)");
        assertEquals(
            signal.equals("TRAP") ? Optional.of(pid) : Optional.empty(), CriuDeath.victim(log));
      } finally {
        parent.destroyForcibly();
      }
    }
  }
}
