package org.lifeboat.init;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class WaitStatusTest {

  @ParameterizedTest
  @CsvSource({"0,0,0", "256,1,0", "65280,255,0", "9,137,9", "137,137,9", "15,143,15"})
  void isWhatAShellMakesOfIt(int raw, int exitCode, int signal) {
    WaitStatus status = new WaitStatus(raw);
    assertEquals(exitCode, status.exitCode());
    assertEquals(signal, status.signal());
    assertEquals(raw == 0, status.success());
    assertEquals(signal == 0 ? "exit code " + exitCode : "killed by signal " + signal, "" + status);
  }

  @Test
  void childrenGetTheirOwnEnds() throws Exception {
    List<InitEvent> others = new ArrayList<>();
    Children children = new Children(others::add);
    CompletableFuture<WaitStatus> before = children.end("a");
    children.accept(new InitEvent.Exited("a", new WaitStatus(0)));
    children.accept(new InitEvent.Exited("b", new WaitStatus(9)));
    assertTrue(before.get().success());
    assertEquals(9, children.end("b").get().signal(), "it ended before anyone asked");
    assertFalse(children.end("c").isDone());
    assertEquals(List.of(), others);
  }

  @Test
  void everythingElseGoesOn() {
    List<InitEvent> others = new ArrayList<>();
    Children children = new Children(others::add);
    CompletableFuture<WaitStatus> end = children.end("a");
    List<InitEvent> events =
        List.of(
            new InitEvent.TaskExited(7, new WaitStatus(0)),
            new InitEvent.Signalled("TERM"),
            new InitEvent.Lost("gone"));
    events.forEach(children);
    assertEquals(events, others);
    assertTrue(
        assertThrows(ExecutionException.class, end::get).getCause().getMessage().contains("gone"));
  }
}
