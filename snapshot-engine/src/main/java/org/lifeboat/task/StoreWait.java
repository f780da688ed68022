package org.lifeboat.task;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import org.lifeboat.init.InitEvent;
import org.lifeboat.store.ObservedStore;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreUrl;

/**
 * Waits for the store while no task runs yet: then nothing is lost by waiting, a signal must still
 * end the run, and the loop, which would hear it, has not begun.
 */
final class StoreWait {

  /** How long a run waits for a store that cannot be reached, while no task runs. */
  static final Duration PATIENCE = Duration.ofSeconds(60);

  private final StoreUrl store;
  private final BlockingQueue<Event> events;
  private volatile long lastAnswer = System.nanoTime();

  StoreWait(StoreUrl store, BlockingQueue<Event> events) {
    this.store = store;
    this.events = events;
  }

  /** From now on {@link #PATIENCE} is counted, if the store does not answer. */
  void begin() {
    lastAnswer = System.nanoTime();
  }

  /** Hears of every request that has ended. */
  void observe(ObservedStore.Done call) {
    boolean answered =
        call.failure()
            .map(
                e ->
                    e instanceof StoreException s
                        && !s.retryable()
                        && s.kind() != StoreException.Kind.INTERRUPTED
                        && s.kind() != StoreException.Kind.UNKNOWN_OUTCOME)
            .orElse(true);
    if (answered) {
      lastAnswer = call.endNanos();
    }
  }

  /**
   * Does something with the store before the task is there, as long as the store answers now and
   * then; a signal ends the run meanwhile.
   */
  <T> T whileAnswering(Callable<T> step) throws IOException, InterruptedException {
    FutureTask<T> future =
        new FutureTask<>(step) {
          @Override
          protected void done() {
            events.add(new Event.Woken());
          }
        };
    Thread.ofVirtual().name("store").start(future);
    try {
      while (!future.isDone()) {
        waitForSignal(1000);
        if (System.nanoTime() - lastAnswer > PATIENCE.toNanos() && !future.isDone()) {
          throw new StoreException(
              StoreException.Kind.UNREACHABLE,
              "use",
              store.toString(),
              "no answer for " + PATIENCE.toSeconds() + " s",
              "is the network up?",
              null);
        }
      }
      return future.get();
    } catch (ExecutionException e) {
      switch (e.getCause()) {
        case IOException cause -> throw cause;
        case InterruptedException cause -> throw cause;
        case RuntimeException cause -> throw cause;
        case Throwable cause -> throw new IllegalStateException(cause);
      }
    } finally {
      future.cancel(true);
    }
  }

  /** Waits before the task is there; a signal ends the run then, everything else is kept. */
  void waitForSignal(long millis) throws InterruptedException {
    long end = System.nanoTime() + millis * 1_000_000;
    List<Event> kept = new ArrayList<>();
    try {
      for (long left = end - System.nanoTime(); left > 0; left = end - System.nanoTime()) {
        Event event = events.poll(left, TimeUnit.NANOSECONDS);
        switch (event) {
          case null -> {}
          case Event.FromInit(InitEvent.Signalled(String name)) ->
              throw new End(128 + Signals.number(name), name + " before the task ran: ending");
          case Event.FromInit(InitEvent.Lost(String why)) -> throw new End(ExitCodes.FAILURE, why);
          case Event.Woken() -> {
            return;
          }
          default -> kept.add(event);
        }
      }
    } finally {
      events.addAll(kept);
    }
  }
}
