package org.lifeboat.store;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.LongAdder;
import org.lifeboat.store.StoreException.Kind;

/**
 * Accepts every write and forgets it: the store at the end of a benchmark that measures what is in
 * front of it. What it is asked for is not there. It counts bytes and requests.
 */
public final class DiscardStore implements ObjectStore {

  private static final StoreUrl URL = new StoreUrl("discard", "nowhere", "");
  private static final String VERSION = "discarded";

  private final LongAdder bytes = new LongAdder();
  private final LongAdder requests = new LongAdder();

  /** Bytes of all bodies so far. */
  public long bytes() {
    return bytes.sum();
  }

  /** Puts and parts so far. */
  public long requests() {
    return requests.sum();
  }

  private void count(ByteBuffer body) {
    bytes.add(body.remaining());
    requests.increment();
  }

  @Override
  public StoreUrl url() {
    return URL;
  }

  @Override
  public Optional<ObjectInfo> head(String key) {
    Keys.check(key);
    return Optional.empty();
  }

  @Override
  public ObjectInfo get(String key, long offset, ByteBuffer into) throws StoreException {
    throw notFound("get", Keys.check(key));
  }

  private static StoreException notFound(String operation, String key) {
    return new StoreException(
        Kind.NOT_FOUND, operation, URL.of(key), "everything is discarded", "", null);
  }

  @Override
  public ObjectInfo put(String key, ByteBuffer body, Precondition precondition) {
    Keys.check(key);
    count(body);
    return new ObjectInfo(key, body.remaining(), VERSION, 0);
  }

  @Override
  public ListPage list(String prefix, String after) {
    return new ListPage(List.of(), false);
  }

  @Override
  public DirectoryPage listDirectory(String directory, String after) {
    Keys.checkDirectory(directory);
    return new DirectoryPage(List.of(), false);
  }

  @Override
  public void delete(String key) {
    Keys.check(key);
  }

  @Override
  public ObjectInfo copy(String from, String to, Precondition precondition) throws StoreException {
    throw notFound("copy", Keys.check(from));
  }

  @Override
  public MultipartUpload upload(String key) {
    return new Upload(Keys.check(key));
  }

  @Override
  public MultipartUpload resume(String key, String uploadId) throws StoreException {
    throw notFound("resume", Keys.check(key));
  }

  @Override
  public List<PendingUpload> uploads(String prefix) {
    return List.of();
  }

  @Override
  public void close() {
    // holds nothing
  }

  private final class Upload implements MultipartUpload {

    private final String key;
    private final ConcurrentMap<Integer, Part> parts = new ConcurrentHashMap<>();

    Upload(String key) {
      this.key = key;
    }

    @Override
    public String key() {
      return key;
    }

    @Override
    public String id() {
      return VERSION;
    }

    @Override
    public Part part(int number, ByteBuffer body) {
      FileUpload.checkNumber(number);
      count(body);
      Part part = new Part(number, body.remaining(), VERSION);
      parts.put(number, part);
      return part;
    }

    @Override
    public List<Part> parts() {
      return parts.values().stream()
          .sorted((a, b) -> Integer.compare(a.number(), b.number()))
          .toList();
    }

    @Override
    public ObjectInfo complete(Precondition precondition) {
      long size = parts.values().stream().mapToLong(Part::size).sum();
      return new ObjectInfo(key, size, VERSION, 0);
    }

    @Override
    public void abort() {
      parts.clear();
    }
  }
}
