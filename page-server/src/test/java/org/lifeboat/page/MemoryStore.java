package org.lifeboat.page;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreUrl;

/** A store in the heap whose parts can be made to fail or to wait. */
public final class MemoryStore implements ObjectStore {

  private final Map<String, byte[]> objects = new ConcurrentSkipListMap<>();
  private final Map<String, Upload> uploads = new ConcurrentSkipListMap<>();
  private final AtomicInteger ids = new AtomicInteger();
  private volatile PartHook hook = (key, number) -> {};
  private volatile boolean discard;

  /** Is asked before each part is stored. */
  @FunctionalInterface
  public interface PartHook {
    void before(String key, int number) throws StoreException;
  }

  public void onPart(PartHook partHook) {
    hook = partHook;
  }

  /** Keep no bytes of parts. */
  public void discardParts() {
    discard = true;
  }

  /** The bytes themselves, so that a test can damage them. */
  public byte[] bytes(String key) {
    return objects.get(key);
  }

  public void replace(String key, byte[] bytes) {
    objects.put(key, bytes);
  }

  public List<String> keys() {
    return List.copyOf(objects.keySet());
  }

  public int pendingUploads() {
    return uploads.size();
  }

  public static StoreException failure(StoreException.Kind kind, String what) {
    return new StoreException(kind, what, "file:///test", "injected", "", null);
  }

  @Override
  public StoreUrl url() {
    return new StoreUrl("file", "", "/test");
  }

  private static ObjectInfo info(String key, byte[] bytes) {
    return new ObjectInfo(key, bytes.length, "v", 0);
  }

  @Override
  public Optional<ObjectInfo> head(String key) {
    return Optional.ofNullable(objects.get(key)).map(bytes -> info(key, bytes));
  }

  @Override
  public ObjectInfo get(String key, long offset, ByteBuffer into) throws StoreException {
    byte[] bytes = objects.get(key);
    if (bytes == null) {
      throw failure(StoreException.Kind.NOT_FOUND, "get " + key);
    }
    if (offset > bytes.length) {
      throw failure(StoreException.Kind.INVALID, "get " + key);
    }
    into.put(bytes, (int) offset, (int) Math.min(into.remaining(), bytes.length - offset));
    return info(key, bytes);
  }

  @Override
  public ObjectInfo put(String key, ByteBuffer body, Precondition precondition) {
    byte[] bytes = new byte[body.remaining()];
    body.duplicate().get(bytes);
    objects.put(key, bytes);
    return info(key, bytes);
  }

  @Override
  public ListPage list(String prefix, String after) {
    return new ListPage(
        objects.entrySet().stream()
            .filter(e -> e.getKey().startsWith(prefix) && e.getKey().compareTo(after) > 0)
            .map(e -> info(e.getKey(), e.getValue()))
            .toList(),
        false);
  }

  @Override
  public DirectoryPage listDirectory(String directory, String after) {
    SequencedMap<String, DirectoryEntry> found = new TreeMap<>();
    for (ObjectInfo object : list(directory, "").objects()) {
      int slash = object.key().indexOf('/', directory.length());
      DirectoryEntry entry =
          slash < 0 ? object : new Directory(object.key().substring(0, slash + 1));
      if (entry.key().compareTo(after) > 0) {
        found.put(entry.key(), entry);
      }
    }
    return new DirectoryPage(List.copyOf(found.values()), false);
  }

  @Override
  public void delete(String key) {
    objects.remove(key);
  }

  @Override
  public ObjectInfo copy(String from, String to, Precondition precondition) {
    objects.put(to, objects.get(from));
    return info(to, objects.get(to));
  }

  @Override
  public MultipartUpload upload(String key) {
    Upload upload = new Upload(key, "u" + ids.incrementAndGet());
    uploads.put(upload.id(), upload);
    return upload;
  }

  @Override
  public MultipartUpload resume(String key, String uploadId) throws StoreException {
    Upload upload = uploads.get(uploadId);
    if (upload == null) {
      throw failure(StoreException.Kind.NOT_FOUND, "resume " + key);
    }
    return upload;
  }

  @Override
  public List<PendingUpload> uploads(String prefix) {
    return uploads.values().stream().map(u -> new PendingUpload(u.key(), u.id(), 0)).toList();
  }

  @Override
  public void close() {}

  private final class Upload implements MultipartUpload {
    private final String key;
    private final String id;
    private final TreeMap<Integer, byte[]> parts = new TreeMap<>();
    private long discarded;

    Upload(String key, String id) {
      this.key = key;
      this.id = id;
    }

    @Override
    public String key() {
      return key;
    }

    @Override
    public String id() {
      return id;
    }

    @Override
    public Part part(int number, ByteBuffer body) throws StoreException {
      hook.before(key, number);
      if (discard) {
        synchronized (this) {
          discarded += body.remaining();
        }
        return new Part(number, body.remaining(), "t");
      }
      byte[] bytes = new byte[body.remaining()];
      body.duplicate().get(bytes);
      synchronized (this) {
        parts.put(number, bytes);
      }
      return new Part(number, bytes.length, "t");
    }

    @Override
    public synchronized List<Part> parts() {
      List<Part> list = new ArrayList<>();
      parts.forEach((number, bytes) -> list.add(new Part(number, bytes.length, "t")));
      return list;
    }

    @Override
    public synchronized ObjectInfo complete(Precondition precondition) {
      uploads.remove(id);
      if (discard) {
        return new ObjectInfo(key, discarded, "v", 0);
      }
      ByteBuffer all = ByteBuffer.allocate(parts.values().stream().mapToInt(b -> b.length).sum());
      parts.values().forEach(all::put);
      objects.put(key, all.array());
      return info(key, all.array());
    }

    @Override
    public void abort() {
      uploads.remove(id);
    }
  }
}
