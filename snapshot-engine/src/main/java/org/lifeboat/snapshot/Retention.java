package org.lifeboat.snapshot;

import java.util.List;
import java.util.concurrent.locks.ReentrantLock;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.event.Level;

/**
 * Keeps the newest snapshots of a run's store, and sees that nothing else piles up there.
 *
 * <p>First the document, by a conditional write as its owner: snapshots beyond the number to keep
 * are taken out, and dumps that an earlier owner had under way are marked FAILED. Then {@link
 * Sweep} removes what the document does not need. A kill between any two steps leaves rubbish that
 * the next call finds, and nothing that looks like a snapshot and is none.
 *
 * <p>A snapshot counts among those to keep once it is committed, whether the task went on behind it
 * or not. One that a restore found damaged does not count, so that it never pushes a sound one out.
 *
 * <p>Thread-safe; one clean-up at a time.
 */
public final class Retention {

  private static final Logger log = LoggerFactory.getLogger(Retention.class);

  /** How many restorable snapshots are kept unless another number is asked for. */
  public static final int DEFAULT_KEEP = 2;

  /** The most that can be asked for. */
  public static final int MAX_KEEP = 1000;

  static final String TORN = "its run was lost while it was under way";

  private final MetadataStore metadata;
  private final String ownerId;
  private final int keep;
  private final CrashPoints crashPoints;
  private final Sweep sweep;
  private final ReentrantLock lock = new ReentrantLock();

  /**
   * @param keep how many restorable snapshots stay, 1 to {@value #MAX_KEEP}
   */
  public Retention(
      ObjectStore store,
      MetadataStore metadata,
      String ownerId,
      int keep,
      CrashPoints crashPoints) {
    if (keep < 1 || keep > MAX_KEEP) {
      throw new IllegalArgumentException("keep 1 to " + MAX_KEEP + " snapshots, not " + keep);
    }
    this.metadata = metadata;
    this.ownerId = ownerId;
    this.keep = keep;
    this.crashPoints = crashPoints;
    this.sweep = new Sweep(store, crashPoints);
  }

  /** Thins out and sweeps; what fails is said, and left to the next time. */
  public void tidy() {
    lock.lock();
    try {
      MetadataStore.Current found = metadata.look().orElseThrow(this::gone);
      if (found.damage().isPresent()) {
        return; // a copy may be a moment behind: what it calls torn may be committed
      }
      DumpMetadata now = found.document();
      if (!thinned(now).equals(now)) {
        now = metadata.update(ownerId, this::thinned);
        crashPoints.at(RetentionPoint.RETENTION_THINNED);
      }
      if (!now.owner().id().equals(ownerId)) {
        return; // whoever has it now sweeps
      }
      sweep(now);
    } catch (StoreException | SnapshotException e) {
      log.warn("what is not needed any more could not be removed: {}", e.getMessage());
    } finally {
      lock.unlock();
    }
  }

  private SnapshotException gone() {
    return new SnapshotException(
        SnapshotException.Kind.OWNER_LOST, Layout.METADATA + " is gone", "", null);
  }

  /**
   * At the task's end: images, packs, indexes and uploads of all dumps go; logs and metadata stay.
   *
   * @param ended the document that says that the task has ended
   */
  public void end(DumpMetadata ended) {
    lock.lock();
    try {
      sweep(ended);
    } catch (StoreException | SnapshotException e) {
      log.warn(
          "the snapshots of the task, which has ended, could not all be removed: {}",
          e.getMessage());
    } finally {
      lock.unlock();
    }
  }

  private DumpMetadata thinned(DumpMetadata document) {
    DumpMetadata next = document;
    for (DumpMetadata.Dump dump : document.surplus(keep)) {
      next = next.without(dump.id());
    }
    for (DumpMetadata.Dump dump : document.dumps()) {
      if (dump.state() == DumpMetadata.DumpState.DUMPING && dump.epoch() < document.epoch()) {
        next = next.changing(dump.id(), torn -> torn.failed(TORN, torn.endedAt()));
      }
    }
    return next.forgetting();
  }

  private void sweep(DumpMetadata document) throws StoreException, SnapshotException {
    if (document.lastId() == 0) {
      return; // nobody ever began a dump here
    }
    List<Sweep.Rubbish> rubbish = sweep.find(document);
    if (rubbish.isEmpty()) {
      return;
    }
    crashPoints.at(RetentionPoint.RETENTION_FOUND);
    for (Sweep.Rubbish each : rubbish) {
      sweep.remove(List.of(each));
      boolean expected = each.why() == Sweep.Why.REMOVED || each.why() == Sweep.Why.ENDED;
      log.atLevel(expected ? Level.DEBUG : Level.INFO)
          .log(
              "removed what was left of dump {} ({}): {} objects, {} MiB, {} uploads",
              each.dump(),
              each.why(),
              each.objects().size(),
              each.bytes() >> 20,
              each.uploads().size());
    }
  }
}
