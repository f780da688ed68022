package org.lifeboat.snapshot;

import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import org.lifeboat.store.Blob;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.ObjectStore.ObjectInfo;
import org.lifeboat.store.ObjectStore.PendingUpload;
import org.lifeboat.store.StoreException;

/**
 * Looks from outside what tasks that nobody runs have left in their stores, and removes it.
 *
 * <p>A collector owns nothing, so it is more careful than a run. It leaves alone a task of which
 * anything is younger than a limit, by the store's own times (a heartbeat is written every two
 * seconds); one whose owner's heartbeat moves while it looks, should those times be wrong; and one
 * whose document it cannot read. What {@link Sweep} calls rubbish may go. Snapshots that can be
 * restored go only when it is told to give up their tasks.
 *
 * <p>An owner that was stopped for a day is still the owner, and may go on with the dump that it
 * had under way. So what was not FAILED in the document is marked so before it goes, by a write
 * that fails if anything was written there since this looked; a commit of it is refused then.
 */
public final class Collector {

  /** How a task stands. */
  public enum State {
    /** A run has it: nothing of it is touched. */
    RUNNING,
    /** Something of it is younger than the limit: nothing of it is touched. */
    YOUNG,
    /** Its document cannot be read: nothing of it is touched. */
    UNREADABLE,
    /** There are objects or uploads, but no document. */
    ORPHANED,
    ENDED,
    /** Nobody runs it; the next run goes on from its newest snapshot. */
    WAITING
  }

  /**
   * What was found of one task.
   *
   * @param error why its document cannot be read, or empty
   * @param nonce of the document that was judged, or empty
   * @param idleMillis since when nothing was written, by the store's clock and ours
   * @param restorable the snapshots that a run would go on from, newest first
   * @param rubbish what may go; with {@code giveUp} also those snapshots
   */
  public record Task(
      ObjectStore store,
      State state,
      String error,
      String nonce,
      long idleMillis,
      List<Integer> restorable,
      List<Sweep.Rubbish> rubbish) {}

  private final Clock clock;
  private final Ownership.Sleeper sleeper;
  private final Duration olderThan;
  private final boolean giveUp;

  /**
   * @param olderThan what is younger is left alone
   * @param giveUp whether snapshots that can be restored may go too
   */
  public Collector(Clock clock, Ownership.Sleeper sleeper, Duration olderThan, boolean giveUp) {
    this.clock = clock;
    this.sleeper = sleeper;
    this.olderThan = olderThan;
    this.giveUp = giveUp;
  }

  private record Look(Optional<MetadataStore.Current> document, String error, String heartbeat) {}

  /** Looks at the stores of some tasks; it takes as long as a run's heartbeat for all together. */
  public List<Task> look(List<ObjectStore> tasks) throws StoreException, InterruptedException {
    List<Task> found = new ArrayList<>();
    List<Look> looks = new ArrayList<>();
    boolean owned = false;
    for (ObjectStore store : tasks) {
      Look look = look(store);
      looks.add(look);
      owned |= look.document.filter(d -> !d.document().owner().released()).isPresent();
    }
    if (owned) {
      sleeper.sleep(Ownership.PATIENCE);
    }
    for (int i = 0; i < tasks.size(); i++) {
      found.add(judge(tasks.get(i), looks.get(i)));
    }
    return found;
  }

  private static Look look(ObjectStore store) throws StoreException {
    String heartbeat = Blob.read(store, Layout.HEARTBEAT, 4096).map(Blob::text).orElse("");
    try {
      Optional<MetadataStore.Current> found = metadata(store).look();
      // a copy may be a moment behind: what it calls torn may be committed
      String damage =
          found
              .flatMap(MetadataStore.Current::damage)
              .map(e -> String.valueOf(e.getMessage()))
              .orElse("");
      return new Look(found, damage, heartbeat);
    } catch (SnapshotException e) {
      return new Look(Optional.empty(), String.valueOf(e.getMessage()), heartbeat);
    }
  }

  private static MetadataStore metadata(ObjectStore store) {
    return new MetadataStore(
        store,
        () -> UUID.randomUUID().toString(),
        () -> MetadataStore.Pause.upTo(Duration.ofSeconds(60)));
  }

