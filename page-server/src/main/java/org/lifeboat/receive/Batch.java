package org.lifeboat.receive;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.lifeboat.page.Compression;
import org.lifeboat.page.ImageId;

/**
 * A segment on its way: the receiver fills it and notes what is in it, a compressor makes frames of
 * that, the packer takes them. Batches are handed from thread to thread through queues and the
 * latch; nobody touches one that he has handed on.
 */
final class Batch {

  private final ByteBuffer segment;
  private final List<Step> steps = new ArrayList<>();
  private final List<Piece> pieces = new ArrayList<>();
  private final CountDownLatch compressed = new CountDownLatch(1);

  /** What the receiver saw, in order. */
  sealed interface Step {}

  /** An image was opened. */
  record Opened(ImageId image) implements Step {}

  /**
   * A run of pages, which lies in the segment behind the run before.
   *
   * @param entryPages the pages of the whole entry if the run is its beginning, otherwise 0
   */
  record Extent(long vaddr, int pages, int offset, long entryPages, int flags) implements Step {}

  /** What the compressor made, in the order of the index. */
  sealed interface Piece {}

  /** An image begins. */
  record ImagePiece(ImageId image) implements Piece {}

  /** A pagemap entry begins. */
  record EntryPiece(long vaddr, long pages, int flags) implements Piece {}

  /**
   * A frame, whose stored bytes are in the segment.
   *
   * @param length 0 when all its pages are zero
   */
  record FramePiece(
      long range,
      int present,
      int zero,
      Compression.Codec codec,
      int offset,
      int length,
      int crc32c)
      implements Piece {}

  Batch(ByteBuffer segment) {
    this.segment = segment;
  }

  ByteBuffer segment() {
    return segment;
  }

  List<Step> steps() {
    return steps;
  }

  List<Piece> pieces() {
    return pieces;
  }

  void setCompressed() {
    compressed.countDown();
  }

  void awaitCompressed() throws InterruptedException {
    compressed.await();
  }
}
