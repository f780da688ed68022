package org.lifeboat.snapshot;

import org.lifeboat.crash.CrashPoint;

/** Where a restore can be met by the death of something, in the order in which it gets there. */
public enum RestorePoint implements CrashPoint {
  /** The snapshot is chosen. */
  RESTORE_CHOSEN,
  /** The images are here. */
  RESTORE_IMAGES_FETCHED,
  /** The pages are here. */
  RESTORE_PAGES_FETCHED,
  /** The packs of files are here: everything is, and nothing of the host has been changed. */
  RESTORE_FETCHED,
  /** The files are rolled back. */
  RESTORE_ROLLED_BACK,
  /** The store has it as RESTORING. */
  RESTORE_BEGUN,
  /** CRIU was started. */
  RESTORE_CRIU_STARTED,
  /** In CRIU's hook {@code pre-resume}: the tree is ready and stopped. */
  RESTORE_READY,
  /** The hook is about to let CRIU resume the tree. */
  RESTORE_RESUMING,
  /** The tree runs and CRIU has ended. */
  RESTORE_RESUMED,
  /** The store has it as RESTORED. */
  RESTORE_DONE,
  /** CRIU failed, and what it left is not killed yet. */
  RESTORE_FAILED
}
