package org.lifeboat.vfs;

import org.lifeboat.sys.Errno;

/**
 * A file system by paths and slots of open files, so that the same can be done to several. Paths
 * are names with slashes between, the empty one is the top. What goes wrong is {@link Failed}.
 */
interface Posix {

  /** An errno. */
  final class Failed extends Exception {
    private static final long serialVersionUID = 1L;

    Failed(Errno errno) {
      super(errno.name());
    }
  }

  /** O_CREAT | O_EXCL | O_RDWR, mode 0600. */
  void create(int slot, String path) throws Exception;

  /** O_RDWR, or O_RDONLY; a symbolic link is ELOOP. */
  void open(int slot, String path, boolean write) throws Exception;

  void close(int slot) throws Exception;

  void write(int slot, long offset, byte[] bytes) throws Exception;

  byte[] read(int slot, long offset, int length) throws Exception;

  void truncate(int slot, long size) throws Exception;

  long sizeOf(int slot) throws Exception;

  void mkdir(String path, int mode) throws Exception;

  void rmdir(String path) throws Exception;

  void unlink(String path) throws Exception;

  void rename(String from, String to, int flags) throws Exception;

  void link(String from, String to) throws Exception;

  void symlink(String target, String path) throws Exception;

  void mkfifo(String path, int mode) throws Exception;

  String readlink(String path) throws Exception;

  void chmod(String path, int mode) throws Exception;

  void utimens(String path, long seconds) throws Exception;

  void setxattr(String path, String name, byte[] value) throws Exception;

  void removexattr(String path, String name) throws Exception;

  /** All that lstat and xattrs show, but times and inode numbers: type, mode, links, size. */
  String stat(String path) throws Exception;

  /** Sorted names. */
  String list(String path) throws Exception;

  /** Everything open is closed, and nothing else is lost. */
  void restart() throws Exception;
}
