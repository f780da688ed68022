package org.lifeboat.snapshot;

/**
 * How far a dump is.
 *
 * @param phase {@code freezing}, {@code receiving}, {@code files}, {@code uploading}, {@code
 *     committing}
 * @param rawBytes memory received from CRIU
 * @param expectedBytes the resident memory that the tree had at the start: an estimate of what is
 *     to come
 * @param storedBytes compressed bytes that the store has
 * @param pendingBytes compressed bytes that still have to go there, as far as known
 */
public record DumpProgress(
    int dump,
    String phase,
    long rawBytes,
    long expectedBytes,
    long storedBytes,
    long pendingBytes,
    long elapsedMillis) {}
