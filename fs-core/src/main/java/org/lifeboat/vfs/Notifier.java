package org.lifeboat.vfs;

/**
 * Tells the kernel that it knows something that is no longer so. To be called from threads that
 * serve no request and hold no lock that serving one needs: the kernel may take the locks of the
 * inode or directory, whose holder may wait for an answer of the file system. That the kernel knew
 * nothing of it is no failure.
 */
public interface Notifier {

  /**
   * Attributes and pages.
   *
   * @param offset first byte; negative: only the attributes
   * @param length bytes; 0: to the end
   */
  void invalidateInode(long node, long offset, long length) throws VfsException;

  /** What a name leads to, or that it leads to nothing. */
  void invalidateEntry(long parent, byte[] name) throws VfsException;

  /** A name is gone; whoever watches the directory is told. */
  void delete(long parent, long child, byte[] name) throws VfsException;

  /** Tells nobody: of a file system that is not mounted. */
  Notifier NONE =
      new Notifier() {
        @Override
        public void invalidateInode(long node, long offset, long length) {}

        @Override
        public void invalidateEntry(long parent, byte[] name) {}

        @Override
        public void delete(long parent, long child, byte[] name) {}
      };
}
