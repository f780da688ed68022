package org.lifeboat.snapshot;

import static java.util.Objects.requireNonNull;

import java.io.IOException;

/** A snapshot could not be taken or restored: what was tried, on what, and the remedy. */
public final class SnapshotException extends IOException {

  private static final long serialVersionUID = 1L;

  private final Kind kind;
  private final String remedy;
  private final String detail;

  public SnapshotException(Kind kind, String message, String remedy, Throwable cause) {
    this(kind, message, message, remedy, cause);
  }

  private SnapshotException(
      Kind kind, String message, String detail, String remedy, Throwable cause) {
    super(remedy.isEmpty() ? message : message + " (" + remedy + ")", cause);
    this.kind = requireNonNull(kind, "kind is null");
    this.remedy = remedy;
    this.detail = detail;
  }

  static SnapshotException damaged(String what, String detail) {
    return new SnapshotException(Kind.DAMAGED, what + ": " + detail, detail, "", null);
  }

  static SnapshotException newer(String what, long format, int newest) {
    return new SnapshotException(
        Kind.NEWER_FORMAT,
        what + ": its format is " + format + ", this Lifeboat reads up to " + newest,
        "use the Lifeboat that wrote it, or a newer one",
        null);
  }

  /** What is wrong, without the name of what it is wrong with. */
  String detail() {
    return detail;
  }

  public Kind kind() {
    return kind;
  }

  public String remedy() {
    return remedy;
  }

  /** What it means for the caller. */
  public enum Kind {
    /** Something stored is not what was written; an older snapshot may do. */
    DAMAGED,
    /** Written by a newer Lifeboat. */
    NEWER_FORMAT,
    /** This host differs from the one that was dumped in a way that matters. */
    ENVIRONMENT,
    /** CRIU refused to dump or to restore. */
    CRIU,
    /** The dump was not done by its deadline. */
    DEADLINE,
    /** Another run owns this store now. */
    OWNER_LOST,
    /** Another run owns this store and lives. */
    OWNED,
    /** Whether the commit took effect is not known. */
    UNKNOWN_OUTCOME,
    /** The command differs from the one that the store's snapshots are of. */
    OTHER_COMMAND,
    /** A process of the task has died with a CRIU that was killed in the middle of its work. */
    TASK_HURT,
    /** The task was not in a state for it, or anything else. */
    FAILED
  }
}
