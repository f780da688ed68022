package org.lifeboat.store;

import java.nio.ByteBuffer;

/**
 * One call of a store or of one of its uploads, as a decorator sees it.
 *
 * @param key the object's key, the prefix or directory of a listing, or the source of a copy
 * @param part the part's number, 0 for all but {@link Operation#PART}
 * @param precondition of a put, a copy or a complete, otherwise {@link Precondition#NONE}
 * @param buffer the caller's own: the body of a put or a part, what a get reads into, otherwise
 *     empty
 */
public record StoreCall(
    Operation operation, String key, int part, Precondition precondition, ByteBuffer buffer) {

  static final ByteBuffer EMPTY = ByteBuffer.allocate(0).asReadOnlyBuffer();

  StoreCall(Operation operation, String key) {
    this(operation, key, 0, Precondition.NONE, EMPTY);
  }

  /** The methods of {@link ObjectStore} and {@link MultipartUpload} that do something. */
  public enum Operation {
    HEAD,
    GET,
    PUT,
    LIST,
    LIST_DIRECTORY,
    DELETE,
    COPY,
    UPLOAD,
    RESUME,
    UPLOADS,
    PART,
    PARTS,
    COMPLETE,
    ABORT
  }

  /**
   * Whether doing it twice is as good as once, so that it may be repeated when its reply was lost.
   */
  public boolean idempotent() {
    return operation != Operation.COMPLETE && precondition instanceof Precondition.None;
  }

  /** As messages have it: {@code put}, {@code part 7}. */
  public String name() {
    String name = operation.name().toLowerCase(java.util.Locale.ROOT).replace('_', ' ');
    return part == 0 ? name : name + " " + part;
  }
}
