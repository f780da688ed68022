package org.lifeboat.init;

import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;

/**
 * Sorts init's events: the end of a program goes to whoever waits for that program, everything else
 * to the engine's loop. Thread-safe.
 */
public final class Children implements Consumer<InitEvent> {

  private final Map<String, CompletableFuture<WaitStatus>> ends = new HashMap<>();
  private final Consumer<InitEvent> others;

  /**
   * @param others takes what is not the end of a program; must not block
   */
  public Children(Consumer<InitEvent> others) {
    this.others = others;
  }

  @Override
  public void accept(InitEvent event) {
    switch (event) {
      case InitEvent.Exited exited -> end(exited.id()).complete(exited.status());
      case InitEvent.Lost lost -> {
        synchronized (ends) {
          ends.values()
              .forEach(
                  end -> end.completeExceptionally(new InitException("wait", 0, lost.why(), null)));
        }
        others.accept(lost);
      }
      case InitEvent.TaskExited exited -> others.accept(exited);
      case InitEvent.Signalled signalled -> others.accept(signalled);
    }
  }

  /** Completes when the program of this id ends; may be asked for before it is started. */
  public CompletableFuture<WaitStatus> end(String id) {
    synchronized (ends) {
      return ends.computeIfAbsent(id, key -> new CompletableFuture<>());
    }
  }
}
