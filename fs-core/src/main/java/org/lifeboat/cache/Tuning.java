package org.lifeboat.cache;

/**
 * What is the same for everybody but tests.
 *
 * @param blockSize bytes, a power of two from 4096 on; objects of more than {@link
 *     BlockMap#MAX_BLOCKS} such blocks get greater ones
 * @param runBytes most that one request fetches, unless a block is greater
 * @param requests most under way at once
 * @param fetchBytes most memory that requests under way hold
 */
record Tuning(int blockSize, int runBytes, int requests, long fetchBytes) {

  private static final long MIB = 1 << 20;

  Tuning {
    if (blockSize < 4096 || Integer.bitCount(blockSize) != 1 || requests < 1) {
      throw new IllegalArgumentException("block size " + blockSize + ", requests " + requests);
    }
  }

  /**
   * A request of 8 MiB spends little of its time on the way to its first byte; 32 of them, each
   * over a connection of its own, fill a link of 10 Gbit/s and more. Their buffers, outside the
   * heap, take an eighth of what the heap may take.
   */
  static Tuning usual() {
    long memory = Math.clamp(Runtime.getRuntime().maxMemory() / 8, 16 * MIB, 256 * MIB);
    return new Tuning(1 << 20, 8 << 20, 32, memory);
  }

  /** The block size of an object of that size. */
  int blockSize(long size) {
    long block = blockSize;
    while ((size - 1) / block >= BlockMap.MAX_BLOCKS && block < 1 << 30) {
      block *= 2;
    }
    return (int) block;
  }
}
