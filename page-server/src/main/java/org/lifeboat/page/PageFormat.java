package org.lifeboat.page;

/** Sizes that the formats of packs and of {@code pages.index} share. */
public final class PageFormat {

  /** A frame holds pages of one range of this many bytes, aligned to it. */
  public static final int RANGE_BYTES = 64 * 1024;

  /** Size of a part in bytes: all of a pack's but the last. */
  public static final int PART_BYTES = 8 * 1024 * 1024;

  /** Parts of a pack at most; stores take 10,000. */
  public static final int MAX_PARTS = 8192;

  static final int MAX_KEY_BYTES = 1024;

  private PageFormat() {}

  /** Whether a host may have pages of this many bytes. */
  public static boolean isPageSize(int bytes) {
    return bytes == 4096 || bytes == 16384 || bytes == 65536;
  }

  /** The size, when {@link #isPageSize}. */
  public static int checkPageSize(int bytes) {
    if (!isPageSize(bytes)) {
      throw new IllegalArgumentException("not a page size: " + bytes);
    }
    return bytes;
  }
}
