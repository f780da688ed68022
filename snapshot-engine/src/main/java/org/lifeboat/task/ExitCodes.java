package org.lifeboat.task;

/** The exit codes of {@code lifeboat}, beside the task's own. */
public final class ExitCodes {

  public static final int OK = 0;

  /** Something failed that has no code of its own. */
  public static final int FAILURE = 1;

  /** The command line is wrong, or contradicts what the store holds. */
  public static final int USAGE = 2;

  /** Stopped because a checkpoint was taken; run again to go on. */
  public static final int CHECKPOINTED = 75;

  /** This host cannot save or bring back a task: no privilege, no CRIU, no folder to work in. */
  public static final int HOST = 125;

  /** The command was found but cannot be executed. */
  public static final int NOT_EXECUTABLE = 126;

  /** The command was not found. */
  public static final int NOT_FOUND = 127;

  /** The file layer failed. */
  public static final int FILES = 174;

  /** A dump failed. */
  public static final int DUMP = 175;

  /** A restore failed; the snapshots are kept. */
  public static final int RESTORE = 176;

  private ExitCodes() {}
}
