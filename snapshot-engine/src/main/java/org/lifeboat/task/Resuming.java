package org.lifeboat.task;

import java.io.IOException;
import java.util.Optional;
import java.util.concurrent.Executor;
import java.util.function.Consumer;
import org.lifeboat.criu.Criu;
import org.lifeboat.criu.HookServer;
import org.lifeboat.init.InitClient;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.DumpResult;
import org.lifeboat.snapshot.HostFacts;
import org.lifeboat.snapshot.MetadataStore;
import org.lifeboat.snapshot.Restorer;
import org.lifeboat.snapshot.SnapshotException;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Goes on with the task of an engine that died: one that runs, be it in the middle of a dump, or
 * one that a restore had just made ready. Apart from {@link Beginning} because here a task lives
 * that must neither be disturbed nor live twice.
 */
final class Resuming {

  private static final Logger log = LoggerFactory.getLogger(Resuming.class);

  private final RunOptions options;
  private final RunParts parts;
  private final RunState run;
  private final Opening opening;
  private final TaskStart starting;
  private final TaskEnd end;
  private final Executor worker;
  private final Consumer<Event> events;

  Resuming(
      RunSetup setup,
      RunParts parts,
      RunState run,
      Opening opening,
      TaskStart starting,
      TaskEnd end,
      Executor worker,
      Consumer<Event> events) {
    this.options = setup.options();
    this.parts = parts;
    this.run = run;
    this.opening = opening;
    this.starting = starting;
    this.end = end;
    this.worker = worker;
    this.events = events;
  }

  /** An engine died in the last moment of a restore, with the task ready or just resumed. */
  void resumeRestore(Criu criu, InitClient.State state, Optional<String> written)
      throws IOException, InterruptedException {
    DumpMetadata document = mine(state, written);
    run.ownedAs = Optional.of(document.owner().id());
    opening.prepare(criu, state, document.owner().id(), document.epoch());
    log.info("a new engine takes over, in the middle of a restore");
    String restore =
        state.spawned().keySet().stream()
            .filter(id -> id.startsWith("restore-"))
            .findFirst()
            .orElse("");
    long pid = state.taskPid();
    run.busy = true;
    worker.execute(
        () -> {
          try {
            if (new Restorer(parts.context).resume(restore, document)) {
              events.accept(new Event.Running(pid));
              starting.tidyAfterRestore(document);
              return;
            }
          } catch (IOException e) {
            events.accept(new Event.StartFailed(ExitCodes.RESTORE, Failures.describe(e)));
            return;
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            events.accept(new Event.StartFailed(ExitCodes.FAILURE, "interrupted"));
            return;
          }
          starting.beginListing();
          starting.start(document);
        });
  }

  /**
   * The store's document, if it is still ours. It is written, not just read: whatever a dead engine
   * had on its way, a commit say, is shut out so, or is in what is returned.
   */
  private DumpMetadata mine(InitClient.State state, Optional<String> written)
      throws IOException, InterruptedException {
    while (true) {
      try {
        MetadataStore.Current current =
            parts
                .metadata
                .read()
                .orElseThrow(
                    () -> new End(ExitCodes.DUMP, options.store() + " has lost its dump_metadata"));
        DumpMetadata.Owner owner = current.document().owner();
        boolean ours =
            written.isPresent()
                ? written.get().equals(owner.id())
                : owner.host().equals(HostFacts.name()) && owner.pid() == state.outerPid();
        if (ours) {
          return parts.metadata.update(owner.id(), document -> document);
        }
        parts.init.killAll();
        throw new End(
            ExitCodes.DUMP,
            "another run has taken over " + options.store() + ": on " + owner.host());
      } catch (StoreException e) {
        log.warn("the task runs, but its store does not answer, trying again: {}", e.getMessage());
        Thread.sleep(5000);
      } catch (SnapshotException e) {
        if (e.kind() != SnapshotException.Kind.OWNER_LOST) {
          throw e;
        }
        log.warn("{}", e.getMessage()); // between read and write: it is looked again
      }
    }
  }

  /** An engine died; its task did not. */
  void resumeTask(Criu criu, InitClient.State state, Optional<String> written)
      throws IOException, InterruptedException {
    DumpMetadata document = mine(state, written);
    run.ownedAs = Optional.of(document.owner().id());
    opening.prepare(criu, state, document.owner().id(), document.epoch());
    run.taskPid = state.taskPid();
    Optional<String> dump =
        state.spawned().keySet().stream()
            .filter(id -> id.startsWith("final-") || id.startsWith("keep-"))
            .findFirst();
    Optional<DumpMetadata.Dump> committed =
        document.dumps().stream()
            .filter(d -> d.epoch() == document.epoch() && d.restorable())
            .reduce((a, b) -> b);
    if (dump.isEmpty() && document.task().state() == DumpMetadata.TaskState.ENDED) {
      return; // init has told it already
    }
    if (dump.isEmpty() && document.owner().released()) {
      // a final dump is committed, or the run was ending: from the release on others may have it
      log.info("a new engine takes over at the end of the run");
      end.over(committed.isPresent() ? ExitCodes.CHECKPOINTED : ExitCodes.FAILURE);
      return;
    }
    parts.hold.release(); // the document was written just now
    log.info("a new engine takes over; the task (process {}) was not disturbed", run.taskPid);
    if (dump.isPresent()) {
      boolean isFinal = dump.get().startsWith("final-");
      int id = Integer.parseInt(dump.get().substring(dump.get().indexOf('-') + 1));
      run.finalDump = isFinal;
      run.recovering = true;
      run.busy = true;
      worker.execute(
          () -> {
            DumpResult result = parts.dumper.recover(dump.get(), id, isFinal);
            events.accept(new Event.SnapshotDone(result, Optional.empty()));
          });
    } else {
      parts.dumper.letGo();
      parts.hooks.handler(HookServer.REFUSING);
      worker.execute(() -> starting.tidyAfterRestore(document));
      Optional<DumpMetadata.Dump> unfinished =
          document.dumps().stream()
              .filter(d -> d.state() == DumpMetadata.DumpState.DUMPING)
              .reduce((a, b) -> b);
      if (unfinished.isPresent()) {
        run.busy = true;
        worker.execute(
            () ->
                events.accept(
                    new Event.SnapshotDone(
                        parts.dumper.resume(unfinished.get().id(), false, 0), Optional.empty())));
      }
    }
    run.scheduleNext(options.every());
  }
}
