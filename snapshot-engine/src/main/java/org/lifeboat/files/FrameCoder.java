package org.lifeboat.files;

import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.ZstdCompressCtx;
import com.github.luben.zstd.ZstdDecompressCtx;
import com.github.luben.zstd.ZstdException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.util.zip.CRC32C;
import org.lifeboat.sys.BytePath;

/** Packs and unpacks frames with buffers of its own, 2 MiB. For one thread. */
final class FrameCoder implements AutoCloseable {

  /** zstd's level -1: 0.66 GB/s a core, and still three quarters of what level 1 saves. */
  private static final int LEVEL = -1;

  private final Arena arena = Arena.ofShared();
  private final ByteBuffer raw = arena.allocate(Frame.MAX_RAW, 4096).asByteBuffer();
  private final ByteBuffer stored =
      arena.allocate(Zstd.compressBound(Frame.MAX_RAW), 4096).asByteBuffer();
  private final ZstdCompressCtx compressor = new ZstdCompressCtx().setLevel(LEVEL);
  private final ZstdDecompressCtx decompressor = new ZstdDecompressCtx();

  /** The raw bytes of the next {@link #encode}; cleared. */
  ByteBuffer raw() {
    return raw.clear();
  }

  /** Stores the first {@code length} raw bytes as the piece of a file at {@code offset}. */
  Frame encode(long offset, int length, ContentSink sink) throws IOException {
    stored.clear();
    int packed = compressor.compressDirectByteBuffer(stored, 0, stored.capacity(), raw, 0, length);
    boolean shrinks = packed < length - length / 16;
    ByteBuffer out = shrinks ? stored.limit(packed) : raw.clear().limit(length);
    int crc = crc(out);
    ContentRef ref = sink.append(out);
    return new Frame(offset, length, ref, shrinks ? Frame.Codec.ZSTD : Frame.Codec.RAW, crc);
  }

  /** Reads a frame and checks it; the result is valid until the next call. */
  ByteBuffer decode(BytePath path, Frame frame, ContentSource source) throws FilesException {
    ContentRef ref = frame.ref();
    ByteBuffer in = stored.clear().limit(ref.length());
    try {
      source.read(ref, in);
    } catch (IOException e) {
      throw FilesException.of("read content of", path, "", e);
    }
    if (in.hasRemaining()) {
      throw damaged(path, frame, in.remaining() + " bytes are missing", null);
    }
    in.flip();
    if (crc(in) != frame.crc()) {
      throw damaged(path, frame, "its checksum is wrong", null);
    }
    if (frame.codec() == Frame.Codec.RAW) {
      return in;
    }
    raw.clear(); // its limit is still that of the frame before
    try {
      int n =
          decompressor.decompressDirectByteBuffer(raw, 0, frame.length(), stored, 0, ref.length());
      if (n != frame.length()) {
        throw damaged(path, frame, "it holds " + n + " bytes, not " + frame.length(), null);
      }
    } catch (ZstdException e) {
      throw damaged(path, frame, String.valueOf(e.getMessage()), e);
    }
    return raw.clear().limit(frame.length());
  }

  private static int crc(ByteBuffer bytes) {
    CRC32C crc = new CRC32C();
    crc.update(bytes.duplicate());
    return (int) crc.getValue();
  }

  private static FilesException damaged(
      BytePath path, Frame frame, String detail, Throwable cause) {
    return new FilesException(
        "read content of",
        path,
        "the frame at "
            + frame.offset()
            + " (pack "
            + frame.ref().pack()
            + ", offset "
            + frame.ref().offset()
            + ") is damaged: "
            + detail,
        null,
        "fetch the pack again, or restore an older snapshot",
        cause);
  }

  @Override
  public void close() {
    compressor.close();
    decompressor.close();
    arena.close();
  }
}
