package org.lifeboat.receive;

/**
 * How far a dump is, for a line of progress and for metrics. Each figure is exact; together they
 * are not of one instant.
 *
 * @param rawBytes bytes of pages received
 * @param zeroPages zero pages found
 * @param packedBytes bytes of compressed frames
 * @param storedBytes bytes of parts that are safe
 * @param segmentsUsed segments of 1 MiB that hold pages which are not packed yet
 * @param segments segments in all
 * @param partsPending parts that are full and not yet safe
 * @param parts part buffers in all
 * @param memoryBytes memory outside the heap that is taken now
 */
public record ReceiveFigures(
    long rawBytes,
    long zeroPages,
    long packedBytes,
    long storedBytes,
    int segmentsUsed,
    int segments,
    int partsPending,
    int parts,
    long memoryBytes) {}
