package org.lifeboat.files;

import org.lifeboat.crash.CrashPoint;

/** Where a roll-back can be met by the death of something, in the order in which it gets there. */
public enum RollBackPoint implements CrashPoint {
  /** The journal is begun. */
  ROLL_BACK_BEGUN,
  /** All content is in staging directories. */
  ROLL_BACK_STAGED,
  /** Something was moved aside. */
  ROLL_BACK_MOVED_ASIDE,
  /** A file was put into place. */
  ROLL_BACK_PLACED,
  /** A hard link was made. */
  ROLL_BACK_LINKED,
  /** A directory has its metadata. */
  ROLL_BACK_DIRECTORY,
  /** Everything was looked at once more; the journal is still there. */
  ROLL_BACK_VERIFIED,
  /** All is in place; the baseline for the next capture is not written. */
  ROLL_BACK_DONE
}
