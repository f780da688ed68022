package org.lifeboat.sys;

/**
 * What statfs(2) tells of a file system.
 *
 * @param magic its type, as in linux/magic.h
 * @param total bytes of it
 * @param free bytes that are free
 * @param available bytes that this process may still write
 * @param files inodes in total; 0 where the file system has no such limit
 * @param freeFiles inodes that are free
 */
public record FileSystemStat(
    long magic, long total, long free, long available, long files, long freeFiles) {

  public static final long PROC = 0x9fa0;
  public static final long SYSFS = 0x62656572;
  public static final long CGROUP = 0x27e0eb;
  public static final long CGROUP2 = 0x63677270;
  public static final long TMPFS = 0x01021994;
  public static final long FUSE = 0x65735546;
}
