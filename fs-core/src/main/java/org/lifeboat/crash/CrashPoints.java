package org.lifeboat.crash;

import java.util.Map;

/**
 * Is told when a {@link CrashPoint} is reached, on the thread that does the work. In a normal run
 * this does nothing. Thread-safe.
 */
@FunctionalInterface
public interface CrashPoints {

  /** Where nobody waits for anything. */
  CrashPoints NONE = point -> {};

  /** Returns when the program may go on. */
  void at(CrashPoint point);

  /**
   * What the environment asks for: with {@code LIFEBOAT_CRASH_POINT=NAME[:n]} and {@code
   * LIFEBOAT_CRASH_FILE=path} the n-th arrival (1, the first, if it is left out) at the point of
   * that name creates the file and waits until it is gone. If the file exists already, an earlier
   * process stopped there and died: this one does not stop.
   *
   * @throws IllegalArgumentException when only one of both is set, or n is no number from 1 on
   */
  static CrashPoints of(Map<String, String> environment) {
    String point = environment.getOrDefault(CrashStop.POINT, "");
    String file = environment.getOrDefault(CrashStop.FILE, "");
    return point.isEmpty() && file.isEmpty() ? NONE : CrashStop.of(point, file);
  }
}
