package org.lifeboat.task;

import org.lifeboat.crash.CrashPoint;

/** Where a run can be met by the death of something, outside of dump and restore. */
public enum RunPoint implements CrashPoint {
  /** The store is not taken over yet. */
  RUN_BEGUN,
  /** The store is taken over; the owner's id is not written here. */
  RUN_TAKEN,
  /** The owner's id is written. */
  RUN_OWNER_WRITTEN,
  /** How the files are before the start is known; the task is not started. */
  RUN_BASELINE,
  /** The task was started. */
  RUN_STARTED,
  /** The task has ended, and the store does not know. */
  RUN_TASK_ENDED,
  /** The store has the task's end, and the images of its snapshots. */
  RUN_END_RECORDED,
  /** The images of an ended task are removed. */
  RUN_IMAGES_REMOVED,
  /** The store is released, or cannot be; nothing is removed here. */
  RUN_RELEASED,
  /** All is removed; lifeboat-init is not told yet. */
  RUN_LEFT
}
