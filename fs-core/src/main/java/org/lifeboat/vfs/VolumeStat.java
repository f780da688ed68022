package org.lifeboat.vfs;

/**
 * What statvfs(3) shows of the file system.
 *
 * @param blockSize the unit of the first three, in bytes
 * @param free blocks
 * @param available blocks that a user without privileges may fill
 * @param files inodes there can be
 * @param freeFiles inodes that can still be made
 * @param nameLength longest name in bytes, at most 1024
 */
public record VolumeStat(
    long blocks,
    long free,
    long available,
    long files,
    long freeFiles,
    int blockSize,
    int nameLength) {}
