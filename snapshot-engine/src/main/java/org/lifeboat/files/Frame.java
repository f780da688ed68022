package org.lifeboat.files;

import java.util.Optional;

/**
 * A piece of a file's content, as it is stored.
 *
 * @param offset where in the file it belongs, bytes
 * @param length raw bytes; 1 to {@link #MAX_RAW}
 * @param ref where it is stored
 * @param codec how
 * @param crc CRC32C of the stored bytes
 */
public record Frame(long offset, int length, ContentRef ref, Codec codec, int crc) {

  /** Most raw bytes of a frame: 1 MiB. */
  public static final int MAX_RAW = 1 << 20;

  /** Most stored bytes of a frame: one that doesn't shrink is stored raw. */
  public static final int MAX_STORED = MAX_RAW;

  /** How a frame is stored. */
  public enum Codec {
    /** As it is. */
    RAW(0),
    /** One zstd frame. */
    ZSTD(1);

    private final int code;

    Codec(int code) {
      this.code = code;
    }

    /** The number that stands for it in manifests. */
    int code() {
      return code;
    }

    static Optional<Codec> of(long code) {
      for (Codec codec : values()) {
        if (codec.code == code) {
          return Optional.of(codec);
        }
      }
      return Optional.empty();
    }
  }
}
