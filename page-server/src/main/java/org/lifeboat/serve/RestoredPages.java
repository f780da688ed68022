package org.lifeboat.serve;

/**
 * What was read.
 *
 * @param images address spaces
 * @param pages of all images, zero pages included
 * @param zeroPages of these
 * @param rawBytes bytes of all pages
 * @param fetchedBytes bytes of parts that were fetched
 * @param seconds for all of it
 */
public record RestoredPages(
    long images, long pages, long zeroPages, long rawBytes, long fetchedBytes, double seconds) {}
