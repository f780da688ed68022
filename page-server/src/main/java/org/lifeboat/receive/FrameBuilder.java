package org.lifeboat.receive;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import org.lifeboat.page.Compression;
import org.lifeboat.page.Digests;
import org.lifeboat.page.FrameCodec;
import org.lifeboat.page.PageFormat;

/**
 * Makes the frames of a batch: finds its zero pages, and compresses the others, those of a 64 KiB
 * range together, back into the segment in their own place. One for each compressor thread.
 */
final class FrameBuilder implements AutoCloseable {

  private final int pageSize;
  private final FrameCodec codec = new FrameCodec();
  private final ByteBuffer scratch = ByteBuffer.allocateDirect(FrameCodec.SCRATCH_BYTES);

  private Batch batch;
  private ByteBuffer segment;
  private MemorySegment memory;
  private Compression compression;
  private long zeroPages;

  private long range;
  private int present;
  private int zero;
  private int begin;
  private int end;

  FrameBuilder(int pageSize) {
    this.pageSize = pageSize;
  }

  /**
   * Fills the batch's pieces.
   *
   * @return the number of zero pages in it
   */
  long build(Batch of, Compression how) {
    batch = of;
    segment = of.segment().duplicate().clear();
    memory = MemorySegment.ofBuffer(segment);
    compression = how;
    zeroPages = 0;
    int from = 0;
    int steps = of.steps().size();
    for (int i = 0; i < steps; i++) {
      if (of.steps().get(i) instanceof Batch.Opened opened) {
        run(from, i);
        of.pieces().add(new Batch.ImagePiece(opened.image()));
        from = i + 1;
      }
    }
    run(from, steps);
    return zeroPages;
  }

  /** The extents of one image: first the entries that begin there, then the frames. */
  private void run(int from, int to) {
    for (int i = from; i < to; i++) {
      Batch.Extent extent = (Batch.Extent) batch.steps().get(i);
      if (extent.entryPages() > 0) {
        batch
            .pieces()
            .add(new Batch.EntryPiece(extent.vaddr(), extent.entryPages(), extent.flags()));
      }
    }
    present = 0;
    for (int i = from; i < to; i++) {
      Batch.Extent extent = (Batch.Extent) batch.steps().get(i);
      for (int page = 0; page < extent.pages(); page++) {
        add(extent.vaddr() + (long) page * pageSize, extent.offset() + page * pageSize);
      }
    }
    emit();
  }

  private void add(long vaddr, int offset) {
    long of = vaddr - vaddr % PageFormat.RANGE_BYTES;
    if (present == 0 || of != range) {
      emit();
      range = of;
      begin = offset;
      end = offset;
    }
    int bit = 1 << (int) ((vaddr - of) / pageSize);
    present |= bit;
    if (isZero(offset)) {
      zero |= bit;
      zeroPages++;
    } else {
      if (end != offset) {
        segment.put(end, segment, offset, pageSize);
      }
      end += pageSize;
    }
  }

  private boolean isZero(int offset) {
    for (int at = offset; at < offset + pageSize; at += 64) {
      long any =
          memory.get(ValueLayout.JAVA_LONG, at)
              | memory.get(ValueLayout.JAVA_LONG, at + 8)
              | memory.get(ValueLayout.JAVA_LONG, at + 16)
              | memory.get(ValueLayout.JAVA_LONG, at + 24)
              | memory.get(ValueLayout.JAVA_LONG, at + 32)
              | memory.get(ValueLayout.JAVA_LONG, at + 40)
              | memory.get(ValueLayout.JAVA_LONG, at + 48)
              | memory.get(ValueLayout.JAVA_LONG, at + 56);
      if (any != 0) {
        return false;
      }
    }
    return true;
  }

  private void emit() {
    if (present != 0) {
      int raw = end - begin;
      int length = raw;
      Compression.Codec used = Compression.Codec.RAW;
      if (raw > 0 && compression != Compression.NONE) {
        int compressed = codec.compress(compression, segment, begin, raw, scratch);
        if (compressed < raw) {
          segment.put(begin, scratch, 0, compressed);
          length = compressed;
          used = compression.codec();
        }
      }
      int crc = raw > 0 ? Digests.crc32c(segment, begin, length) : 0;
      batch.pieces().add(new Batch.FramePiece(range, present, zero, used, begin, length, crc));
    }
    present = 0;
    zero = 0;
  }

  @Override
  public void close() {
    codec.close();
  }
}
