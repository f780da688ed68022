package org.lifeboat.snapshot;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What becomes of dumps that did not come to their end, be it in this engine or in one that died:
 * the store is made to say whether they are committed, is told that they have failed, and what they
 * left is thrown away.
 */
final class DumpFate {

  private static final Logger log = LoggerFactory.getLogger(DumpFate.class);

  /** How long is tried to tell the store that a dump has failed. */
  private static final Duration FAIL_PATIENCE = Duration.ofSeconds(10);

  private final Context context;
  private volatile boolean storeLost;

  DumpFate(Context context) {
    this.context = context;
  }

  /** Whether the store has another owner: it takes no word of this run's dumps any more. */
  boolean storeLost() {
    return storeLost;
  }

  /**
   * Makes the store say whether a final dump is committed: written, not just read, for its commit
   * may still be on its way and is shut out so.
   *
   * @return the dump when it is
   * @throws SnapshotException of kind OWNER_LOST only: everything else is waited out
   */
  Optional<DumpMetadata.Dump> decide(int id, String why) throws SnapshotException {
    while (true) {
      try {
        return context
            .metadata()
            .update(
                context.ownerId(),
                document ->
                    document.changing(
                        id,
                        dump ->
                            dump.restorable() ? dump : dump.failed(why, context.clock().millis())),
                MetadataStore.Pause.FOR_EVER)
            .dump(id)
            .filter(DumpMetadata.Dump::restorable);
      } catch (StoreException | SnapshotException e) {
        if (e instanceof SnapshotException s && s.kind() == SnapshotException.Kind.OWNER_LOST) {
          throw s;
        }
        log.error(
            "whether dump {} was committed is not known, the task stands still until it is: {}",
            id,
            e.getMessage());
        LockSupport.parkNanos(Duration.ofSeconds(5).toNanos());
      }
    }
  }

  /**
   * Records that a dump has failed, and with it every other one of this run that is not under way
   * any more, as their number may not be known: the reply that told it was lost.
   *
   * @return whether the store has it as failed now, so that nobody will read its objects
   */
  boolean fail(int id, String why) {
    try {
      return context
          .metadata()
          .update(
              context.ownerId(),
              document -> abandoned(document, why),
              MetadataStore.Pause.upTo(FAIL_PATIENCE))
          .dump(id)
          .filter(DumpMetadata.Dump::restorable)
          .isEmpty();
    } catch (StoreException | SnapshotException e) {
      log.warn("that dump {} failed could not be recorded: {}", id, e.getMessage());
      if (e instanceof SnapshotException s && s.kind() == SnapshotException.Kind.OWNER_LOST) {
        storeLost = true;
      }
      return false;
    }
  }

  /** Has every dump of this run that is not over fail. */
  DumpMetadata abandoned(DumpMetadata document, String why) {
    DumpMetadata next = document;
    for (DumpMetadata.Dump dump : document.dumps()) {
      if (dump.state() == DumpMetadata.DumpState.DUMPING && dump.epoch() == context.epoch()) {
        next = next.changing(dump.id(), d -> d.failed(why, context.clock().millis()));
      }
    }
    return next;
  }

  /**
   * Throws away what a dump that is over has on the disk, and the uploads that it began and did not
   * finish; that its run may have lost the store does not matter, for their keys are its own.
   */
  void discard(Path folder, boolean uploadsToo) {
    try {
      try {
        if (uploadsToo) {
          SealedDump.discard(context, folder);
        }
      } finally {
        Folders.delete(folder);
      }
    } catch (IOException | UncheckedIOException e) {
      log.warn("while removing {}: {}", folder, e.getMessage());
    }
  }
}
