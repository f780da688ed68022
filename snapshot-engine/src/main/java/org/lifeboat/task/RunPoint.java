package org.lifeboat.task;

import org.lifeboat.crash.CrashPoint;

/** Where a run can be met by the death of something, outside of dump and restore. */
public enum RunPoint implements CrashPoint {
  /** The run's id is written here; the store is not taken over yet. */
  RUN_BEGUN,
  /** The store is taken over. */
  RUN_TAKEN,
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
  /** Lifeboat-init has the order to end; the run's folder is still there. */
  RUN_LEAVING
}