  private Task judge(ObjectStore store, Look before) throws StoreException {
    long idle = clock.millis() - youngest(store);
    Look now = look(store);
    Optional<DumpMetadata> document = now.document.map(MetadataStore.Current::document);
    List<Integer> restorable =
        document.stream().flatMap(d -> d.restorable().stream()).map(DumpMetadata.Dump::id).toList();
    State state;
    List<Sweep.Rubbish> rubbish = List.of();
    String error = now.error;
    boolean moved =
        !now.heartbeat.equals(before.heartbeat)
            || !now.document
                .map(MetadataStore.Current::version)
                .equals(before.document.map(MetadataStore.Current::version));
    if (!error.isEmpty()) {
      state = State.UNREADABLE;
    } else if (moved) {
      state = State.RUNNING;
    } else if (idle < olderThan.toMillis()) {
      state = State.YOUNG;
    } else if (document.isEmpty()) {
      state = State.ORPHANED;
      rubbish = new Sweep(store).findAll();
    } else {
      state =
          document.get().task().state() == DumpMetadata.TaskState.ENDED
              ? State.ENDED
              : State.WAITING;
      try {
        DumpMetadata left = document.get().released(); // what its owner had under way is torn
        rubbish = new Sweep(store).find(giveUp ? givenUp(left) : left);
      } catch (SnapshotException e) {
        state = State.UNREADABLE;
        error = String.valueOf(e.getMessage());
      }
    }
    String nonce = document.map(DumpMetadata::nonce).orElse("");
    return new Task(store, state, error, nonce, Math.max(0, idle), restorable, rubbish);
  }

  /** When the newest of what is there was written, the beginnings of uploads included. */
  private static long youngest(ObjectStore store) throws StoreException {
    long youngest = 0;
    String after = "";
    boolean more = true;
    while (more) {
      ObjectStore.ListPage page = store.list(Layout.ROOT, after);
      for (ObjectInfo object : page.objects()) {
        youngest = Math.max(youngest, object.lastModifiedMillis());
      }
      more = page.more() && !page.objects().isEmpty();
      if (more) {
        after = page.objects().getLast().key();
      }
    }
    for (PendingUpload upload : Sweep.uploadsOrNone(store, Layout.ROOT)) {
      youngest = Math.max(youngest, upload.startedMillis());
    }
    return youngest;
  }

  private DumpMetadata givenUp(DumpMetadata document) {
    DumpMetadata next = document;
    for (DumpMetadata.Dump dump : document.restorable()) {
      next =
          next.changing(dump.id(), d -> d.failed("it was given up by lifeboat gc", clock.millis()));
    }
    return next;
  }

  /**
   * Removes what {@link #look} has found of a task, unless somebody has taken it up since.
   *
   * @return whether it was removed
   */
  public boolean remove(Task task) throws StoreException, SnapshotException {
    if (task.rubbish().isEmpty()) {
      return true;
    }
    MetadataStore metadata = metadata(task.store());
    Optional<MetadataStore.Current> now = metadata.read();
    if (!now.map(current -> current.document().nonce()).orElse("").equals(task.nonce())
        || now.isPresent() != (task.state() != State.ORPHANED)) {
      return false;
    }
    if (now.isPresent()) {
      DumpMetadata document = now.get().document();
      DumpMetadata next = giveUp ? givenUp(document) : document;
      for (DumpMetadata.Dump dump : document.dumps()) {
        if (dump.state() == DumpMetadata.DumpState.DUMPING) {
          next = next.changing(dump.id(), d -> d.failed(Retention.TORN, d.endedAt()));
        }
      }
      if (!next.equals(document) && !metadata.replace(now.get(), next)) {
        return false;
      }
    }
    new Sweep(task.store()).remove(task.rubbish());
    return true;
  }

  /** Bytes of the parts of uploads that were not finished. */
  public static long uploadedBytes(Task task) throws StoreException {
    long bytes = 0;
    for (Sweep.Rubbish rubbish : task.rubbish()) {
      for (PendingUpload upload : rubbish.uploads()) {
        try {
          bytes +=
              task.store().resume(upload.key(), upload.uploadId()).parts().stream()
                  .mapToLong(MultipartUpload.Part::size)
                  .sum();
        } catch (StoreException e) {
          if (e.kind() != StoreException.Kind.NOT_FOUND) {
            throw e;
          }
        }
      }
    }
    return bytes;
  }
}
