package org.lifeboat.cache;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * What is known in memory of the blocks of a clean content: which are there, their checksums, and
 * when each span of {@link #SPAN} blocks was last read. Five bytes a block.
 *
 * <p>Any number of threads may read and add at once; who takes blocks away excludes all others. A
 * block's checksum is set before its state, and both are read in the other order.
 */
final class Blocks {

  /** Not in the file. */
  static final byte ABSENT = 0;

  /** In the file since before this process; not yet compared with its checksum. */
  static final byte UNVERIFIED = 1;

  /** In the file, and good. */
  static final byte PRESENT = 2;

  /** Blocks that are evicted together. */
  static final int SPAN = 16;

  private static final VarHandle STATE = MethodHandles.arrayElementVarHandle(byte[].class);
  private static final VarHandle USED = MethodHandles.arrayElementVarHandle(long[].class);

  private final long size;
  private final int blockSize;
  private final byte[] states;
  private final int[] checksums;
  private final long[] used;
  private final AtomicInteger missing;

  /** All absent. */
  Blocks(long size, int blockSize) {
    this.size = size;
    this.blockSize = blockSize;
    int count = count(size, blockSize);
    this.states = new byte[count];
    this.checksums = new int[count];
    this.used = new long[(count + SPAN - 1) / SPAN];
    this.missing = new AtomicInteger(count);
  }

  static int count(long size, int blockSize) {
    return Math.toIntExact(Math.ceilDiv(size, blockSize));
  }

  int count() {
    return states.length;
  }

  int spans() {
    return used.length;
  }

  int blockSize() {
    return blockSize;
  }

  long size() {
    return size;
  }

  long offset(int block) {
    return (long) block * blockSize;
  }

  /** Bytes of a run of blocks; the last one of a content may be short. */
  long length(int first, int count) {
    return Math.min(size, offset(first + count)) - offset(first);
  }

  int blockOf(long offset) {
    return Math.toIntExact(offset / blockSize);
  }

  byte state(int block) {
    return (byte) STATE.getAcquire(states, block);
  }

  /** Whether all blocks are there and good. */
  boolean isWhole() {
    return missing.get() == 0;
  }

  int checksum(int block) {
    return checksums[block];
  }

  /** A block that was absent is in the file now. */
  void present(int block, int checksum) {
    checksums[block] = checksum;
    STATE.setRelease(states, block, PRESENT);
    missing.decrementAndGet();
  }

  /** A block lies in the file according to the map. */
  void unverified(int block, int checksum) {
    checksums[block] = checksum;
    STATE.setRelease(states, block, UNVERIFIED);
  }

  /** A block that was found in the file is good. */
  void verified(int block) {
    if (STATE.compareAndSet(states, block, UNVERIFIED, PRESENT)) {
      missing.decrementAndGet();
    }
  }

  /** A block is not in the file any more. Excludes all others. */
  void absent(int block) {
    if (state(block) == PRESENT) {
      missing.incrementAndGet();
    }
    checksums[block] = 0;
    STATE.setRelease(states, block, ABSENT);
  }

  long used(int span) {
    return (long) USED.getOpaque(used, span);
  }

  /** Blocks from first to last, both included, are read now. */
  void touch(int first, int last, long now) {
    for (int span = first / SPAN; span * SPAN <= last; span++) {
      USED.setOpaque(used, span, now);
    }
  }
}
