package org.lifeboat.page;

/**
 * Where a frame is.
 *
 * @param pack the pack's place in the list of packs, from 0 on
 * @param offset of its first byte in the pack
 * @param length in bytes, at least 1; it lies in one part
 */
public record FrameRef(int pack, long offset, int length) implements PackFrame {}
