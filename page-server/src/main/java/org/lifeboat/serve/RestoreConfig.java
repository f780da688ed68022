package org.lifeboat.serve;

import org.lifeboat.page.PageFormat;

/**
 * How pages are read.
 *
 * @param memoryBytes outside the heap: parts that are fetched at the same time, and a buffer for
 *     each to decompress into; at least {@link #MIN_MEMORY}
 * @param fetches parts that are fetched at the same time, at most
 */
public record RestoreConfig(long memoryBytes, int fetches) {

  /** The least memory that works, in bytes. */
  public static final long MIN_MEMORY = 16L << 20;

  private static final long DEFAULT_MEMORY = 256L << 20;
  private static final int DEFAULT_FETCHES = 24;

  public RestoreConfig {
    if (memoryBytes < MIN_MEMORY) {
      throw new IllegalArgumentException(
          "memory for reading pages must be at least " + MIN_MEMORY + " bytes: " + memoryBytes);
    }
    if (fetches < 1) {
      throw new IllegalArgumentException("fetches must be at least 1");
    }
  }

  /** 256 MiB, up to 24 parts at a time. */
  public static RestoreConfig defaults() {
    return new RestoreConfig(DEFAULT_MEMORY, DEFAULT_FETCHES);
  }

  int parts() {
    return Math.clamp(
        memoryBytes / (PageFormat.PART_BYTES + PageReading.WORK_BYTES), 1, Math.min(fetches, 1024));
  }
}
