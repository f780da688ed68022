package org.lifeboat.vfs;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import org.lifeboat.sys.Errno;

/**
 * A file system, as a transport drives it: by nodes, not by paths.
 *
 * <p>A node is a file of any type, known by a number that is never given to another one, 1 for the
 * root. The kernel holds references to nodes: it gets one with each {@link Entry} and gives them
 * back with {@link #forget}; a node that it holds stays usable, whether it has a name or not. A
 * handle is an open file's number, from open, create, tmpfile or opendir to release or releasedir.
 *
 * <p>All methods may be called by many threads at once, in any order that the kernel's locks allow:
 * two changes in one directory never come together, lookups and readdirs do. They throw {@link
 * VfsException} and nothing else; anything else that escapes is answered with EIO and logged. Names
 * are bytes, 1 to 255 or what {@link VolumeStat#nameLength} allows, without NUL or slash.
 * Permissions have been checked by the kernel. What takes long waits in {@link Waits}.
 *
 * <p>A method that answers ENOSYS, as some here do if they are not overridden, is often not asked
 * again by the kernel, which then does without, or says EOPNOTSUPP.
 *
 * <p><b>Take-over.</b> A server can die and another go on with its mount. Nodes then must be the
 * same as before, whatever the kernel held of them. Handles of the dead server come to the new one
 * in all methods that take one, with their node; it is the file system that makes sure that it can
 * tell them apart from its own (a generation in the upper bits) and opens the file again.
 */
public interface FileOperations {

  /** The root's node. */
  long ROOT = 1;

  /** In {@link #rename}: fail with EEXIST instead of replacing. */
  int RENAME_NOREPLACE = 1;

  /** In {@link #rename}: exchange two files. */
  int RENAME_EXCHANGE = 2;

  /** In {@link #setxattr}: fail with EEXIST if there is one. */
  int XATTR_CREATE = 1;

  /** In {@link #setxattr}: fail with ENODATA if there is none. */
  int XATTR_REPLACE = 2;

  /** In {@link #lseek}. */
  int SEEK_DATA = 3;

  /** In {@link #lseek}. */
  int SEEK_HOLE = 4;

  /**
   * The first call, at a new mount.
   *
   * @return what is wanted of it
   */
  Capabilities init(Offer offer) throws VfsException;

  /** The first call at a take-over, instead of {@link #init}: what an earlier server agreed on. */
  void resume(Capabilities agreed) throws VfsException;

  /** A name in a directory; a negative entry or ENOENT if there is none. */
  Entry lookup(Caller caller, long parent, byte[] name) throws VfsException;

  /**
   * The kernel gives references back. Never fails; unknown nodes are possible after a take-over.
   */
  void forget(long node, long count);

  ValidAttributes getattr(long node, OptionalLong handle) throws VfsException;

  /**
   * @param handle where the change is made through an open file, which must then be open for
   *     writing if it changes the size
   */
  ValidAttributes setattr(Caller caller, long node, OptionalLong handle, AttributeChange change)
      throws VfsException;

  /** A symbolic link's target. */
  byte[] readlink(long node) throws VfsException;

  /**
   * @param mode type and permission bits; regular files come like this too
   * @param rdev as {@link Attributes#rdev}
   */
  Entry mknod(Caller caller, long parent, byte[] name, int mode, long rdev) throws VfsException;

  Entry mkdir(Caller caller, long parent, byte[] name, int mode) throws VfsException;

  Entry symlink(Caller caller, long parent, byte[] name, byte[] target) throws VfsException;

  /** Gives a node one more name. */
  Entry link(Caller caller, long node, long parent, byte[] name) throws VfsException;

  void unlink(Caller caller, long parent, byte[] name) throws VfsException;

  void rmdir(Caller caller, long parent, byte[] name) throws VfsException;

  /**
   * @param flags {@link #RENAME_NOREPLACE} or {@link #RENAME_EXCHANGE} or 0; EINVAL for others
   */
  void rename(Caller caller, long parent, byte[] name, long newParent, byte[] newName, int flags)
      throws VfsException;

  /**
   * Opens a file.
   *
   * @param flags of open(2), this architecture's numbers; O_TRUNC only with {@link
   *     Capability#ATOMIC_TRUNCATE}; never O_CREAT or O_EXCL. A handle opened with O_APPEND gets
   *     writes with their offsets all the same
   * @param killPrivileges with O_TRUNC: as {@link AttributeChange#killPrivileges}
   */
  Opened open(Caller caller, long node, int flags, boolean killPrivileges) throws VfsException;

  /**
   * Makes a file and opens it; or opens the one that is there, unless flags say O_EXCL.
   *
   * @param mode type and permission bits
   */
  Created create(Caller caller, long parent, byte[] name, int mode, int flags) throws VfsException;

  /** Makes a file without a name and opens it. */
  default Created tmpfile(Caller caller, long parent, int mode, int flags) throws VfsException {
    throw new VfsException(Errno.EOPNOTSUPP, "tmpfile", "");
  }

  /**
   * Reads.
   *
   * @param into native memory that begins at a page; only up to its end
   * @return bytes read; less than there is room for only at the end of the file
   */
  int read(long node, long handle, long offset, MemorySegment into) throws VfsException;

