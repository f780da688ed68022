package org.lifeboat.page;

import java.io.IOException;

/** Is told what an index holds, in its order; see {@link IndexReader#read}. */
public interface IndexVisitor {

  /** An image begins; what follows belongs to it. */
  void image(ImageId image) throws IOException;

  /** A pagemap entry as it was received. */
  void entry(long vaddr, long pages, int flags) throws IOException;

  /**
   * The next pages of the entries so far.
   *
   * @param firstPage the number of present pages of this image before this frame
   * @param present the number of pages that it holds: 1 to 16
   * @param zero bit i is set when the i-th of them is a zero page, of which nothing is stored
   * @param codec what compressed the others
   * @param crc32c of the stored bytes
   * @param ref where they are; null when all are zero pages
   */
  void frame(
      long firstPage, int present, int zero, Compression.Codec codec, int crc32c, FrameRef ref)
      throws IOException;
}
