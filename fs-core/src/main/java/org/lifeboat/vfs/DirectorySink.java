package org.lifeboat.vfs;

/**
 * Takes a directory's entries, in the order of their cookies. Both methods return false when there
 * is no room: that entry was not taken, and nothing more can be.
 */
public interface DirectorySink {

  /**
   * For readdir without attributes.
   *
   * @param type type bits of the mode, such as {@link org.lifeboat.sys.Stat#S_IFDIR}
   * @param next the cookie of what follows this entry; not 0
   */
  boolean add(byte[] name, long inode, int type, long next);

  /**
   * For readdir with attributes. Where true is returned and the name is not {@code .} or {@code
   * ..}, the kernel then holds one reference more to the node.
   */
  boolean add(byte[] name, Entry entry, long next);
}
