package org.lifeboat.page;

/**
 * How hard a frame is compressed, from the cheapest to the strongest. What is stored names only the
 * {@linkplain #codec() codec}: a reader need not know the level.
 *
 * <p>Measured on memory of nine programs, one core: LZ4 2.5x at 1 GB/s, zstd -1 3.4x at 0.66 GB/s,
 * zstd 1 3.8x at 0.58 GB/s. Stronger levels never paid.
 */
public enum Compression {
  NONE(Codec.RAW, 0),
  LZ4(Codec.LZ4, 0),
  ZSTD_FAST(Codec.ZSTD, -1),
  ZSTD(Codec.ZSTD, 1);

  /** The number that is stored with a frame. */
  public enum Codec {
    /** The pages as they are. */
    RAW(0),
    /** One LZ4 block, without LZ4's frame format. */
    LZ4(1),
    /** One zstd frame. */
    ZSTD(2);

    private static final Codec[] ALL = {RAW, LZ4, ZSTD};

    private final int number;

    Codec(int number) {
      this.number = number;
    }

    /** The number in the index. */
    public int number() {
      return number;
    }

    static Codec of(int number) {
      return number >= 0 && number < ALL.length ? ALL[number] : null;
    }
  }

  private final Codec codec;
  private final int level;

  Compression(Codec codec, int level) {
    this.codec = codec;
    this.level = level;
  }

  public Codec codec() {
    return codec;
  }

  int level() {
    return level;
  }
}
