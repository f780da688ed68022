package org.lifeboat.files;

/**
 * Where the stored bytes of one frame lie.
 *
 * @param pack number of the pack, as the snapshot's own list of packs counts them; from 0
 * @param offset bytes from the pack's start
 * @param length stored bytes; 1 to {@link Frame#MAX_STORED}
 */
public record ContentRef(int pack, long offset, int length) {}
