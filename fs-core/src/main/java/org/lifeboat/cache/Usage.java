package org.lifeboat.cache;

/**
 * What a cache holds and has done.
 *
 * @param contents files, whole or not
 * @param bytes allocated on the disk, with what is promised to fetches and writes under way
 * @param dirtyBytes those of them that are in no store yet
 * @param fetching ranges on their way or waiting for their turn
 * @param fetchedBytes that came from sources since the cache was opened
 * @param evictedBytes given back to the disk since then
 */
public record Usage(
    long contents,
    long bytes,
    long dirtyBytes,
    long fetching,
    long fetchedBytes,
    long evictedBytes) {}
