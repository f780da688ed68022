package org.lifeboat.serve;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;

/**
 * A {@code pagemap-*.img}: two magic numbers, then messages of protobuf, each behind its length.
 *
 * <pre>
 *   u32 0x54564319 (images of CRIU)   u32 0x56084025 (pagemap)
 *   u32 length, pagemap_head  { 1: uint32 pages_id }
 *   u32 length, pagemap_entry { 1: uint64 vaddr, 2: uint32 nr_pages, 4: uint32 flags,
 *                               5: uint64 nr_pages }            repeated
 * </pre>
 *
 * Field 5 is what CRIU reads from 4.2 on, where field 2 is still required; with both set, older
 * tools read the file too.
 */
final class PagemapFile implements AutoCloseable {

  private static final int IMAGES_MAGIC = 0x54564319;
  private static final int PAGEMAP_MAGIC = 0x56084025;
  private static final int MAX_MESSAGE = 64;
  private static final long MAX_U32 = 0xffffffffL;

  private final FileChannel file;
  private final ByteBuffer buffer = ByteBuffer.allocate(1 << 16).order(ByteOrder.LITTLE_ENDIAN);

  PagemapFile(FileChannel file, long pagesId) {
    this.file = file;
    buffer.putInt(IMAGES_MAGIC).putInt(PAGEMAP_MAGIC);
    int start = begin();
    field(1, pagesId);
    end(start);
  }

  void entry(long vaddr, long pages, int flags) throws IOException {
    if (buffer.remaining() < MAX_MESSAGE) {
      flush();
    }
    int start = begin();
    field(1, vaddr);
    field(2, pages <= MAX_U32 ? pages : 0);
    field(4, flags);
    field(5, pages);
    end(start);
  }

  private int begin() {
    int start = buffer.position();
    buffer.putInt(0);
    return start;
  }

  private void end(int start) {
    buffer.putInt(start, buffer.position() - start - Integer.BYTES);
  }

  private void field(int number, long value) {
    buffer.put((byte) (number << 3));
    long rest = value;
    while ((rest & ~0x7fL) != 0) {
      buffer.put((byte) (rest | 0x80));
      rest >>>= 7;
    }
    buffer.put((byte) rest);
  }

  private void flush() throws IOException {
    buffer.flip();
    while (buffer.hasRemaining()) {
      file.write(buffer);
    }
    buffer.clear();
  }

  @Override
  public void close() throws IOException {
    if (file.isOpen()) {
      try (file) {
        flush();
      }
    }
  }
}
