package org.lifeboat.snapshot;

import org.lifeboat.crash.CrashPoint;

/**
 * Where the removal of what is not needed any more can be met by the death of something, in the
 * order in which it gets there.
 */
public enum RetentionPoint implements CrashPoint {
  /** What was superseded or torn is out of the metadata; nothing is removed yet. */
  RETENTION_THINNED,
  /** What is to be removed is known. */
  RETENTION_FOUND,
  /** A manifest was removed, and nothing else of its dump. */
  RETENTION_MANIFEST_REMOVED,
  /** An upload was aborted. */
  RETENTION_UPLOAD_ABORTED,
  /** An object was removed; others of the same dump are being removed at the same time. */
  RETENTION_OBJECT_REMOVED,
  /** All of one dump is removed. */
  RETENTION_DUMP_REMOVED
}
