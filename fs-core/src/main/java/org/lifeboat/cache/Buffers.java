package org.lifeboat.cache;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * Native memory for blocks on their way. Fresh memory costs more than the fetched bytes do (the
 * kernel zeroes it, page by page), so some of it is kept. Thread-safe.
 */
final class Buffers implements AutoCloseable {

  private static final int KEPT = 4;

  private final long[] sizes;
  private final Deque<Buffer> kept = new ArrayDeque<>();
  private boolean closed;

  /**
   * @param block the usual need
   * @param run the greatest usual need
   */
  Buffers(long block, long run) {
    this.sizes = new long[] {block, Math.max(block, run)};
  }

  /** Memory of one size; closing it gives it back. */
  final class Buffer implements AutoCloseable {
    private final Arena arena = Arena.ofShared();
    private final MemorySegment memory;

    private Buffer(long size) {
      memory = arena.allocate(size, 4096);
    }

    /** Its first bytes. */
    MemorySegment first(long bytes) {
      return memory.asSlice(0, bytes);
    }

    @Override
    public void close() {
      if (!keep(this)) {
        arena.close();
      }
    }
  }

  /** At least that many bytes, of any content. */
  Buffer take(long bytes) {
    long size = bytes <= sizes[0] ? sizes[0] : Math.max(bytes, sizes[1]);
    synchronized (kept) {
      for (Buffer buffer : kept) {
        if (buffer.memory.byteSize() == size) {
          kept.remove(buffer);
          return buffer;
        }
      }
    }
    return new Buffer(size);
  }

  private boolean keep(Buffer buffer) {
    long size = buffer.memory.byteSize();
    synchronized (kept) {
      if (closed || (size != sizes[0] && size != sizes[1])) {
        return false;
      }
      long same = kept.stream().filter(b -> b.memory.byteSize() == size).count();
      if (same >= KEPT) {
        return false;
      }
      kept.add(buffer);
      return true;
    }
  }

  @Override
  public void close() {
    synchronized (kept) {
      closed = true;
      kept.forEach(buffer -> buffer.arena.close());
      kept.clear();
    }
  }
}
