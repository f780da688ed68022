package org.lifeboat.store;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.util.Optional;
import org.lifeboat.store.ObjectStore.ObjectInfo;
import org.lifeboat.store.StoreException.Kind;

/** A small object, whole, with the version that its bytes are of. Immutable. */
public final class Blob {

  private static final int FIRST_READ = 64 << 10;

  private final byte[] bytes;
  private final ObjectInfo info;

  private Blob(byte[] bytes, ObjectInfo info) {
    this.bytes = bytes;
    this.info = info;
  }

  /**
   * Reads an object whole; one request for up to 64 KiB, two for more.
   *
   * @param maxBytes how large it may be, so that a foreign object can't fill the memory
   * @return empty when there is no such object
   * @throws StoreException of kind {@link Kind#INVALID} when it is larger
   */
  public static Optional<Blob> read(ObjectStore store, String key, int maxBytes)
      throws StoreException {
    int capacity = Math.min(maxBytes, FIRST_READ);
    while (true) {
      ByteBuffer buffer = ByteBuffer.allocate(capacity);
      ObjectInfo info;
      try {
        info = store.get(key, 0, buffer);
      } catch (StoreException e) {
        if (e.kind() == Kind.NOT_FOUND) {
          return Optional.empty();
        }
        throw e;
      }
      if (info.size() > maxBytes) {
        throw new StoreException(
            Kind.INVALID,
            "get",
            store.url().of(key),
            "has " + info.size() + " bytes, more than the " + maxBytes + " that it can have",
            "it was not written by Lifeboat",
            null);
      }
      if (info.size() == buffer.position()) {
        byte[] bytes = new byte[buffer.flip().remaining()];
        buffer.get(bytes);
        return Optional.of(new Blob(bytes, info));
      }
      capacity = (int) info.size(); // if it is replaced by a larger one now: another round
    }
  }

  /** The bytes; a copy. */
  public byte[] bytes() {
    return bytes.clone();
  }

  /** The bytes, read-only. */
  public ByteBuffer buffer() {
    return ByteBuffer.wrap(bytes).asReadOnlyBuffer();
  }

  /** The bytes as UTF-8. */
  public String text() {
    return new String(bytes, UTF_8);
  }

  public ObjectInfo info() {
    return info;
  }

  public String version() {
    return info.version();
  }
}
