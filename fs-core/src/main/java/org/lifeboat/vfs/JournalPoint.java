package org.lifeboat.vfs;

import org.lifeboat.crash.CrashPoint;

/** Where a mount may die between two steps of its {@link Journal}. */
public enum JournalPoint implements CrashPoint {
  /** A change was decided upon and nothing written. */
  JOURNAL_DECIDED,
  /** A change is written, nobody was told. */
  JOURNAL_APPENDED,
  /** A snapshot is written beside. */
  JOURNAL_SNAPSHOT_WRITTEN,
  /** The next log is there. */
  JOURNAL_LOG_MADE,
  /** The new snapshot counts; the old files are still there. */
  JOURNAL_SNAPSHOT_COUNTS
}
