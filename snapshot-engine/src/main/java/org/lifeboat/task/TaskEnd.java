package org.lifeboat.task;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.init.InitEvent;
import org.lifeboat.init.WaitStatus;
import org.lifeboat.snapshot.Bounded;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.Folders;
import org.lifeboat.snapshot.SnapshotException;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What a run does when its task is no more here: it has ended, which is brought to the store, or it
 * lives on in the store. Closing what the run has open is {@link Leaving}'s.
 */
final class TaskEnd {

  private static final Logger log = LoggerFactory.getLogger(TaskEnd.class);

  /** How long is tried to record the task's end, and then to remove what it does not need. */
  private static final Duration END_PATIENCE = Duration.ofSeconds(60);

  private final RunSetup setup;
  private final RunOptions options;
  private final Path runDirectory;
  private final CrashPoints crashPoints;
  private final Clock clock;
  private final RunParts parts;
  private final RunState run;
  private final Executor worker;
  private final Consumer<Event> events;

  TaskEnd(RunSetup setup, RunParts parts, RunState run, Executor worker, Consumer<Event> events) {
    this.setup = setup;
    this.options = setup.options();
    this.runDirectory = setup.runDirectory();
    this.crashPoints = setup.crashPoints();
    this.clock = setup.clock();
    this.parts = parts;
    this.run = run;
    this.worker = worker;
    this.events = events;
  }

  /** Ends a run whose outcome stands, or stays until the host is gone. */
  void over(int code) throws IOException {
    parts.init.killAll(); // a tree that lives on in the store
    Folders.delete(setup.cache());
    if (code != ExitCodes.CHECKPOINTED || options.afterDump() != RunOptions.AfterDump.PARK) {
      throw new End(code, null);
    }
    park();
  }

  /** Stays, the task saved, until the host is gone. */
  void park() {
    log.info("the task is saved in {}; staying until this host is gone", options.store());
    run.ending = true;
    run.saved = true;
    run.taskPid = 0;
    run.nextSnapshot = Long.MAX_VALUE;
  }

  Optional<Integer> taskExited(InitEvent.TaskExited exited) {
    if (run.busy && run.taskPid != 0) {
      run.pendingEnd =
          Optional.of(exited); // either the dump ended it, or it ended the dump: its result tells
      if (!run.finalDump) {
        parts.dumper.cancel("the task has ended");
      }
      return Optional.empty();
    }
    if (run.ending || (run.taskPid == 0 && !run.busy)) {
      return Optional.empty();
    }
    WaitStatus status = exited.status();
    if (parts.dumper.mayHaveHurtTheTask(status.signal())) {
      throw new End(
          ExitCodes.DUMP,
          "the task was "
              + status
              + " after CRIU had been killed in the middle of its work: that is not taken for its end, the next run goes on from the newest committed snapshot");
    }
    run.ending = true;
    run.nextSnapshot = Long.MAX_VALUE;
    worker.execute(() -> events.accept(new Event.EndCommitted(commitEnd(status.exitCode()))));
    return Optional.empty();
  }

  private int commitEnd(int code) {
    crashPoints.at(RunPoint.RUN_TASK_ENDED);
    AtomicReference<DumpMetadata> recorded = new AtomicReference<>();
    AtomicReference<String> failure =
        new AtomicReference<>("no answer for " + END_PATIENCE.toSeconds() + " s");
    boolean inTime =
        Bounded.run(
            END_PATIENCE,
            () -> {
              try {
                recorded.set(recordEnd(code));
              } catch (StoreException | SnapshotException | RuntimeException e) {
                failure.set(Failures.describe(e));
              }
            });
    DumpMetadata last = recorded.get();
    if (last == null) {
      log.error(
          "the task ended with exit code {}, but that could not be recorded in {}; another run of"
              + " it would go on from its newest snapshot: {}",
          code,
          options.store(),
          inTime ? failure.get() : "no answer for " + END_PATIENCE.toSeconds() + " s");
      return code;
    }
    OutcomeFile.write(runDirectory, code);
    crashPoints.at(RunPoint.RUN_END_RECORDED);
    if (!Bounded.run(END_PATIENCE, () -> parts.retention.end(last))) {
      log.warn(
          "the store is slow: not all snapshots of the task, which has ended, were removed within {} s; lifeboat gc {} removes the rest",
          END_PATIENCE.toSeconds(),
          options.store());
    }
    crashPoints.at(RunPoint.RUN_IMAGES_REMOVED);
    return code;
  }

  private DumpMetadata recordEnd(int code) throws StoreException, SnapshotException {
    return parts.metadata.update(
        parts.context.ownerId(),
        d ->
            d.withTask(
                    new DumpMetadata.Task(
                        DumpMetadata.TaskState.ENDED, code, clock.millis(), d.task().generation()))
                .released());
  }
}
