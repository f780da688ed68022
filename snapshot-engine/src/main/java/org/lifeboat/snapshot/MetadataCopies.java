package org.lifeboat.snapshot;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.TreeSet;
import org.lifeboat.store.Blob;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.ObjectStore.ObjectInfo;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Copies of {@code dump_metadata}, for the day on which it is damaged or gone.
 *
 * <p>{@code dump_metadata} is one small object, and every snapshot hangs on it. The manifests of
 * the dumps can't replace it: a manifest is stored before its commit, so one that is sealed and
 * whole may belong to a dump that was never committed. So whoever has written the document puts the
 * same bytes under {@code copies/dump_metadata-EPOCH}, behind the write and without a condition.
 * The epoch is in the name because then only the owner of that epoch writes there: one that was
 * taken over and does not know it yet cannot replace the copy of the next one.
 *
 * <p>A copy is therefore never ahead of what was decided, and may be a moment behind. It is made
 * beside the work, and a store that refuses it costs nothing but the copy.
 *
 * <p>Whoever finds {@code dump_metadata} damaged or missing goes on from the copy of the highest
 * epoch, says so, and its next write heals it, on the condition that nobody else did meanwhile.
 * When there is no copy either but dumps are, nobody can tell which were committed: that is an
 * error and never a clean start. A document of a newer format is no damage: it is left alone.
 */
public final class MetadataCopies {

  private static final Logger log = LoggerFactory.getLogger(MetadataCopies.class);

  /** Bounds what is read: some 600 bytes a dump. */
  private static final int MAX_BYTES = 64 << 20;

  private final ObjectStore store;
  private DumpMetadata next;
  private List<Object> kept = List.of();
  private long tidied = -1;
  private boolean running;
  private boolean failing;

  public MetadataCopies(ObjectStore store) {
    this.store = store;
  }

  /**
   * What stands in a store.
   *
   * @param document {@code dump_metadata}, or a copy of it; empty when there is neither
   * @param version of the object {@code dump_metadata}, whatever its bytes are; empty when there is
   *     none
   * @param damage what is wrong with {@code dump_metadata}
   * @param highestDump the highest number of a dump that has objects; 0 unless it was looked for,
   *     which is done when there is no document
   */
  public record Sighting(
      Optional<DumpMetadata> document,
      String version,
      Optional<SnapshotException> damage,
      int highestDump) {

    /**
     * The document.
     *
     * @throws SnapshotException when there is none although there was one
     */
    public Optional<DumpMetadata> orThrow() throws SnapshotException {
      if (document.isEmpty() && damage.isPresent()) {
        throw damage.get();
      }
      return document;
    }
  }

  /**
   * Reads the document.
   *
   * @throws SnapshotException of kind NEWER_FORMAT only
   */
  public static Sighting look(ObjectStore store) throws StoreException, SnapshotException {
    String url = store.url().of(Layout.METADATA);
    String version = "";
    String detail = "it is missing";
    try {
      Optional<Blob> blob = Blob.read(store, Layout.METADATA, MAX_BYTES);
      if (blob.isPresent()) {
        version = blob.get().version();
        DumpMetadata document = DumpMetadata.read(blob.get().bytes(), url);
        return new Sighting(Optional.of(document), version, Optional.empty(), 0);
      }
    } catch (SnapshotException e) {
      if (e.kind() != SnapshotException.Kind.DAMAGED) {
        throw e;
      }
      detail = e.detail();
    } catch (StoreException e) {
      Optional<ObjectInfo> object =
          e.kind() == StoreException.Kind.INVALID ? store.head(Layout.METADATA) : Optional.empty();
      if (object.isEmpty()) {
        throw e;
      }
      version = object.get().version();
      detail = "it has " + object.get().size() + " bytes, which cannot be";
    }
    return fromCopies(store, url, version, detail);
  }

  private static Sighting fromCopies(ObjectStore store, String url, String version, String detail)
      throws StoreException, SnapshotException {
    Listing listing = list(store);
    for (String key : listing.copies) {
      try {
        Optional<DumpMetadata> copy = read(store, key);
        if (copy.isPresent()) {
          return new Sighting(copy, version, Optional.of(damaged(url, detail, "")), 0);
        }
      } catch (SnapshotException e) {
        if (e.kind() != SnapshotException.Kind.DAMAGED) {
          throw e;
        }
        log.warn("{}", e.getMessage());
      }
    }
    if (version.isEmpty() && listing.manifests.isEmpty() && listing.copies.isEmpty()) {
      return new Sighting(Optional.empty(), "", Optional.empty(), listing.highest);
    }
    String dumps =
        listing.manifests.isEmpty()
            ? "there is no copy of it"
            : "there is no copy of it, and which of the dumps "
                + listing.manifests
                + " were committed cannot be told without it";
    return new Sighting(
        Optional.empty(),
        version,
        Optional.of(
            damaged(
                url,
                detail + "; " + dumps,
                "put an earlier version of it back if your storage keeps versions; --fresh starts"
                    + " the command anew")),
        listing.highest);
  }

  private static SnapshotException damaged(String url, String detail, String remedy) {
    return new SnapshotException(SnapshotException.Kind.DAMAGED, url + ": " + detail, remedy, null);
  }

