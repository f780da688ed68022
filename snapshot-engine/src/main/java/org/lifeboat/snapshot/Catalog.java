package org.lifeboat.snapshot;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.function.UnaryOperator;
import org.lifeboat.store.Blob;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.ObjectStore.ObjectInfo;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Reads and thins out what a store holds of snapshots, without a run. Thread-safe. */
public final class Catalog {

  private static final Logger log = LoggerFactory.getLogger(Catalog.class);

  private static final int MAX_MANIFEST = 256 << 20;

  /** How long a removal waits for a store that does not answer. */
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private final ObjectStore store;

  public Catalog(ObjectStore store) {
    this.store = store;
  }

  /**
   * The document that decides what exists, or empty when nothing was ever saved here; the copy of
   * it where it is damaged.
   *
   * @throws SnapshotException of kind DAMAGED when there is no copy
   */
  public Optional<DumpMetadata> metadata() throws StoreException, SnapshotException {
    MetadataCopies.Sighting seen = MetadataCopies.look(store);
    Optional<DumpMetadata> document = seen.orThrow();
    if (document.isPresent() && seen.damage().isPresent()) {
      log.warn(
          "{}: this is the copy of it, of epoch {}",
          seen.damage().get().getMessage(),
          document.get().epoch());
    }
    return document;
  }

  /** What is wrong with the metadata or a copy of it, a line each. */
  public List<String> verifyMetadata() throws StoreException, SnapshotException {
    List<String> damage = new ArrayList<>();
    MetadataCopies.look(store).damage().ifPresent(e -> damage.add(e.getMessage()));
    damage.addAll(MetadataCopies.verify(store));
    return damage;
  }

  /**
   * A dump's manifest, checked against what the metadata vouches for.
   *
   * @throws SnapshotException of kind DAMAGED when it is missing or another one
   */
  public Manifest manifest(DumpMetadata.Dump dump) throws StoreException, SnapshotException {
    String key = Layout.manifest(dump.id());
    String url = store.url().of(key);
    Blob blob =
        Blob.read(store, key, MAX_MANIFEST)
            .orElseThrow(() -> SnapshotException.damaged(url, "it is missing"));
    byte[] bytes = blob.bytes();
    if (bytes.length != dump.manifestSize()
        || !SealedJson.sha256(bytes).equals(dump.manifestSha256())) {
      throw SnapshotException.damaged(url, "it is not the one that was committed");
    }
    Manifest manifest = Manifest.read(bytes, url);
    if (manifest.id() != dump.id()) {
      throw SnapshotException.damaged(url, "it is of dump " + manifest.id());
    }
    return manifest;
  }

  /** All objects of a dump. */
  public List<ObjectInfo> objects(int id) throws StoreException {
    List<ObjectInfo> objects = new ArrayList<>();
    String after = "";
    boolean more = true;
    while (more) {
      ObjectStore.ListPage page = store.list(Layout.dump(id), after);
      objects.addAll(page.objects());
      more = page.more() && !page.objects().isEmpty();
      if (more) {
        after = page.objects().getLast().key();
      }
    }
    return objects;
  }

  /**
   * Removes the objects of a dump but its logs; the manifest first, so that nothing half-removed
   * looks whole.
   */
  public long removeObjects(int id) throws StoreException {
    long bytes = 0;
    store.delete(Layout.manifest(id));
    for (ObjectInfo object : objects(id)) {
      if (!object.key().endsWith(".log")) {
        store.delete(object.key());
        bytes += object.size();
      }
    }
    return bytes;
  }

  /**
   * Removes a dump: marked in the metadata first, so that no run chooses it while it goes, and
   * taken out there last, so that no run gives its number to a new dump while its objects go.
   *
   * @return the bytes that were freed
   */
  public long remove(int id) throws StoreException, SnapshotException {
    MetadataStore metadata =
        new MetadataStore(
            store,
            () -> UUID.randomUUID().toString(),
            () -> MetadataStore.Pause.upTo(PATIENCE),
            Optional.of(new MetadataCopies(store)));
    change(
        metadata,
        id,
        document ->
            document.changing(
                id, dump -> dump.failed("it was removed", System.currentTimeMillis())));
    long bytes = removeObjects(id);
    change(metadata, id, document -> document.without(id));
    try {
      metadata.settle(PATIENCE);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return bytes;
  }

  private static void change(MetadataStore metadata, int id, UnaryOperator<DumpMetadata> change)
      throws StoreException, SnapshotException {
    Optional<MetadataStore.Current> current = metadata.read();
    while (current.isPresent()
        && current.get().document().dump(id).isPresent()
        && !metadata.replace(current.get(), change.apply(current.get().document()))) {
      current = metadata.read();
    }
  }
}
