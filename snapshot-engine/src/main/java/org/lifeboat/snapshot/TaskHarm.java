package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;

/**
 * What CRIUs that were killed may have done to this run's task, over all its dumps: whoever meets
 * the task's end later asks here whether it can be taken for one.
 */
final class TaskHarm {

  private volatile boolean criuKilled;
  private volatile boolean taskHurt;

  /**
   * Whether a fault that ends the task may be the work of a CRIU that was killed while it held it.
   */
  boolean mayHaveHurtTheTask(int signal) {
    return criuKilled && CriuDeath.isFault(signal);
  }

  /** Whether a process of the task has died with a CRIU that was killed. */
  boolean taskHurt() {
    return taskHurt;
  }

  /** A process of the task has died with a CRIU that was killed. */
  void tell() {
    taskHurt = true;
  }

  /**
   * Cleans up behind a CRIU that was killed, and looks whether a process of the task died with it.
   *
   * @param log CRIU's, as far as it came
   * @param how it ended
   */
  Optional<SnapshotException> ofKilledCriu(Path log, String how) throws IOException {
    criuKilled = true;
    CriuDeath.tidy();
    return CriuDeath.victim(log).map(pid -> hurt(pid, how));
  }

  private static SnapshotException hurt(long pid, String how) {
    return new SnapshotException(
        SnapshotException.Kind.TASK_HURT,
        "CRIU was ended in the middle of its work ("
            + how
            + "), and process "
            + pid
            + " of the task died of it",
        "the next run goes on from the newest committed snapshot",
        null);
  }
}
