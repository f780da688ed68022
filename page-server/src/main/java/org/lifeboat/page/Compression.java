package org.lifeboat.page;

/**
 * How hard a frame is compressed, from the cheapest to the strongest. What is stored names only the
 * {@linkplain #codec() codec}: a reader need not know the level.
 *
 * <p>Measured on memory of four programs (a Java heap, arrays, text, a database), frames of 64 KiB,
 * one core: LZ4 1.7 to 2.4x at 0.95 GB/s, zstd 1 2.2 to 4.3x at 0.48 GB/s. The fast level zstd -1
 * has nine tenths of zstd 1's cost and four fifths of its ratio, zstd 2 and 3 cost a fifth more for
 * 2 %, and frames of 256 KiB or 8 MiB would be smaller by 1 to 4 %: none of them is worth it.
 */
public enum Compression {
  NONE(Codec.RAW, 0),
  LZ4(Codec.LZ4, 0),
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
