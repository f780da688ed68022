package org.lifeboat.snapshot;

import java.time.Duration;

/** Does what may hang, and no longer than it may. */
public final class Bounded {

  /** How long a step that was interrupted may take to end; a store does so at once. */
  private static final Duration GRACE = Duration.ofSeconds(1);

  private Bounded() {}

  /**
   * Does a step on a thread of its own, and interrupts it when its time is over.
   *
   * @param step handles its own failures
   * @return whether it ended by itself in time
   */
  public static boolean run(Duration limit, Runnable step) {
    Thread thread = Thread.ofVirtual().name("bounded").start(step);
    try {
      if (thread.join(limit)) {
        return true;
      }
      thread.interrupt();
      thread.join(GRACE);
    } catch (InterruptedException e) {
      thread.interrupt();
      Thread.currentThread().interrupt();
    }
    return false;
  }
}