  /**
   * Writes.
   *
   * @param from native memory that begins at a page
   * @param fromCache whether the kernel writes its page cache back: the handle is any one that is
   *     open for writing, also one that the writer has closed
   * @param killPrivileges as {@link AttributeChange#killPrivileges}
   * @return bytes written
   */
  int write(
      long node,
      long handle,
      long offset,
      MemorySegment from,
      boolean fromCache,
      boolean killPrivileges)
      throws VfsException;

  /** Some descriptor of the handle is closed; the program's close() gets what this throws. */
  void flush(long node, long handle, long lockOwner) throws VfsException;

  /**
   * Nobody has the handle any more. What this throws reaches nobody. Unknown handles are possible
   * after a take-over: they have been released already.
   *
   * @param flockOwner whose flock is to be released with it
   */
  void release(long node, long handle, OptionalLong flockOwner) throws VfsException;

  void fsync(long node, long handle, boolean dataOnly) throws VfsException;

  Opened opendir(Caller caller, long node) throws VfsException;

  /**
   * Gives entries from a cookie on, until the sink is full or there are no more.
   *
   * @param cookie 0: from the beginning; else one that was given to a sink, of this handle or one
   *     of a dead server
   * @param plus with attributes
   */
  void readdir(long node, long handle, long cookie, DirectorySink sink, boolean plus)
      throws VfsException;

  void releasedir(long node, long handle) throws VfsException;

  default void fsyncdir(long node, long handle, boolean dataOnly) throws VfsException {
    throw new VfsException(Errno.ENOSYS, "fsyncdir", "");
  }

  VolumeStat statfs(long node) throws VfsException;

  default void setxattr(Caller caller, long node, byte[] name, byte[] value, int flags)
      throws VfsException {
    throw new VfsException(Errno.ENOSYS, "setxattr", "");
  }

  /** Empty if there is none of that name. */
  default Optional<byte[]> getxattr(long node, byte[] name) throws VfsException {
    throw new VfsException(Errno.ENOSYS, "getxattr", "");
  }

  default List<byte[]> listxattr(long node) throws VfsException {
    throw new VfsException(Errno.ENOSYS, "listxattr", "");
  }

  /** ENODATA if there is none of that name. */
  default void removexattr(Caller caller, long node, byte[] name) throws VfsException {
    throw new VfsException(Errno.ENOSYS, "removexattr", "");
  }

  /**
   * A lock that is in the way of this one, or one of type UNLOCK. Only where {@link
   * Capability#POSIX_LOCKS} was agreed on, as the next two.
   *
   * @param owner a process, or an open file (OFD locks)
   */
  default Lock getlk(long node, long handle, long owner, Lock lock) throws VfsException {
    throw new VfsException(Errno.ENOSYS, "getlk", "");
  }

  /**
   * Takes or releases a lock; EAGAIN if another one is in the way. POSIX locks of a process are
   * released by {@link #flush}, flocks by {@link #release}, and locks of an open file (OFD) with
   * its handle, of which the kernel sends no word of its own.
   *
   * @param flock whether it is one of flock(2), of the whole file, which POSIX locks don't see
   */
  default void setlk(long node, long handle, long owner, boolean flock, Lock lock)
      throws VfsException {
    throw new VfsException(Errno.ENOSYS, "setlk", "");
  }

  /**
   * As {@link #setlk}, but waits, without holding the calling thread: returns at once, and answers
   * then or later.
   *
   * @return cancels: to be answered with EINTR unless it has been answered. May come from any
   *     thread
   */
  default Runnable setlkw(
      long node, long handle, long owner, boolean flock, Lock lock, LockReply reply)
      throws VfsException {
    throw new VfsException(Errno.ENOSYS, "setlkw", "");
  }

  /** Not asked where the kernel checks permissions. */
  default void access(Caller caller, long node, int mask) throws VfsException {
    throw new VfsException(Errno.ENOSYS, "access", "");
  }

  /**
   * @param mode as of fallocate(2): 0, FALLOC_FL_KEEP_SIZE 1, FALLOC_FL_PUNCH_HOLE 2,
   *     FALLOC_FL_ZERO_RANGE 16; EOPNOTSUPP for what can't be done
   */
  default void fallocate(long node, long handle, int mode, long offset, long length)
      throws VfsException {
    throw new VfsException(Errno.ENOSYS, "fallocate", "");
  }

  /**
   * The next data or hole.
   *
   * @param whence {@link #SEEK_DATA} or {@link #SEEK_HOLE}
   * @throws VfsException ENXIO if there is no data from there on, or offset is past the end
   */
  default long lseek(long node, long handle, long offset, int whence) throws VfsException {
    throw new VfsException(Errno.ENOSYS, "lseek", "");
  }

  /**
   * @return bytes copied, at most {@code length} and 2 GiB; 0 at the end of the source
   */
  default long copyFileRange(
      long node,
      long handle,
      long offset,
      long toNode,
      long toHandle,
      long toOffset,
      long length,
      long flags)
      throws VfsException {
    throw new VfsException(Errno.ENOSYS, "copy_file_range", "");
  }

  /** Writes everything back. */
  default void syncfs() throws VfsException {
    throw new VfsException(Errno.ENOSYS, "syncfs", "");
  }

  /**
   * The last call: the mount is gone, and with it handles and references that were not given back.
   * Not at a take-over.
   */
  void destroy();
}
