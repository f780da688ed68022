package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class NamespacesTest {

  private static final long ME = ProcessHandle.current().pid();

  @ParameterizedTest
  @CsvSource({"--mount,mount", "--net,network", "--cgroup,cgroup"})
  void oneOfItsOwnIsNamed(String option, String name) throws Exception {
    Process other =
        new ProcessBuilder("unshare", option, "sh", "-c", "echo there; read end").start();
    try {
      assertEquals("there", other.inputReader().readLine());
      SnapshotException e =
          assertThrows(
              SnapshotException.class, () -> Namespaces.requireShared(ME, Set.of(ME, other.pid())));
      assertTrue(
          e.getMessage()
              .startsWith("process " + other.pid() + " (sh) of the task has a " + name + " "),
          e::getMessage);
    } finally {
      other.destroyForcibly().waitFor();
    }
  }

  @Test
  void sharedOnesAndProcessesThatEndedAreFine() throws IOException, InterruptedException {
    Process child = new ProcessBuilder("sh", "-c", "echo there; read end").start();
    try {
      assertEquals("there", child.inputReader().readLine());
      Namespaces.requireShared(ME, Set.of(ME, child.pid(), 4_194_303L));
    } finally {
      child.destroyForcibly().waitFor();
    }
  }
}
