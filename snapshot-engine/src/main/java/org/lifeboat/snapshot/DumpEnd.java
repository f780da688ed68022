package org.lifeboat.snapshot;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.util.Optional;
import org.lifeboat.criu.CriuLog;
import org.lifeboat.criu.HookServer;
import org.lifeboat.init.WaitStatus;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * How a dump came out, and what is left to do then: the result that the caller gets, and behind it
 * the record of a failure and the clean-up, which may take as long as a store does not answer.
 */
final class DumpEnd {

  private static final Logger log = LoggerFactory.getLogger(DumpEnd.class);

  private final Context context;
  private final Retention retention;
  private final TaskHarm harm;
  private final DumpFate fate;
  private final DumpAttempt dump;
  private final DumpCourse course;
  private final DumpLog criuLog;

  DumpEnd(
      Context context,
      Retention retention,
      TaskHarm harm,
      DumpFate fate,
      DumpAttempt dump,
      DumpCourse course,
      DumpLog criuLog) {
    this.context = context;
    this.retention = retention;
    this.harm = harm;
    this.fate = fate;
    this.dump = dump;
    this.course = course;
    this.criuLog = criuLog;
  }

  DumpResult criuFailed(WaitStatus status) throws IOException {
    if (course.stage() == DumpStage.COMMITTED) {
      if (!dump.request.leaveRunning()) {
        log.warn(
            "CRIU ended with {} after the commit: ending the task here, it lives on in the store",
            status);
        context.init().killAll();
      }
      return succeeded();
    }
    if (status.signalled()) {
      Optional<SnapshotException> hurt = harm.ofKilledCriu(dump.logFile, status.toString());
      if (hurt.isPresent()) {
        dump.failure = hurt.get();
        course.forgetWhy();
      }
    }
    if (dump.failure == null && course.givenUp() == null && CacheDisk.isFull(context.cache())) {
      dump.failure = CacheDisk.full(context.cache(), "dump " + dump.id, null);
    }
    if (dump.failure == null) {
      Optional<CriuLog.Failure> explained = CriuLog.explain(dump.logFile);
      String out =
          Files.exists(dump.folder.resolve("criu.out"))
              ? Files.readString(dump.folder.resolve("criu.out")).strip()
              : "";
      dump.failure =
          new SnapshotException(
              SnapshotException.Kind.CRIU,
              course.givenUp() != null
                  ? course.givenUp()
                  : explained
                      .map(f -> "CRIU: " + f)
                      .orElse("CRIU ended with " + status + (out.isEmpty() ? "" : ": " + out)),
              course.givenUp() != null
                  ? ""
                  : "log: "
                      + context.store().url().of(Layout.dump(dump.id) + "dump_" + dump.id + ".log"),
              null);
    }
    return failed();
  }

  DumpResult succeeded() throws IOException {
    dump.phase = "done";
    return new DumpResult(
        true,
        0,
        dump.id,
        dump.request.leaveRunning(),
        null,
        false,
        dump.committed.rawBytes(),
        dump.committed.storedBytes(),
        dump.captured.result().bytes(),
        dump.sealed.manifest().processes(),
        dump.committed.frozenMicros(),
        (System.nanoTime() - dump.start) / 1_000_000);
  }

  DumpResult failed() {
    dump.failure = CacheDisk.explained(context.cache(), "dump " + dump.id, dump.failure);
    Exception cause = dump.failure;
    boolean ownerLost = dump.ownerLost();
    if (dump.failure instanceof SnapshotException e
        && e.kind() == SnapshotException.Kind.TASK_HURT) {
      harm.tell();
    }
    String why =
        course.givenUp() != null
            ? course.givenUp()
            : cause.getMessage() == null ? cause.toString() : cause.getMessage();
    log.debug("dump {} failed", dump.id, cause);
    return DumpResult.failure(
        dump.id,
        dump.request.leaveRunning(),
        why,
        ownerLost,
        (System.nanoTime() - dump.start) / 1_000_000);
  }

  private static boolean storeIsFull(Throwable failure) {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause instanceof StoreException e && e.kind() == StoreException.Kind.NO_SPACE) {
        return true;
      }
    }
    return false;
  }

  /** Its commit was never tried, so nobody will read its objects, recorded or not. */
  private void removeWhatFillsTheStore() {
    try {
      if (dump.pageSpill.isPresent()) {
        dump.pageSpill.get().close();
      }
      if (dump.fileSpill.isPresent()) {
        dump.fileSpill.get().close();
      }
      SealedDump.discardPacks(context, dump.folder);
      new Catalog(context.store()).removeObjects(dump.id);
    } catch (IOException e) {
      log.warn("the remains of dump {} could not be removed: {}", dump.id, e.getMessage());
    }
  }

  /** Throws away what the sinks have, where they were told to. */
  private void finishSinks() throws IOException {
    if (dump.pageSink != null) {
      dump.pageSink.finish();
    }
    if (dump.fileSink != null) {
      dump.fileSink.finish();
    }
  }

  private void recordFailure(String why) {
    context.crashPoints().at(DumpPoint.DUMP_FAILING);
    boolean full = storeIsFull(dump.failure);
    if (full) { // of what was begun: its space is free when it is aborted
      try {
        if (dump.captured != null) {
          dump.captured.close();
        }
        finishSinks();
      } catch (IOException e) {
        log.warn("while giving up dump {}: {}", dump.id, e.getMessage());
      }
    }
    dump.recorded = fate.fail(dump.id, why);
    if (!dump.recorded && full && dump.id > 0 && course.stage() != DumpStage.COMMITTING) {
      removeWhatFillsTheStore();
      dump.recorded = fate.fail(dump.id, why);
    }
    if (dump.recorded) {
      context.crashPoints().at(DumpPoint.DUMP_FAILED);
    }
  }

  /** What the answer did not wait for. */
  void tidy(DumpResult result) {
    if (dump.receiver != null) {
      dump.receiver.close();
    }
    if (dump.begun && !result.ok() && !result.ownerLost()) {
      recordFailure(result.error());
    }
    criuLog.storeAtLast();
    cleanUp();
    if (dump.recorded || (result.ok() && dump.request.leaveRunning())) {
      retention.tidy(); // what it had brought to the store, and older snapshots
    }
  }

  private void cleanUp() {
    context.hooks().handler(HookServer.REFUSING);
    try {
      if (dump.captured != null) {
        dump.captured.close();
      }
      if (dump.recorded || dump.ownerLost() || fate.storeLost()) {
        // a store that does not even take a record does not take aborts: the next sweep makes
        // them
        finishSinks();
      }
      if (dump.transfer != null) {
        dump.transfer.close();
      }
      if (dump.pageSpill.isPresent()) {
        dump.pageSpill.get().close();
      }
      if (dump.fileSpill.isPresent()) {
        dump.fileSpill.get().close();
      }
    } catch (IOException | UncheckedIOException e) {
      log.warn("while cleaning up after dump {}: {}", dump.id, e.getMessage());
    }
    if (dump.folder != null) {
      fate.discard(dump.folder, dump.recorded || dump.ownerLost() || fate.storeLost());
    }
  }
}
