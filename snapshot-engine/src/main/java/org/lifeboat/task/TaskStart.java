package org.lifeboat.task;

import java.io.IOException;
import java.time.Clock;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.init.Frames;
import org.lifeboat.init.InitException;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.Restorer;
import org.lifeboat.snapshot.SnapshotException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Brings the task to life: restored from its newest snapshot where there is one, the command
 * otherwise, with the list of the files as they were before. Apart from {@link Beginning}, which is
 * on the loop's thread: this is what is done on the worker's and others.
 */
final class TaskStart {

  private static final Logger log = LoggerFactory.getLogger(TaskStart.class);

  /** How old the list of files may be when the task starts, in nanoseconds. */
  private static final long BASELINE_AGE = 1_000_000_000L;

  private final RunOptions options;
  private final Clock clock;
  private final CrashPoints crashPoints;
  private final RunParts parts;
  private final Consumer<Event> events;
  private Ahead<Long> baseline;
  private boolean anew;

  TaskStart(RunSetup setup, RunParts parts, Consumer<Event> events) {
    this.options = setup.options();
    this.clock = setup.clock();
    this.crashPoints = setup.crashPoints();
    this.parts = parts;
    this.events = events;
  }

  /**
   * Begins to list the files as they are before the task starts. That may begin before it is known
   * whose the store is, and whether the task is started or restored: it only reads.
   */
  void beginListing() {
    baseline = Ahead.start("baseline", this::scanBaseline);
  }

  /**
   * @return when it was over
   */
  private long scanBaseline() throws IOException {
    parts.files.scanBaseline();
    return System.nanoTime();
  }

  /** It writes into the folder that goes. */
  void stopListing() {
    try {
      if (baseline != null) {
        baseline.cancel();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** What the take-over makes of the document that is there. */
  DumpMetadata opened(DumpMetadata document, List<String> command, String directory)
      throws SnapshotException {
    anew = startsAnew(document, command);
    if (!anew) {
      return document;
    }
    int generation = document.task().generation() + (document.dumps().isEmpty() ? 0 : 1);
    return document.withTask(
        new DumpMetadata.Task(DumpMetadata.TaskState.ACTIVE, null, clock.millis(), generation),
        command,
        directory);
  }

  private boolean startsAnew(DumpMetadata document, List<String> command) throws SnapshotException {
    if (document.task().state() == DumpMetadata.TaskState.ENDED) {
      log.info(
          "the task of {} had ended with exit code {}: starting it anew",
          options.store(),
          document.task().exitCode());
      return true;
    }
    if (options.fresh()) {
      if (!document.dumps().isEmpty()) {
        log.info(
            "--fresh: starting the command anew, {} dumps are passed over",
            document.dumps().size());
      }
      return true;
    }
    if (!document.command().equals(command) && !document.restorable().isEmpty()) {
      throw new SnapshotException(
          SnapshotException.Kind.OTHER_COMMAND,
          "the snapshots of "
              + options.store()
              + " are of another command: "
              + String.join(" ", document.command())
              + "; this one is: "
              + String.join(" ", command),
          "give the same command, use another --store, or add --fresh to start this one",
          null);
    }
    if (document.dumps().isEmpty() || !document.command().equals(command)) {
      if (document.epoch() > 1) {
        log.info("{} holds no snapshot of this command: starting it", options.store());
      }
      return true;
    }
    return false;
  }

  void start(DumpMetadata document) {
    try {
      if (!anew && !document.restorable().isEmpty()) {
        baseline.cancel(); // a restore brings the list of its snapshot
      }
      Optional<Long> restored =
          anew ? Optional.empty() : new Restorer(parts.context).restoreNewest(document);
      if (restored.isPresent()) {
        events.accept(new Event.Running(restored.get()));
        return;
      }
      if (System.nanoTime() - baseline.get() > BASELINE_AGE) { // another run was waited for
        parts.files.scanBaseline();
      }
      parts.init.lastPid(1000);
      crashPoints.at(RunPoint.RUN_BASELINE);
      startCommand();
    } catch (InitException e) {
      events.accept(new Event.StartFailed(ExitCodes.RESTORE, e.getMessage()));
    } catch (SnapshotException e) {
      events.accept(new Event.StartFailed(Failures.codeOf(e), e.getMessage()));
    } catch (IOException e) {
      events.accept(new Event.StartFailed(ExitCodes.RESTORE, Failures.describe(e)));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      events.accept(new Event.StartFailed(ExitCodes.FAILURE, "interrupted"));
    } catch (RuntimeException e) {
      log.error("starting the task failed", e);
      events.accept(new Event.StartFailed(ExitCodes.FAILURE, e.toString()));
    }
  }

  private void startCommand() {
    try {
      long pid =
          parts.init.startTask(
              options.directory(), TaskEnvironment.of(options.environment()), options.command());
      crashPoints.at(RunPoint.RUN_STARTED);
      events.accept(new Event.Running(pid));
    } catch (InitException e) {
      StartFailure failure =
          StartFailure.of(
              Frames.text(options.command().getFirst()),
              options.directory(),
              e.errno(),
              e.getMessage());
      events.accept(new Event.StartFailed(failure.code(), failure.message()));
    }
  }

  void tidyAfterRestore(DumpMetadata document) {
    try {
      new Restorer(parts.context).tidy(document);
    } catch (IOException e) {
      log.warn("what is left of the restore could not be removed: {}", Failures.describe(e));
    }
  }
}
