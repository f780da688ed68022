package org.lifeboat.page;

import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.ZstdCompressCtx;
import com.github.luben.zstd.ZstdDecompressCtx;
import com.github.luben.zstd.ZstdException;
import java.nio.ByteBuffer;
import net.jpountz.lz4.LZ4Compressor;
import net.jpountz.lz4.LZ4Exception;
import net.jpountz.lz4.LZ4Factory;
import net.jpountz.lz4.LZ4SafeDecompressor;

/**
 * Compresses and decompresses frames of at most {@link PageFormat#RANGE_BYTES} bytes in direct
 * buffers. Holds native memory; not thread-safe: one for each thread.
 *
 * <p>The decompressors are the bounds-checking ones: what is stored is not trusted, checksum or
 * not.
 */
public final class FrameCodec implements AutoCloseable {

  /** Room in bytes that {@link #compress} needs for a frame of the greatest size. */
  public static final int SCRATCH_BYTES = (int) Zstd.compressBound(PageFormat.RANGE_BYTES) + 1024;

  private final LZ4Compressor lz4 = LZ4Factory.nativeInstance().fastCompressor();
  private final LZ4SafeDecompressor unlz4 = LZ4Factory.nativeInstance().safeDecompressor();
  private final ZstdCompressCtx zstd = new ZstdCompressCtx();
  private final ZstdDecompressCtx unzstd = new ZstdDecompressCtx();

  public FrameCodec() {
    zstd.setLevel(Compression.ZSTD.level());
  }

  /**
   * Compresses into the scratch buffer, from its index 0 on.
   *
   * @return the compressed size in bytes; {@code length} or more when it did not get smaller, and
   *     the scratch then holds nothing of use
   */
  public int compress(
      Compression how, ByteBuffer source, int offset, int length, ByteBuffer scratch) {
    return switch (how) {
      case NONE -> length;
      case LZ4 -> lz4.compress(source, offset, length, scratch, 0, scratch.capacity());
      case ZSTD ->
          zstd.compressDirectByteBuffer(scratch, 0, scratch.capacity(), source, offset, length);
    };
  }

  /**
   * Decompresses {@code length} bytes into exactly {@code rawLength} bytes.
   *
   * @throws IllegalArgumentException when they are not what {@code codec} makes of that many bytes
   */
  public void decompress(
      Compression.Codec codec,
      ByteBuffer source,
      int offset,
      int length,
      ByteBuffer into,
      int intoOffset,
      int rawLength) {
    int got;
    try {
      got =
          switch (codec) {
            case RAW -> {
              if (length == rawLength) {
                into.put(intoOffset, source, offset, length);
              }
              yield length;
            }
            case LZ4 -> unlz4.decompress(source, offset, length, into, intoOffset, rawLength);
            case ZSTD ->
                unzstd.decompressDirectByteBuffer(
                    into, intoOffset, rawLength, source, offset, length);
          };
    } catch (LZ4Exception | ZstdException e) {
      throw new IllegalArgumentException("not a frame of " + codec + ": " + e.getMessage(), e);
    }
    if (got != rawLength) {
      throw new IllegalArgumentException(
          "the frame has " + got + " bytes, and " + rawLength + " were expected");
    }
  }

  @Override
  public void close() {
    zstd.close();
    unzstd.close();
  }
}
