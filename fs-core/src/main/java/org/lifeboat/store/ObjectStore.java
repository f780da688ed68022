package org.lifeboat.store;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;

/**
 * A flat map from keys to immutable objects, below one store URL.
 *
 * <p>The interface is what snapshots and a mounted directory need and no more: whole-object writes
 * that may be conditional, ranged reads into the caller's memory, listing by prefix or by
 * directory, and multipart uploads whose parts go in any order and in parallel. It is synchronous
 * because its callers are virtual threads; a backend may be asynchronous inside. Streams were
 * rejected: a failed part must be sent again alone, which needs its bytes to be still there.
 *
 * <p>Keys are relative to {@link #url()}, non-empty, without a leading or a trailing slash, and
 * their segments are neither empty nor {@code .} nor {@code ..}. A store never holds both {@code a}
 * and {@code a/b}: some backends cannot.
 *
 * <p>Consistency: a read that starts after a write has returned sees that write. Of several
 * concurrent writes with {@link Precondition.Absent} or with {@link Precondition.Matches} on one
 * version, at most one succeeds.
 *
 * <p>All methods are thread-safe, throw {@link StoreException} and nothing else for what the store
 * does, and {@link IllegalArgumentException} for a malformed key or range. A thread that is
 * interrupted gets a {@link StoreException} of kind {@link StoreException.Kind#INTERRUPTED}, with
 * the interrupt flag set.
 */
public interface ObjectStore extends AutoCloseable {

  /** What this store is, for messages; holds no secret. */
  StoreUrl url();

  /** What is known of the object, or empty when there is none. */
  Optional<ObjectInfo> head(String key) throws StoreException;

  /**
   * Reads bytes from {@code offset} on into {@code into}, from its position to its limit or to the
   * object's end, whichever comes first; the position is advanced by what was read. A body that
   * ends before either is an error, never a short success.
   *
   * @param offset 0 to the object's size; at the size nothing is read
   * @return the object's own description, of the version that was read
   * @throws StoreException of kind {@link StoreException.Kind#NOT_FOUND} when there is no such
   *     object, {@link StoreException.Kind#INVALID} when the offset lies behind the end. The
   *     buffer's content behind its position is then undefined.
   */
  ObjectInfo get(String key, long offset, ByteBuffer into) throws StoreException;

  /**
   * Writes the whole object from the buffer's remaining bytes (at most 5 GiB; the buffer's position
   * is left as it was).
   *
   * <p>A conditional put is sent once and never retried here: a retry of a put whose reply was lost
   * is refused because of its own success. When the outcome is unknown, {@link
   * StoreException.Kind#UNKNOWN_OUTCOME} is thrown and the caller reads back.
   *
   * @throws StoreException of kind {@link StoreException.Kind#PRECONDITION_FAILED} when somebody
   *     else's object is there, or the object that should match is gone (lost), or {@link
   *     StoreException.Kind#CONFLICT} when a concurrent write was under way and nothing was decided
   *     (start over)
   */
  ObjectInfo put(String key, ByteBuffer body, Precondition precondition) throws StoreException;

  /**
   * One page of the objects whose keys start with {@code prefix} (a plain string prefix; may be
   * empty), in ascending order of the keys' UTF-8 bytes.
   *
   * @param after only keys behind this one; empty from the start
   */
  ListPage list(String prefix, String after) throws StoreException;

  /**
   * One page of what is directly in a directory: the objects, and the directories, each once
   * however much is below it. The keys below those are not read, so this costs what the directory
   * itself holds. In ascending order of {@link DirectoryEntry#key()} by its UTF-8 bytes: {@code
   * a-b} comes before the directory {@code a/}.
   *
   * <p>A directory is there as long as an object is below it. S3 may also tell one that has nothing
   * but a marker that another program made. Names that no well-formed key has are left out.
   *
   * @param directory a key and a slash, or empty for the top; of one that is not there nothing is
   *     listed
   * @param after only entries whose key is behind this one, such as that of the last entry of the
   *     page before; empty from the start
   */
  DirectoryPage listDirectory(String directory, String after) throws StoreException;

  /**
   * Removes the object; that there is none is no error. There is no precondition here, because not
   * every server obeys one: some remove the object all the same. Who must not remove another
   * writer's version asks for the version first, and accepts that one written in the moment between
   * is lost.
   */
  void delete(String key) throws StoreException;

  /**
   * Copies an object inside the store, of any size, without its bytes coming here.
   *
   * <p>A copy with a precondition obeys it as {@link #put} does, at the instant when the target
   * appears, and is not retried here either.
   *
   * @param precondition of the target
   * @throws StoreException of kind {@link StoreException.Kind#NOT_FOUND} when there is no source
   */
  ObjectInfo copy(String from, String to, Precondition precondition) throws StoreException;

  /** As above; what was at the target is replaced. */
  default ObjectInfo copy(String from, String to) throws StoreException {
    return copy(from, to, Precondition.NONE);
  }

  /**
   * Starts a multipart upload to {@code key}. Nothing is visible under the key until it is
   * completed.
   */
  MultipartUpload upload(String key) throws StoreException;

  /**
   * Takes up an upload that an earlier process began, by its {@link MultipartUpload#id()}; see
   * {@link MultipartUpload#parts()}. That there is no such upload may show here or at its first
   * request, as {@link StoreException.Kind#NOT_FOUND}.
   */
  MultipartUpload resume(String key, String uploadId) throws StoreException;

  /**
   * Uploads that were begun below the prefix and neither completed nor aborted. Best effort: some
   * servers forget or filter them, so whoever must find its own remembers key and id.
   */
  List<PendingUpload> uploads(String prefix) throws StoreException;

  @Override
  void close();

  /**
   * An object's size and version.
   *
   * @param version opaque; differs between different bytes under one key. Equal bytes may have
   *     equal versions (on S3 it is mostly a digest), so whoever needs each write told apart writes
   *     a nonce
   * @param lastModifiedMillis since 1970, by the server's clock or near to it; good for ages only
   */
  record ObjectInfo(String key, long size, String version, long lastModifiedMillis)
      implements DirectoryEntry {}

  /** A page of a listing; {@code more} when there are further keys behind the last one. */
  record ListPage(List<ObjectInfo> objects, boolean more) {}

  /** What a directory holds. */
  sealed interface DirectoryEntry {

    /** The whole key, from the store's top on; that of a directory ends with a slash. */
    String key();
  }

  /**
   * A directory in another.
   *
   * @param key with a slash at its end
   */
  record Directory(String key) implements DirectoryEntry {}

  /**
   * A page of a directory; never empty when there is {@code more}, which then may turn out to be
   * nothing.
   */
  record DirectoryPage(List<DirectoryEntry> entries, boolean more) {}

  /** An upload that was not finished. */
  record PendingUpload(String key, String uploadId, long startedMillis) {}
}
