package org.lifeboat.task;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import org.lifeboat.init.InitEvent;
import org.lifeboat.snapshot.DumpRequest;
import org.lifeboat.snapshot.DumpResult;

/**
 * What the engine's loop decides about. Whatever takes time, or listens, reports back as one of
 * these; it is apart from the loop because everything that talks to it must know them.
 */
sealed interface Event {

  record FromInit(InitEvent event) implements Event {}

  /** The task runs: started, or restored. */
  record Running(long pid) implements Event {}

  record StartFailed(int code, String why) implements Event {}

  /** Another run has the store now. */
  record Fenced(String why) implements Event {}

  /** This run stood still: another one may have taken it for dead. */
  record StoodStill(Duration howLong) implements Event {}

  /** It was asked since, and the task is still this run's. */
  record Cleared() implements Event {}

  /** What the loop waited for with the store is done. */
  record Woken() implements Event {}

  /** A dump was not begun, as its deadline had passed by then. */
  record NotBegun() implements Event {}

  /**
   * Somebody asks for a checkpoint.
   *
   * @param begun whether it was begun, or answered because its deadline passed before
   * @param watched whether its deadline is looked after
   */
  record Checkpoint(
      DumpRequest dump, ControlServer.Reply reply, AtomicBoolean begun, AtomicBoolean watched)
      implements Event {

    Checkpoint(DumpRequest dump, ControlServer.Reply reply) {
      this(dump, reply, new AtomicBoolean(), new AtomicBoolean());
    }

    /** Answers when the deadline passes before it is begun. */
    void watchDeadline() {
      if (dump.deadline().isEmpty() || !watched.compareAndSet(false, true)) {
        return;
      }
      Thread.ofVirtual()
          .name("deadline")
          .start(
              () -> {
                long left = dump.deadlineNanos() - System.nanoTime();
                LockSupport.parkNanos(left);
                while (dump.deadlineNanos() - System.nanoTime() > 0) {
                  LockSupport.parkNanos(dump.deadlineNanos() - System.nanoTime());
                }
                if (begun.compareAndSet(false, true)) {
                  reply.send(
                      new ControlServer.Failed(
                          true,
                          ExitCodes.DUMP,
                          "its deadline passed before it could begin, behind what was under way"
                              + " (the log tells; a store that does not answer?)"));
                }
              });
    }
  }

  record SnapshotDone(DumpResult result, Optional<ControlServer.Reply> reply) implements Event {}

  /** The task's end is in the store, as far as it could be brought there. */
  record EndCommitted(int code) implements Event {}
}
