package org.lifeboat.snapshot;

import java.time.Duration;
import java.util.Optional;

/**
 * A wish for a snapshot.
 *
 * @param leaveRunning whether the task goes on; otherwise it is killed once the snapshot is
 *     committed
 * @param deadline how long it may take to the commit, from when it was asked for; it is given up
 *     then, and the task goes on
 * @param why who asked, for the log
 * @param askedNanos when, as {@link System#nanoTime()}
 */
public record DumpRequest(
    boolean leaveRunning, Optional<Duration> deadline, String why, long askedNanos) {

  /** Asked for now. */
  public DumpRequest(boolean leaveRunning, Optional<Duration> deadline, String why) {
    this(leaveRunning, deadline, why, System.nanoTime());
  }

  /** When the deadline passes, as {@link System#nanoTime()}; only where there is one. */
  public long deadlineNanos() {
    return askedNanos + deadline.orElseThrow().toNanos();
  }
}
