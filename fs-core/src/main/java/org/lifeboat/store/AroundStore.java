package org.lifeboat.store;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import org.lifeboat.store.StoreCall.Operation;

/**
 * A decorator: hands every call, also those of its uploads, through one method. What cuts across
 * backends (faults, metrics, retries, throttling) extends this.
 */
public abstract class AroundStore implements ObjectStore {

  private final ObjectStore inner;

  protected AroundStore(ObjectStore inner) {
    this.inner = inner;
  }

  /** The call itself. */
  @FunctionalInterface
  protected interface Action<T> {
    T run() throws StoreException;
  }

  /**
   * Does the call, at most once, often, or not at all.
   *
   * @param action may be run again; a get that is run again needs its buffer's position put back
   */
  protected abstract <T> T around(StoreCall call, Action<T> action) throws StoreException;

  @Override
  public final StoreUrl url() {
    return inner.url();
  }

  @Override
  public final Optional<ObjectInfo> head(String key) throws StoreException {
    return around(new StoreCall(Operation.HEAD, key), () -> inner.head(key));
  }

  @Override
  public final ObjectInfo get(String key, long offset, ByteBuffer into) throws StoreException {
    return around(
        new StoreCall(Operation.GET, key, 0, Precondition.NONE, into),
        () -> inner.get(key, offset, into));
  }

  @Override
  public final ObjectInfo put(String key, ByteBuffer body, Precondition precondition)
      throws StoreException {
    return around(
        new StoreCall(Operation.PUT, key, 0, precondition, body),
        () -> inner.put(key, body, precondition));
  }

  @Override
  public final ListPage list(String prefix, String after) throws StoreException {
    return around(new StoreCall(Operation.LIST, prefix), () -> inner.list(prefix, after));
  }

  @Override
  public final DirectoryPage listDirectory(String directory, String after) throws StoreException {
    return around(
        new StoreCall(Operation.LIST_DIRECTORY, directory),
        () -> inner.listDirectory(directory, after));
  }

  @Override
  public final void delete(String key) throws StoreException {
    around(
        new StoreCall(Operation.DELETE, key),
        () -> {
          inner.delete(key);
          return true;
        });
  }

  @Override
  public final ObjectInfo copy(String from, String to, Precondition precondition)
      throws StoreException {
    return around(
        new StoreCall(Operation.COPY, from, 0, precondition, StoreCall.EMPTY),
        () -> inner.copy(from, to, precondition));
  }

  @Override
  public final MultipartUpload upload(String key) throws StoreException {
    return new Upload(around(new StoreCall(Operation.UPLOAD, key), () -> inner.upload(key)));
  }

  @Override
  public final MultipartUpload resume(String key, String uploadId) throws StoreException {
    return new Upload(
        around(new StoreCall(Operation.RESUME, key), () -> inner.resume(key, uploadId)));
  }

  @Override
  public final List<PendingUpload> uploads(String prefix) throws StoreException {
    return around(new StoreCall(Operation.UPLOADS, prefix), () -> inner.uploads(prefix));
  }

  @Override
  public void close() {
    inner.close();
  }

  private final class Upload implements MultipartUpload {

    private final MultipartUpload upload;

    Upload(MultipartUpload upload) {
      this.upload = upload;
    }

    @Override
    public String key() {
      return upload.key();
    }

    @Override
    public String id() {
      return upload.id();
    }

    @Override
    public Part part(int number, ByteBuffer body) throws StoreException {
      return around(
          new StoreCall(Operation.PART, key(), number, Precondition.NONE, body),
          () -> upload.part(number, body));
    }

    @Override
    public List<Part> parts() throws StoreException {
      return around(new StoreCall(Operation.PARTS, key()), upload::parts);
    }

    @Override
    public ObjectInfo complete(Precondition precondition) throws StoreException {
      return around(
          new StoreCall(Operation.COMPLETE, key(), 0, precondition, ByteBuffer.allocate(0)),
          () -> upload.complete(precondition));
    }

    @Override
    public void abort() throws StoreException {
      around(
          new StoreCall(Operation.ABORT, key()),
          () -> {
            upload.abort();
            return true;
          });
    }
  }
}
