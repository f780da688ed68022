package org.lifeboat.vfs;

/**
 * A lock of a range.
 *
 * @param start first byte
 * @param end last byte, inclusive; {@link #TO_THE_END} for all there will ever be
 * @param pid of whom it belongs to, for people
 */
public record Lock(Type type, long start, long end, int pid) {

  public static final long TO_THE_END = Long.MAX_VALUE;

  /** What it keeps others from. */
  public enum Type {
    READ,
    WRITE,
    /** Releases; as an answer: nothing is in the way. */
    UNLOCK
  }

  public boolean overlaps(Lock other) {
    return start <= other.end && other.start <= end;
  }
}
