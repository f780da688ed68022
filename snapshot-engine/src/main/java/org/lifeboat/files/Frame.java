package org.lifeboat.files;

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

  /** How a frame is stored. The names are written into manifests. */
  public enum Codec {
    /** As it is. */
    RAW,
    /** One zstd frame. */
    ZSTD
  }
}
