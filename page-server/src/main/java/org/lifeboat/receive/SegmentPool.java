package org.lifeboat.receive;

import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;

/**
 * The memory that raw pages land in: a fixed number of segments of 1 MiB, made when first needed.
 * The one that was given back last is taken first, because the processor's caches still hold it.
 * Thread-safe.
 */
final class SegmentPool implements AutoCloseable {

  static final int SEGMENT_BYTES = 1 << 20;

  private final Arena arena = Arena.ofShared();
  private final ArrayDeque<ByteBuffer> free = new ArrayDeque<>();
  private final int capacity;
  private int made;
  private int waits;
  private boolean closed;

  SegmentPool(int capacity) {
    this.capacity = capacity;
  }

  /** Takes a segment, position 0; waits while there is none. */
  synchronized ByteBuffer take() throws InterruptedException {
    boolean waited = false;
    while (free.isEmpty() && made == capacity) {
      if (!waited) {
        waits++;
        waited = true;
      }
      wait();
    }
    if (!free.isEmpty()) {
      return free.pop().clear();
    }
    made++;
    return arena.allocate(SEGMENT_BYTES, 4096).asByteBuffer();
  }

  synchronized void give(ByteBuffer segment) {
    free.push(segment);
    notifyAll();
  }

  /** How many are taken: 0 to {@link #capacity()}. */
  synchronized int used() {
    return closed ? 0 : made - free.size();
  }

  int capacity() {
    return capacity;
  }

  /** How often a taker had to wait. */
  synchronized int waits() {
    return waits;
  }

  synchronized long memoryBytes() {
    return closed ? 0 : (long) made * SEGMENT_BYTES;
  }

  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      arena.close();
    }
  }
}
