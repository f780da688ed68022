package org.lifeboat.page;

/**
 * What an index holds in all.
 *
 * @param pages of all entries, zero pages included
 * @param zeroPages pages of which nothing is stored
 * @param frames that have stored bytes or only zero pages
 * @param storedBytes of all frames, without the padding of parts
 */
public record IndexTotals(
    long images, long entries, long pages, long zeroPages, long frames, long storedBytes) {}
