package org.lifeboat.crash;

/**
 * An instant between two changes of state, at which any process may die. Enums implement it; no two
 * points of a program have the same name.
 */
public interface CrashPoint {

  /** As in LIFEBOAT_CRASH_POINT. */
  String name();
}
