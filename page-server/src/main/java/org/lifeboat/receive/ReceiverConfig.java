package org.lifeboat.receive;

import static java.util.Objects.requireNonNull;

import org.lifeboat.page.PageFormat;

/**
 * How pages are received.
 *
 * @param memoryBytes all memory outside the heap: three quarters for raw pages, a quarter for
 *     parts; at least {@link #MIN_MEMORY}
 * @param compressors threads that compress
 * @param uploads parts that are on their way at the same time, at most
 * @param codecPolicy how hard to compress; belongs to this dump alone
 * @param pageSize of this host in bytes: 4096, 16384 or 65536
 */
public record ReceiverConfig(
    long memoryBytes, int compressors, int uploads, CodecPolicy codecPolicy, int pageSize) {

  /** The least memory that works, in bytes. */
  public static final long MIN_MEMORY = 32L << 20;

  /** What {@link #defaults} takes, in bytes. */
  public static final long DEFAULT_MEMORY = 256L << 20;

  private static final int DEFAULT_UPLOADS = 16;
  private static final int DEFAULT_PAGE_SIZE = 4096;

  public ReceiverConfig {
    requireNonNull(codecPolicy, "codecPolicy is null");
    PageFormat.checkPageSize(pageSize);
    if (memoryBytes < MIN_MEMORY) {
      throw new IllegalArgumentException(
          "memory for receiving pages must be at least " + MIN_MEMORY + " bytes: " + memoryBytes);
    }
    if (compressors < 1 || uploads < 1) {
      throw new IllegalArgumentException("compressors and uploads must be at least 1");
    }
  }

  /** 256 MiB, a compressor per processor, adaptive compression, pages of 4 KiB. */
  public static ReceiverConfig defaults() {
    return new ReceiverConfig(
        DEFAULT_MEMORY,
        Runtime.getRuntime().availableProcessors(),
        DEFAULT_UPLOADS,
        new AdaptiveCodec(),
        DEFAULT_PAGE_SIZE);
  }

  long partMemory() {
    return Math.max(2L * PageFormat.PART_BYTES, memoryBytes / 4);
  }

  int segments() {
    return (int) Math.min(1 << 20, (memoryBytes - partMemory()) / SegmentPool.SEGMENT_BYTES);
  }
}