  private static Optional<DumpMetadata> read(ObjectStore store, String key)
      throws StoreException, SnapshotException {
    String url = store.url().of(key);
    Optional<Blob> blob;
    try {
      blob = Blob.read(store, key, MAX_BYTES);
    } catch (StoreException e) {
      if (e.kind() == StoreException.Kind.INVALID) {
        throw SnapshotException.damaged(url, "it is too large");
      }
      throw e;
    }
    if (blob.isEmpty()) {
      return Optional.empty();
    }
    DumpMetadata document = DumpMetadata.read(blob.get().bytes(), url);
    if (!key.equals(Layout.copy(document.epoch()))) {
      throw SnapshotException.damaged(url, "it is of epoch " + document.epoch());
    }
    return Optional.of(document);
  }

  /**
   * What lies there.
   *
   * @param copies keys, of the highest epoch first
   * @param manifests the dumps that have a manifest
   * @param highest of the dumps that have any object
   */
  private record Listing(List<String> copies, TreeSet<Integer> manifests, int highest) {}

  private static Listing list(ObjectStore store) throws StoreException {
    List<String> copies = new ArrayList<>();
    TreeSet<Integer> manifests = new TreeSet<>();
    int highest = 0;
    String after = "";
    boolean more = true;
    while (more) {
      ObjectStore.ListPage page = store.list(Layout.ROOT, after);
      for (ObjectInfo object : page.objects()) {
        String key = object.key();
        if (epoch(key) >= 0) {
          copies.add(key);
        }
        int dump = dump(key);
        highest = Math.max(highest, dump);
        if (dump > 0 && key.equals(Layout.manifest(dump))) {
          manifests.add(dump);
        }
      }
      more = page.more() && !page.objects().isEmpty();
      if (more) {
        after = page.objects().getLast().key();
      }
    }
    copies.sort(Comparator.comparingLong(MetadataCopies::epoch).reversed());
    return new Listing(copies, manifests, highest);
  }

  /** The epoch in a copy's key; -1 when it is no copy's. */
  private static long epoch(String key) {
    String prefix = Layout.copy("");
    String rest = key.startsWith(prefix) ? key.substring(prefix.length()) : "";
    return rest.matches("[1-9][0-9]{0,17}") ? Long.parseLong(rest) : -1;
  }

  /** The dump that the object belongs to; 0 when it belongs to none. */
  private static int dump(String key) {
    String rest = key.substring(Layout.ROOT.length());
    int slash = rest.indexOf('/');
    return slash > 0 && rest.substring(0, slash).matches("[1-9][0-9]{0,8}")
        ? Integer.parseInt(rest.substring(0, slash))
        : 0;
  }

  /** What is wrong with any copy, a line each. */
  public static List<String> verify(ObjectStore store) throws StoreException, SnapshotException {
    List<String> damage = new ArrayList<>();
    for (String key : list(store).copies) {
      try {
        read(store, key);
      } catch (SnapshotException e) {
        damage.add(e.getMessage());
      }
    }
    return damage;
  }

  /** Keeps a copy of what was written just now, beside the caller's work. */
  synchronized void keep(DumpMetadata document) {
    next = document;
    if (!running) {
      running = true;
      Thread.ofVirtual().name("metadata-copy").start(this::work);
    }
  }

  private void work() {
    while (true) {
      DumpMetadata document;
      synchronized (this) {
        document = next;
        next = null;
        if (document == null) {
          running = false;
          notifyAll();
          return;
        }
      }
      copy(document);
    }
  }

  private void copy(DumpMetadata document) {
    if (essence(document).equals(kept)) {
      return;
    }
    try {
      store.put(
          Layout.copy(document.epoch()),
          ByteBuffer.wrap(SealedJson.write(document)),
          Precondition.NONE);
      kept = essence(document);
      failing = false;
      if (tidied != document.epoch()) {
        for (String key : list(store).copies) {
          if (epoch(key) < document.epoch()) {
            store.delete(key);
          }
        }
        tidied = document.epoch();
      }
    } catch (StoreException | RuntimeException e) {
      if (!failing) {
        log.warn("no copy of {} could be kept: {}", Layout.METADATA, e.getMessage());
        failing = true;
      }
    }
  }

  /** What a copy must not miss; that a dump is being restored does not matter. */
  private static List<Object> essence(DumpMetadata document) {
    List<Object> essence = new ArrayList<>();
    essence.add(document.epoch());
    essence.add(document.owner().id());
    essence.add(document.command());
    essence.add(document.directory());
    essence.add(document.task());
    for (DumpMetadata.Dump dump : document.dumps()) {
      essence.add(dump.id());
      essence.add(dump.restorable());
    }
    return essence;
  }

  /** Waits until the newest copy is kept, or could not be; no longer than the limit. */
  public synchronized void settle(Duration limit) throws InterruptedException {
    long end = System.nanoTime() + limit.toNanos();
    for (long left = limit.toMillis();
        running && left > 0;
        left = (end - System.nanoTime()) / 1_000_000) {
      wait(left);
    }
  }
}
