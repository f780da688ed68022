package org.lifeboat.vfs;

/**
 * What stat(2) shows of a file.
 *
 * @param inode the number that programs see; need not be the node's id
 * @param size bytes
 * @param blocks allocated units of 512 bytes
 * @param mode type and permission bits, as in st_mode
 * @param rdev of a device node: major in the upper, minor in the lower 32 bits, as in {@link
 *     org.lifeboat.sys.Stat#rdev()}; up to 12 bits of major and 20 of minor can be told
 * @param blockSize the size of transfers that suits the file, in bytes
 */
public record Attributes(
    long inode,
    long size,
    long blocks,
    Timespec atime,
    Timespec mtime,
    Timespec ctime,
    int mode,
    int nlink,
    int uid,
    int gid,
    long rdev,
    int blockSize) {}
