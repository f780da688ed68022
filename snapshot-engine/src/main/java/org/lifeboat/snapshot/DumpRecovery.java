package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import org.lifeboat.store.Transfer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Ends the dumps that an engine which died had begun: what was in its memory is gone, so this goes
 * by what init, the store and the cache disk still have, and shares no step with {@link DumpJob}.
 */
final class DumpRecovery {

  private static final Logger log = LoggerFactory.getLogger(DumpRecovery.class);

  private static final String ENGINE_DIED = "the engine died during the dump";

  private final Context context;
  private final Retention retention;
  private final TreeHold hold;
  private final TaskHarm harm;
  private final DumpFate fate;
  private volatile boolean recovering;

  DumpRecovery(Context context, Retention retention, TreeHold hold, TaskHarm harm, DumpFate fate) {
    this.context = context;
    this.retention = retention;
    this.hold = hold;
    this.harm = harm;
    this.fate = fate;
  }

  /** Whether a dump was taken up whose CRIU was still there, and no other was begun since. */
  boolean recovering() {
    return recovering;
  }

  void over() {
    recovering = false;
  }

  /**
   * Ends a dump that an engine which died had begun, with CRIU still there: makes the store say
   * whether it is committed, tells that to the hook, and waits for CRIU.
   *
   * @param isFinal a leave-running dump is not committed before CRIU has ended, and its tree goes
   *     on in any case
   */
  DumpResult recover(String spawnId, int id, boolean isFinal) {
    long start = System.nanoTime();
    boolean committed;
    recovering = true;
    try {
      committed = isFinal && fate.decide(id, ENGINE_DIED).isPresent();
    } catch (SnapshotException e) {
      // the hook stays unanswered and the tree frozen until it is killed: it lives elsewhere
      return DumpResult.failure(id, !isFinal, e.getMessage(), true, 0);
    }
    log.info(
        "dump {} was under way when the engine died: {}",
        id,
        committed
            ? "it was committed, CRIU may finish"
            : isFinal ? "it is given up" : "CRIU is told to end");
    try {
      if (!committed) {
        hold.release();
      }
    } catch (IOException e) {
      log.error("the task could not be let go on: {}", e.getMessage());
    }
    context.hooks().handler((action, images) -> committed || !action.equals("post-dump") ? 0 : 1);
    try {
      context.children().end(spawnId).get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (ExecutionException e) {
      log.warn("waiting for CRIU failed: {}", e.getCause().getMessage());
    }
    long elapsed = (System.nanoTime() - start) / 1_000_000;
    if (!committed) {
      return resume(id, isFinal, elapsed);
    }
    return new DumpResult(true, 0, id, !isFinal, null, false, 0, 0, 0, 0, 0, elapsed);
  }

  /**
   * Finishes a leave-running dump that an engine which died had sealed, or gives the dump up.
   *
   * @param isFinal a final dump is never taken up: its tree goes on
   */
  DumpResult resume(int id, boolean isFinal, long elapsed) {
    String why = ENGINE_DIED;
    try {
      Path logFile = SealedDump.folder(context, id).resolve("dump_" + id + ".log");
      if (CriuDeath.wasKilled(logFile)) {
        Optional<SnapshotException> hurt = harm.ofKilledCriu(logFile, "killed");
        if (hurt.isPresent()) {
          harm.tell();
          why = hurt.get().getMessage();
        }
      }
      Optional<SealedDump> sealed =
          isFinal || harm.taskHurt() ? Optional.empty() : SealedDump.find(context, id);
      if (sealed.isPresent()) {
        log.info("dump {} was sealed when the engine died: its upload goes on", id);
        MemoryBudget memory = MemoryBudget.now(context.memory());
        sealed.get().resumePacks(memory.transfers());
        sealed.get().requirePacks();
        try (Transfer transfer = new Transfer(context.store(), memory.transfers())) {
          sealed.get().upload(transfer);
        }
        DumpMetadata.Dump done =
            sealed.get().commit(false, MetadataStore.Pause.upTo(DumpCommit.COMMIT_PATIENCE));
        Folders.delete(SealedDump.folder(context, id));
        Manifest manifest = sealed.get().manifest();
        return new DumpResult(
            true,
            0,
            id,
            true,
            null,
            false,
            done.rawBytes(),
            done.storedBytes(),
            manifest.fileBytes(),
            manifest.processes(),
            done.frozenMicros(),
            elapsed);
      }
    } catch (SnapshotException e) {
      if (e.kind() == SnapshotException.Kind.OWNER_LOST) {
        return DumpResult.failure(id, !isFinal, e.getMessage(), true, elapsed);
      }
      log.warn("dump {} cannot be finished: {}", id, e.getMessage());
    } catch (IOException e) {
      log.warn("dump {} cannot be finished: {}", id, e.getMessage());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    boolean unreferenced = fate.fail(id, why);
    fate.discard(SealedDump.folder(context, id), unreferenced || fate.storeLost());
    if (unreferenced) {
      retention.tidy();
    }
    return DumpResult.failure(id, !isFinal, why, false, elapsed);
  }
}
