package org.lifeboat.task;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import org.lifeboat.init.InitEvent;

/**
 * Where a run stands, for the engine's loop and for what the loop calls to begin and to end the
 * run. Only the loop's thread changes it: what other threads find out comes as an event.
 */
final class RunState {

  /** 0 while no task runs here. */
  long taskPid;

  /** A task was there when this engine began, and it is not taken over yet. */
  boolean resuming;

  /** The worker starts or restores the task, or takes a snapshot. */
  boolean busy;

  /** What the worker takes is the last snapshot of this run. */
  boolean finalDump;

  /** What the worker is at is a snapshot that an engine which died had begun. */
  boolean recovering;

  /** How the run ends is decided. */
  boolean ending;

  /** The task lives on in the store. */
  boolean saved;

  /** What the worker was given last. */
  Future<?> dumping = CompletableFuture.completedFuture(null);

  /** The task ended while the worker was busy. */
  Optional<InitEvent.TaskExited> pendingEnd = Optional.empty();

  /** The id under which the store is this run's. */
  Optional<String> ownedAs = Optional.empty();

  /** When the timer asks for a snapshot, in milliseconds of {@link System#nanoTime}. */
  long nextSnapshot = Long.MAX_VALUE;

  void scheduleNext(Optional<Duration> every) {
    every.ifPresent(interval -> nextSnapshot = System.nanoTime() / 1_000_000 + interval.toMillis());
  }
}
