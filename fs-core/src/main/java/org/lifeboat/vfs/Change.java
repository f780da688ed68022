package org.lifeboat.vfs;

import java.util.SortedMap;

/**
 * One step of a change of the {@link Tree}, as the {@link Journal} keeps it. Steps that belong
 * together are in one frame: all of them happen or none. {@link ChangeCoder} draws their bytes.
 */
sealed interface Change {

  /**
   * A node, new or with all that is known of it. Times are nanoseconds since 1970.
   *
   * @param size bytes; of a directory the last cookie that was given in it
   * @param seen as {@link Node#seen}
   * @param origin null if the store has nothing of it
   * @param target of a symbolic link, otherwise null
   * @param xattrs null if there are none
   */
  @SuppressWarnings("ArrayRecordComponent") // nobody compares them
  record PutNode(
      long id,
      int mode,
      int uid,
      int gid,
      long atime,
      long mtime,
      long ctime,
      long rdev,
      long size,
      long seen,
      boolean dirty,
      boolean kept,
      Origin origin,
      byte[] target,
      SortedMap<Name, byte[]> xattrs)
      implements Change {

    static PutNode of(Node node) {
      return new PutNode(
          node.id,
          node.mode,
          node.uid,
          node.gid,
          node.atime,
          node.mtime,
          node.ctime,
          node.rdev,
          node.isDirectory() ? node.children.lastCookie() : node.size,
          node.seen,
          node.dirty,
          node.kept,
          node.origin,
          node.target,
          node.xattrs);
    }
  }

  /** A name; the directory did not have it. */
  record PutChild(long parent, Name name, long node, long cookie) implements Change {}

  /** A name less; the node stays. */
  record CutChild(long parent, Name name) implements Change {}

  /** A node without names is gone. */
  record Remove(long node) implements Change {}

  /** From now on the node is more than what the store tells of it. */
  record SetAttributes(long node, int mode, int uid, int gid, long atime, long mtime, long ctime)
      implements Change {}

  /** What a writer left. */
  record SetContent(long node, long size, long mtime, long ctime, long seen, boolean dirty)
      implements Change {}

  /** Which object it is now. Null: none. */
  record SetOrigin(long node, Origin origin) implements Change {}

  /** An extended attribute; null removes it. */
  @SuppressWarnings("ArrayRecordComponent")
  record SetXattr(long node, Name name, byte[] value) implements Change {}

  /** A handle may write; told before the handle is used. */
  record Opened(long handle, long node) implements Change {}

  /** Such a handle is closed. */
  record Closed(long handle) implements Change {}

  /**
   * What the store still has at a key is not shown any more.
   *
   * @param volume the volume's root node
   * @param key without a slash at the end
   */
  record Gone(long volume, String key, Hidden hidden) implements Change {}

  /** The store's key is as shown again. */
  record Back(long volume, String key) implements Change {}

  /** An engine begins; and at least which id is the next. */
  record Begin(int generation, long nextId) implements Change {}

  /** Two names were exchanged: to be known when the request comes again. */
  record Exchanged(long parent, Name name, long otherParent, Name otherName) implements Change {}

  /** Why a key is not shown. */
  sealed interface Hidden {

    /** The file was unlinked, or has another name now; of that version. */
    record File(String version) implements Hidden {}

    /** The directory is empty and was removed. */
    record Directory() implements Hidden {}

    /** The directory has another name now, what is in it moved with it. */
    record Moved() implements Hidden {}
  }
}
