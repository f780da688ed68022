package org.lifeboat.init;

/** What lifeboat-init tells the engine of its own accord. */
public sealed interface InitEvent {

  /** A program that {@link InitClient#spawn} started has ended. */
  record Exited(String id, WaitStatus status) implements InitEvent {}

  /** The task's root process has ended. */
  record TaskExited(long pid, WaitStatus status) implements InitEvent {}

  /** A signal came for the whole run; {@code name} as in {@code TERM}. */
  record Signalled(String name) implements InitEvent {}

  /** The connection to lifeboat-init broke: it is gone, and with it everything. */
  record Lost(String why) implements InitEvent {}
}
