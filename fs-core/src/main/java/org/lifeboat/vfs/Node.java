package org.lifeboat.vfs;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import org.lifeboat.sys.Stat;

/**
 * A file of any type. What the journal keeps of it is changed by {@link Tree#apply} only. Guarded
 * by the lock of {@link State}, where nothing else is said.
 */
final class Node {

  private static final VarHandle REFERENCES;
  private static final VarHandle CONTENT;

  static {
    try {
      MethodHandles.Lookup lookup = MethodHandles.lookup();
      REFERENCES = lookup.findVarHandle(Node.class, "references", long.class);
      CONTENT = lookup.findVarHandle(Node.class, "content", ContentState.class);
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  final long id;

  // In the journal.
  int mode;
  int uid;
  int gid;
  long atime;
  long mtime;
  long ctime;
  long rdev;
  long size;

  /** The time of change of the content's file that {@link #mtime} already knows of. */
  long seen;

  /** The content is not what the store has. */
  boolean dirty;

  /** It is more than what the store tells of it, and stays when the kernel has forgotten it. */
  boolean kept;

  byte[] target;
  SortedMap<Name, byte[]> xattrs;
  Origin origin;

  // Where it is.
  private Child place;
  private List<Child> morePlaces;
  final Children children;

  // Only in memory.

  /** The journal has it. */
  boolean journalled;

  /** An earlier engine told the kernel of it, nobody knows how often. */
  boolean pinned;

  /** Open handles, and those of them that may write. */
  int handles;

  int writers;

  /** References that this engine gave to the kernel. Atomic. */
  private volatile long references;

  private volatile ContentState content;

  Node(long id, int mode) {
    this.id = id;
    this.mode = mode;
    this.children = (mode & Stat.S_IFMT) == Stat.S_IFDIR ? new Children() : null;
  }

  /** What is done with a regular file's content; for any thread. */
  ContentState content() {
    ContentState now = content;
    if (now == null) {
      CONTENT.compareAndSet(this, (ContentState) null, new ContentState());
      now = content;
    }
    return now;
  }

  int type() {
    return mode & Stat.S_IFMT;
  }

  boolean isDirectory() {
    return children != null;
  }

  boolean isRegular() {
    return type() == Stat.S_IFREG;
  }

  /** Any of its names; null if it has none. */
  Child place() {
    return place;
  }

  /** All of its names. */
  List<Child> places() {
    List<Child> all = new ArrayList<>();
    if (place != null) {
      all.add(place);
    }
    if (morePlaces != null) {
      all.addAll(morePlaces);
    }
    return all;
  }

  void arrive(Child child) {
    if (place == null) {
      place = child;
    } else {
      if (morePlaces == null) {
        morePlaces = new ArrayList<>(1);
      }
      morePlaces.add(child);
    }
  }

  void leave(Child child) {
    if (place == child) {
      place = morePlaces == null ? null : morePlaces.removeFirst();
    } else {
      morePlaces.remove(child);
    }
    if (morePlaces != null && morePlaces.isEmpty()) {
      morePlaces = null;
    }
  }

  /** As st_nlink. A directory whose names are not all known counts its directories no more. */
  int nlink() {
    if (isDirectory()) {
      if (place == null && id != FileOperations.ROOT) {
        return 0;
      }
      return origin == null || children.complete ? 2 + children.directories() : 1;
    }
    return (place == null ? 0 : 1) + (morePlaces == null ? 0 : morePlaces.size());
  }

  boolean isNameless() {
    return place == null && id != FileOperations.ROOT;
  }

  long references() {
    return references;
  }

  void refer() {
    REFERENCES.getAndAdd(this, 1L);
  }

  /** Takes references back; what is more than was given tells that there are none any more. */
  void forget(long count) {
    while (true) {
      long now = references;
      if ((long) REFERENCES.compareAndExchange(this, now, Math.max(0, now - count)) == now) {
        if (count > now) {
          pinned = false;
        }
        return;
      }
    }
  }

  /** Whether the kernel may still ask about it. */
  boolean isHeld() {
    return references > 0 || pinned || handles > 0;
  }
}
