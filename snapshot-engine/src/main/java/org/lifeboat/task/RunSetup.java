package org.lifeboat.task;

import java.nio.file.Path;
import java.time.Clock;
import java.util.List;
import java.util.Map;
import org.lifeboat.crash.CrashPoints;

/**
 * What a run is started with, and the paths and numbers that follow from it alone; whatever brings
 * the run on has it.
 *
 * @param environment lifeboat's own, not the task's
 * @param runDirectory the sockets' directory
 * @param crashPoints is told of every change of state
 */
record RunSetup(
    RunOptions options,
    Map<String, String> environment,
    Path runDirectory,
    CrashPoints crashPoints,
    Clock clock) {

  /** Holds this run's id in the store; an engine that finds it was preceded by another. */
  Path ownerFile() {
    return runDirectory.resolve("owner");
  }

  Path cache() {
    return Stores.cache(environment).resolve(RunRegistry.hash(options.store()));
  }

  /** The batch system's number of this attempt. */
  int attempt() {
    for (String name :
        List.of("AWS_BATCH_JOB_ATTEMPT", "BATCH_TASK_RETRY_ATTEMPT", "SLURM_RESTART_COUNT")) {
      String value = environment.get(name);
      if (value != null && value.matches("\\d{1,6}")) {
        return Integer.parseInt(value);
      }
    }
    return 0;
  }
}
