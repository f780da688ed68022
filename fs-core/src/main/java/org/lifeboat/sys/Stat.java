package org.lifeboat.sys;

import java.time.Instant;

/**
 * What statx(2) tells of a file.
 *
 * @param dev device of the file system: major in the upper, minor in the lower 32 bits
 * @param mount the kernel's id of the mount it was reached through; 0 where the kernel tells none
 *     (before 5.8)
 * @param mode type and permission bits, as in st_mode
 * @param rdev device number of a device node, encoded like {@code dev}
 * @param size bytes; of a symbolic link the length of its target
 * @param blocks allocated units of 512 bytes
 */
public record Stat(
    long dev,
    long ino,
    long mount,
    int mode,
    int nlink,
    int uid,
    int gid,
    long rdev,
    long size,
    long blocks,
    Instant mtime,
    Instant ctime) {

  /** The type bits of a mode. */
  public static final int S_IFMT = 0170000;

  public static final int S_IFSOCK = 0140000;
  public static final int S_IFLNK = 0120000;
  public static final int S_IFREG = 0100000;
  public static final int S_IFBLK = 0060000;
  public static final int S_IFDIR = 0040000;
  public static final int S_IFCHR = 0020000;
  public static final int S_IFIFO = 0010000;

  /** One of the S_IF constants. */
  public int type() {
    return mode & S_IFMT;
  }

  public boolean isRegular() {
    return type() == S_IFREG;
  }

  public boolean isDirectory() {
    return type() == S_IFDIR;
  }

  public boolean isSymlink() {
    return type() == S_IFLNK;
  }

  /** Permission bits with setuid, setgid and sticky. */
  public int permissions() {
    return mode & 07777;
  }

  /** Whether both are the same inode of the same file system. */
  public boolean sameFile(Stat other) {
    return dev == other.dev && ino == other.ino;
  }

  /** Whether nothing that a write or a change of metadata leaves behind differs. */
  public boolean sameVersion(Stat other) {
    return sameFile(other)
        && size == other.size
        && mode == other.mode
        && uid == other.uid
        && gid == other.gid
        && mtime.equals(other.mtime)
        && ctime.equals(other.ctime);
  }
}
