package org.lifeboat.snapshot;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicReference;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.page.PackNames;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.ObjectStore.ObjectInfo;
import org.lifeboat.store.ObjectStore.PendingUpload;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Finds what a store holds that no snapshot needs, and removes it.
 *
 * <p><b>What is rubbish.</b> {@link DumpMetadata} alone decides. Of a dump that can be restored, or
 * that its owner has under way, nothing is rubbish but packs that no manifest names and uploads
 * that were never finished. Of every other dump up to the highest id that was ever given (torn,
 * failed, of an earlier generation, not listed any more, or of a task that has ended) everything is
 * rubbish but the logs and what the manifest of a snapshot that can be restored names. Of higher
 * ids nothing is known, so nothing of theirs is touched; nor is anything else below {@code
 * .fusion/dump}, nor outside of it.
 *
 * <p><b>Why nobody is hurt.</b> The document is read first and the objects are listed then, so that
 * a dump which begins meanwhile has a higher id. What cannot be restored never becomes restorable
 * again: only the owner commits, by a conditional write, and only what it has under way. Ids and
 * the keys of packs are never given twice. So a sweep needs no lock and no ownership, several may
 * be under way at once, and an owner of old times who wakes up can neither be hurt nor hurt: what
 * it still brings there is rubbish for the next sweep.
 *
 * <p><b>Killed at any instant</b> it leaves less rubbish and no damage: what it removes was not
 * restorable in the document before it began, a dump's manifest goes before its other objects, and
 * the next sweep finds the rest by listing, not by what this one remembered.
 *
 * <p>Uploads are found by prefix, and, because some servers (MinIO) list them by their exact key
 * only, also by the names that the document says a dump's packs have.
 *
 * <p>Rejected: to write down what is to be removed before it is (a second truth that can be wrong);
 * to ask of each object how old it is (clocks decide nothing here, but for {@code gc}'s caution).
 */
public final class Sweep {

  private static final Logger log = LoggerFactory.getLogger(Sweep.class);

  private static final int PARALLEL = 16;

  /** Packs of a dump whose uploads are asked for by name beyond the last one that is there. */
  private static final int PACKS_AHEAD = 2;

  /** How many dumps are asked for by name. */
  private static final int BY_NAME = 8;

  private final ObjectStore store;
  private final Catalog catalog;
  private final CrashPoints crashPoints;
  private final Set<Integer> askedByName = ConcurrentHashMap.newKeySet();

  public Sweep(ObjectStore store) {
    this(store, CrashPoints.NONE);
  }

  Sweep(ObjectStore store, CrashPoints crashPoints) {
    this.crashPoints = crashPoints;
    this.store = store;
    this.catalog = new Catalog(store);
  }

  /** Why something is not needed. */
  public enum Why {
    /** Its run was lost while it was under way. */
    TORN("torn"),
    FAILED("failed"),
    /** Newer snapshots have taken its place, or somebody removed it. */
    REMOVED("removed before"),
    /** The command was started anew since. */
    SUPERSEDED("of an earlier start of the command"),
    ENDED("the task has ended"),
    /** It stands beside a snapshot that can be restored, but does not belong to it. */
    STRAY("stray"),
    /** There is no document: whoever removed it meant all. */
    UNKNOWN("there is no dump_metadata");

    private final String words;

    Why(String words) {
      this.words = words;
    }

    @Override
    public String toString() {
      return words;
    }
  }

  /** What of one dump is not needed. */
  public record Rubbish(int dump, Why why, List<ObjectInfo> objects, List<PendingUpload> uploads) {

    public Rubbish {
      objects = List.copyOf(objects);
      uploads = List.copyOf(uploads);
    }

    /** Bytes of its objects; parts of uploads are not counted. */
    public long bytes() {
      return objects.stream().mapToLong(ObjectInfo::size).sum();
    }
  }

  /** Everything below {@code .fusion/dump/N/}, by N. */
  private record Found(Map<Integer, List<ObjectInfo>> objects, Set<PendingUpload> uploads) {}

  /**
   * What is not needed, by dump.
   *
   * @param document as it was read before this call
   * @throws SnapshotException of kind NEWER_FORMAT when a newer version wrote here: what it needs
   *     is not known
   */
  public List<Rubbish> find(DumpMetadata document) throws StoreException, SnapshotException {
    Set<String> needed = new HashSet<>();
    Set<Integer> whole = new HashSet<>();
    Set<Integer> kept = new HashSet<>();
    for (DumpMetadata.Dump dump : document.restorable()) {
      kept.add(dump.id());
      try {
        needed.addAll(catalog.manifest(dump).packs().keySet());
        whole.add(dump.id());
      } catch (SnapshotException e) {
        if (e.kind() != SnapshotException.Kind.DAMAGED) {
          throw e;
        }
        log.debug("nothing of snapshot {} is touched: {}", dump.id(), e.getMessage());
      }
    }
    Map<Integer, Why> reasons = new HashMap<>();
    for (DumpMetadata.Dump dump : document.dumps()) {
      if (document.underWay(dump)) {
        kept.add(dump.id());
      } else if (!kept.contains(dump.id())) {
        reasons.put(dump.id(), reason(document, dump));
      }
    }
    Found found = list();
    found.uploads.addAll(uploadsByName(document, found));
    Map<Integer, Rubbish> rubbish = new TreeMap<>();
    for (int id : ids(found)) {
      if (id > document.lastId()) {
        continue;
      }
      List<ObjectInfo> objects = found.objects.getOrDefault(id, List.of());
      List<PendingUpload> uploads =
          found.uploads.stream().filter(upload -> id(upload.key()) == id).toList();
      Why why = reasons.getOrDefault(id, Why.REMOVED);
      if (kept.contains(id)) {
        if (!whole.contains(id)) {
          continue;
        }
        why = Why.STRAY;
        objects = objects.stream().filter(object -> isPack(object.key())).toList();
      }
      Rubbish each =
          new Rubbish(
              id,
              why,
              objects.stream()
                  .filter(object -> !needed.contains(object.key()) && !isLog(object.key()))
                  .toList(),
              uploads.stream().filter(upload -> !isLog(upload.key())).toList());
      if (!each.objects().isEmpty() || !each.uploads().isEmpty()) {
        rubbish.put(id, each);
      }
    }
    return List.copyOf(rubbish.values());
  }

  private static Why reason(DumpMetadata document, DumpMetadata.Dump dump) {
    if (document.task().state() == DumpMetadata.TaskState.ENDED) {
      return Why.ENDED;
    }
    return switch (dump.state()) {
      case DUMPING -> Why.TORN;
      case FAILED -> Why.FAILED;
      default -> Why.SUPERSEDED;
    };
  }

  /**
   * Everything but the logs, where there is no document (any more). A run that begins now makes
   * one; so the caller must know that nothing here is young.
   */
  public List<Rubbish> findAll() throws StoreException {
    Found found = list();
    List<Rubbish> rubbish = new ArrayList<>();
    for (int id : ids(found)) {
      Rubbish each =
          new Rubbish(
              id,
              Why.UNKNOWN,
              found.objects.getOrDefault(id, List.of()).stream()
                  .filter(object -> !isLog(object.key()))
                  .toList(),
              found.uploads.stream().filter(upload -> id(upload.key()) == id).toList());
      if (!each.objects().isEmpty() || !each.uploads().isEmpty()) {
        rubbish.add(each);
      }
    }
    return rubbish;
  }

  private Found list() throws StoreException {
    Map<Integer, List<ObjectInfo>> objects = new TreeMap<>();
    String after = "";
    boolean more = true;
    while (more) {
      ObjectStore.ListPage page = store.list(Layout.ROOT, after);
      for (ObjectInfo object : page.objects()) {
        int id = id(object.key());
        if (id > 0) {
          objects.computeIfAbsent(id, key -> new ArrayList<>()).add(object);
        }
      }
      more = page.more() && !page.objects().isEmpty();
      if (more) {
        after = page.objects().getLast().key();
      }
    }
    Set<PendingUpload> uploads = new LinkedHashSet<>();
    for (PendingUpload upload : uploads(Layout.ROOT)) {
      if (id(upload.key()) > 0) {
        uploads.add(upload);
      }
    }
    return new Found(objects, uploads);
  }

  private static Set<Integer> ids(Found found) {
    Set<Integer> ids = new TreeSet<>(found.objects.keySet());
    found.uploads.forEach(upload -> ids.add(id(upload.key())));
    return ids;
  }

  /** Uploads of dumps that have packs of which the store says nothing when asked by prefix. */
  private List<PendingUpload> uploadsByName(DumpMetadata document, Found found)
      throws StoreException {
    List<PendingUpload> uploads = new ArrayList<>();
    List<DumpMetadata.Dump> over =
        document.dumps().reversed().stream()
            .filter(dump -> dump.manifestSha256() == null && !document.underWay(dump))
            .filter(dump -> dump.packs() != null)
            .limit(BY_NAME)
            .toList();
    for (DumpMetadata.Dump dump : over) {
      if (!askedByName.add(dump.id())) {
        continue;
      }
      Set<String> objects = new HashSet<>();
      found.objects.getOrDefault(dump.id(), List.of()).forEach(object -> objects.add(object.key()));
      for (String kind : List.of("pages", "files")) {
        PackNames names = PackNames.of(Layout.dump(dump.id()) + kind, dump.packs());
        for (int number = 0, absent = 0; absent < PACKS_AHEAD; number++) {
          String key = names.key(number);
          List<PendingUpload> there = exactly(key);
          uploads.addAll(there);
          absent = there.isEmpty() && !objects.contains(key) ? absent + 1 : 0;
        }
      }
      for (String key : List.of(Layout.index(dump.id()), Layout.filesManifest(dump.id()))) {
        uploads.addAll(exactly(key));
      }
    }
    return uploads;
  }

  private List<PendingUpload> exactly(String key) throws StoreException {
    return uploads(key).stream().filter(upload -> upload.key().equals(key)).toList();
  }

  private List<PendingUpload> uploads(String prefix) throws StoreException {
    return uploadsOrNone(store, prefix);
  }

  /** None where the store does not tell, or not us. */
  static List<PendingUpload> uploadsOrNone(ObjectStore store, String prefix) throws StoreException {
    try {
      return store.uploads(prefix);
    } catch (StoreException e) {
      switch (e.kind()) {
        case DENIED, INVALID, OTHER -> {
          log.debug("uploads that were never finished cannot be looked for: {}", e.getMessage());
          return List.of();
        }
        default -> throw e;
      }
    }
  }

  /** The number in {@code .fusion/dump/N/...}, 0 for any other key. */
  static int id(String key) {
    int end = key.startsWith(Layout.ROOT) ? key.indexOf('/', Layout.ROOT.length()) : -1;
    String number = end < 0 ? "" : key.substring(Layout.ROOT.length(), end);
    return number.matches("[1-9][0-9]{0,8}") ? Integer.parseInt(number) : 0;
  }

  private static boolean isPack(String key) {
    return key.endsWith(".pack");
  }

  private static boolean isLog(String key) {
    return key.endsWith(".log");
  }

  /**
   * Removes it. What has gone meanwhile is no error.
   *
   * @return the bytes of the objects that were removed
   */
  public long remove(List<Rubbish> rubbish) throws StoreException {
    long bytes = 0;
    for (Rubbish each : rubbish) {
      remove(each);
      bytes += each.bytes();
    }
    return bytes;
  }

  private void remove(Rubbish rubbish) throws StoreException {
    String manifest = Layout.manifest(rubbish.dump());
    for (ObjectInfo object : rubbish.objects()) {
      if (object.key().equals(manifest)) {
        store.delete(manifest);
        crashPoints.at(RetentionPoint.RETENTION_MANIFEST_REMOVED);
      }
    }
    for (PendingUpload upload : rubbish.uploads()) {
      abort(upload);
      crashPoints.at(RetentionPoint.RETENTION_UPLOAD_ABORTED);
    }
    Queue<String> left = new ConcurrentLinkedQueue<>();
    rubbish.objects().stream()
        .map(ObjectInfo::key)
        .filter(key -> !key.equals(manifest))
        .forEach(left::add);
    delete(left);
    crashPoints.at(RetentionPoint.RETENTION_DUMP_REMOVED);
  }

  /** Several at a time; the first failure stops the rest. */
  private void delete(Queue<String> keys) throws StoreException {
    AtomicReference<StoreException> failure = new AtomicReference<>();
    Runnable some =
        () -> {
          for (String key = keys.poll(); key != null && failure.get() == null; key = keys.poll()) {
            try {
              store.delete(key);
              crashPoints.at(RetentionPoint.RETENTION_OBJECT_REMOVED);
            } catch (StoreException e) {
              if (!failure.compareAndSet(null, e)) {
                failure.get().addSuppressed(e);
              }
            }
          }
        };
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < Math.min(PARALLEL, keys.size()); i++) {
      threads.add(Thread.ofVirtual().name("sweep").start(some));
    }
    boolean interrupted = false;
    for (Thread thread : threads) {
      while (thread.isAlive()) {
        try {
          thread.join();
        } catch (InterruptedException e) {
          interrupted = true;
          threads.forEach(Thread::interrupt);
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    if (failure.get() != null) {
      throw failure.get();
    }
  }

  private void abort(PendingUpload upload) throws StoreException {
    try {
      store.resume(upload.key(), upload.uploadId()).abort();
    } catch (StoreException e) {
      if (e.kind() != StoreException.Kind.NOT_FOUND) {
        throw e;
      }
    }
  }
}
