package org.lifeboat.cache;

import java.lang.foreign.MemorySegment;

/**
 * Reads one open handle of a file, and ahead of it what will be asked for next. Thread-safe.
 *
 * <p>Up to {@link #STREAMS} places of a handle are followed at once, as one handle is often read by
 * several threads, or by a kernel that splits and reorders requests. A read continues a stream when
 * it begins at most two blocks before or behind its end, or anywhere in what was fetched ahead of
 * it. The second such read, and a first one at the file's begin, starts a window of one block ahead
 * of it. The window doubles each time the reader has used up half of it: so the distance grows to
 * what the link's delay needs, within the time of a few round trips, and a file that is read in
 * small pieces at random costs nothing but the blocks it asks for. A read elsewhere takes the place
 * of the stream that was idle longest.
 *
 * <p>The window ends at 64 MiB, an eighth of the cache, or what fetches may hold of memory,
 * whichever is least. Requests grow with it, from one block to a quarter of the window, as long as
 * one carries at most what {@link Tuning} says. Capacity that others need is not taken: what was
 * not begun for want of it is begun at one of the next reads.
 *
 * <p>Rejected: a window by time and bandwidth (it needs a clock that is right, and is wrong
 * whenever the reader computes between reads); reading ahead in memory (the kernel's page cache of
 * the content's file is that memory, and is given back when somebody needs it).
 */
public final class Readahead {

  static final int STREAMS = 4;
  private static final long MOST = 64 << 20;
  private static final int TOLERANCE = 2;

  private final Content content;
  private final int runBytes;
  private final long limit;
  private final Stream[] streams = new Stream[STREAMS];
  private long reads;

  private static final class Stream {
    /** Where the next read is expected. */
    long next;

    /** In blocks; 0 until it is known to be sequential. */
    int window;

    /** First block that was not asked for. */
    int ahead;

    long lastRead;
  }

  Readahead(Content content, Tuning tuning, long cacheBytes, long fetchBytes) {
    this.content = content;
    this.runBytes = tuning.runBytes();
    this.limit = Math.min(MOST, Math.min(cacheBytes / 8, fetchBytes));
  }

  /** As {@link Content#read}; begins to fetch what comes after it. */
  public int read(long offset, MemorySegment into) throws CacheException {
    Blocks blocks = content.blocks();
    if (blocks != null && !blocks.isWhole() && offset < blocks.size() && into.byteSize() > 0) {
      plan(blocks, offset, Math.min(into.byteSize(), blocks.size() - offset));
    }
    return content.read(offset, into);
  }

  private synchronized void plan(Blocks blocks, long offset, long length) {
    Stream stream = find(blocks, offset);
    boolean fresh = stream == null;
    if (fresh) {
      stream = replace();
      stream.next = offset;
      stream.window = 0;
      stream.ahead = 0;
    }
    stream.lastRead = ++reads;
    long end = offset + length;
    if (end <= stream.next) {
      return; // a step back
    }
    stream.next = end;
    if (fresh && offset > 0) {
      return;
    }
    int most = (int) Math.max(1, limit / blocks.blockSize());
    int from = blocks.blockOf(end - 1) + 1;
    long left = stream.ahead <= from ? 0 : stream.ahead - from;
    if (stream.window == 0) {
      stream.window = 1;
    } else if (2 * left <= stream.window) {
      stream.window = Math.min(2 * stream.window, most);
    } else {
      return;
    }
    int begin = Math.max(stream.ahead, from);
    int to = (int) Math.min(blocks.count(), (long) from + stream.window);
    if (begin < to) {
      int run = Math.clamp(stream.window / 4, 1, Math.max(1, runBytes / blocks.blockSize()));
      stream.ahead = content.fetchAhead(begin, to, run);
    }
  }

  private Stream find(Blocks blocks, long offset) {
    long tolerance = (long) TOLERANCE * blocks.blockSize();
    Stream best = null;
    for (Stream stream : streams) {
      if (stream != null
          && offset >= stream.next - tolerance
          && offset <= Math.max(stream.next + tolerance, (long) stream.ahead * blocks.blockSize())
          && (best == null || Math.abs(offset - stream.next) < Math.abs(offset - best.next))) {
        best = stream;
      }
    }
    return best;
  }

  private Stream replace() {
    int oldest = 0;
    for (int i = 0; i < STREAMS; i++) {
      if (streams[i] == null) {
        streams[i] = new Stream();
        return streams[i];
      }
      if (streams[i].lastRead < streams[oldest].lastRead) {
        oldest = i;
      }
    }
    return streams[oldest];
  }

  /** The greatest window of the streams, in blocks. */
  synchronized int window() {
    int window = 0;
    for (Stream stream : streams) {
      window = stream == null ? window : Math.max(window, stream.window);
    }
    return window;
  }
}
