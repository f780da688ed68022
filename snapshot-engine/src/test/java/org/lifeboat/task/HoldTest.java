package org.lifeboat.task;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.init.InitClient;
import org.lifeboat.init.InitException;

/** On real processes. */
@Timeout(120)
final class HoldTest {

  @TempDir private Path folder;
  private Process root;
  private final List<String> sent = new ArrayList<>();

  @BeforeEach
  void begin() throws IOException {
    root =
        new ProcessBuilder(
                "/bin/sh", "-c", "sleep 1000 & sleep 1001 & while :; do /bin/true; done; wait")
            .start();
    while (root.descendants().count() < 2) {
      Thread.onSpinWait();
    }
  }

  @AfterEach
  void end() {
    root.descendants().forEach(ProcessHandle::destroyForcibly);
    root.destroyForcibly();
  }

  private Hold hold() {
    return new Hold(
        (pid, signal) -> {
          sent.add(signal + " " + pid);
          int code;
          try {
            code = new ProcessBuilder("kill", "-" + signal, Long.toString(pid)).start().waitFor();
          } catch (IOException | InterruptedException e) {
            throw new IllegalStateException(e);
          }
          if (code != 0) {
            throw new InitException("signal", InitClient.ESRCH, "no such process", null);
          }
        },
        folder.resolve("held"));
  }

  private static char state(ProcessHandle process) {
    try {
      String stat = Files.readString(Path.of("/proc/" + process.pid() + "/stat"));
      return stat.charAt(stat.lastIndexOf(')') + 2);
    } catch (IOException e) {
      return 'X';
    }
  }

  private Stream<ProcessHandle> all() {
    return Stream.concat(Stream.of(root.toHandle()), root.descendants());
  }

  private void await(boolean stopped) {
    while (!all()
        .allMatch(p -> state(p) == 'X' || state(p) == 'Z' || (state(p) == 'T') == stopped)) {
      Thread.onSpinWait();
    }
  }

  /** The shell forks all the time: whoever is born meanwhile is stopped too. */
  @Test
  void stopsAllAndLetsAllGo() throws IOException {
    Hold hold = hold();
    assertFalse(hold.held());
    assertTrue(hold.stop(root.pid()) >= 3);
    await(true);
    assertTrue(hold.held());
    assertEquals(
        "rw-------",
        PosixFilePermissions.toString(Files.getPosixFilePermissions(folder.resolve("held"))));
    hold.release();
    await(false);
    assertFalse(hold.held());
    hold.release();
  }

  @Test
  void whoWasStoppedBeforeStaysSo() throws Exception {
    ProcessHandle sleeper =
        root.descendants().filter(p -> state(p) == 'S').findFirst().orElseThrow();
    assertEquals(0, new ProcessBuilder("kill", "-STOP", "" + sleeper.pid()).start().waitFor());
    while (state(sleeper) != 'T') {
      Thread.onSpinWait();
    }
    Hold hold = hold();
    hold.stop(root.pid());
    hold.release();
    assertFalse(sent.stream().anyMatch(signal -> signal.endsWith(" " + sleeper.pid())));
    assertEquals('T', state(sleeper));
  }

  /** The engine that stopped them has died, maybe while it wrote the last line. */
  @Test
  void anotherEngineLetsThemGo() throws IOException {
    hold().stop(root.pid());
    await(true);
    Files.writeString(folder.resolve("held"), "999999999\n7x", StandardOpenOption.APPEND);
    Hold next = hold();
    assertTrue(next.held());
    next.release();
    await(false);
    assertFalse(next.held());
  }
}
