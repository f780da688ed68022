package org.lifeboat.vfs;

/**
 * A name's node. Whoever gets an entry with a node from lookup, mknod, mkdir, symlink, link,
 * create, tmpfile or a {@link DirectorySink} holds one reference more to that node, until {@link
 * FileOperations#forget}.
 *
 * @param node its id: never reused for another file, 1 is the root; 0 says that there is no file of
 *     that name, which the kernel remembers too
 * @param attributes null where node is 0
 * @param entryValidNanos how long the kernel may go on resolving the name (or its absence) without
 *     asking
 * @param attributesValidNanos the same for the attributes
 */
public record Entry(
    long node, Attributes attributes, long entryValidNanos, long attributesValidNanos) {

  /** As long as the mount lives, unless a {@link Notifier} says otherwise. */
  public static final long FOREVER = Long.MAX_VALUE;

  /** There is no such name. */
  public static Entry negative(long entryValidNanos) {
    return new Entry(0, null, entryValidNanos, 0);
  }

  public boolean isNegative() {
    return node == 0;
  }
}
