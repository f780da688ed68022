package org.lifeboat.page;

import com.github.luben.zstd.ZstdCompressCtx;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.zip.CRC32C;

/**
 * Writes {@code pages.index} as a stream; its format is drawn in {@link IndexFormat} and in
 * docs/format.md. Heap: less than 1 MiB, whatever the size of the dump. Not thread-safe.
 */
public final class IndexWriter implements AutoCloseable {

  private static final int ZSTD_LEVEL = 1;
  private static final int MAX_RECORD = 64;

  private final FileChannel file;
  private final int pageSize;
  private final ZstdCompressCtx zstd = new ZstdCompressCtx();
  private final MessageDigest digest = Digests.sha256();
  private final byte[] block = new byte[IndexFormat.MAX_BLOCK];
  private final byte[] packed = new byte[IndexFormat.MAX_BLOCK];
  private int length;
  private long size;
  private long blocks;

  private boolean inImage;
  private long entryEnd;
  private long lastRange;
  private int lastPack;
  private long lastEnd;

  private long images;
  private long entries;
  private long pages;
  private long zeroPages;
  private long frames;
  private long storedBytes;

  /** A finished index: its size in bytes and SHA-256 in lower-case hexadecimal. */
  public record Written(long size, String sha256, IndexTotals totals) {}

  /**
   * Creates the file, which must not exist, readable by its owner only.
   *
   * @param pageSize of the dumped host in bytes
   */
  public IndexWriter(Path path, int pageSize) throws IOException {
    this.pageSize = PageFormat.checkPageSize(pageSize);
    this.file =
        FileChannel.open(
            path,
            Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    zstd.setLevel(ZSTD_LEVEL);
    ByteBuffer header =
        ByteBuffer.allocate(IndexFormat.HEADER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    header
        .putLong(IndexFormat.MAGIC)
        .putShort((short) IndexFormat.VERSION)
        .putShort((short) 0)
        .putInt(pageSize)
        .putInt(PageFormat.RANGE_BYTES)
        .putInt(PageFormat.PART_BYTES)
        .putInt(0);
    header.putInt(Digests.crc32c(header, 0, header.position()));
    write(header.flip());
  }

  /** Begins an image. */
  public void image(ImageId image) throws IOException {
    flush(IndexFormat.KIND_RECORDS);
    ByteBuffer content =
        ByteBuffer.wrap(block, 0, IndexFormat.IMAGE_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    content.putInt(image.kind() == ImageId.Kind.TASK ? 1 : 2).putInt(0).putLong(image.id());
    length = IndexFormat.IMAGE_BYTES;
    flush(IndexFormat.KIND_IMAGE);
    images++;
    inImage = true;
    entryEnd = 0;
    lastRange = 0;
  }

  /** Adds a pagemap entry behind the last one; its frames follow. */
  public void entry(long vaddr, long pageCount, int flags) throws IOException {
    if (!inImage || vaddr < entryEnd) {
      throw new IllegalStateException("entries must ascend, inside an image");
    }
    varint(IndexFormat.RECORD_ENTRY);
    varint((vaddr - entryEnd) / pageSize);
    varint(pageCount);
    varint(flags);
    entryEnd = vaddr + pageCount * pageSize;
    entries++;
    pages += pageCount;
    flushIfFull();
  }

  /**
   * Adds the frame of the next pages.
   *
   * @param range the address of the range in bytes
   * @param present bit i is page i of the range
   * @param zero the present pages that have only zeros
   * @param ref where the others are; null when there are none, and codec and crc are not used then
   */
  public void frame(
      long range, int present, int zero, Compression.Codec codec, int crc32c, FrameRef ref)
      throws IOException {
    long number = range / PageFormat.RANGE_BYTES;
    if (number < lastRange || (present == zero) != (ref == null)) {
      throw new IllegalStateException("frames must ascend, and have bytes unless all is zero");
    }
    varint(IndexFormat.RECORD_FRAME);
    varint(number - lastRange);
    varint(present);
    varint(zero);
    lastRange = number;
    frames++;
    zeroPages += Integer.bitCount(zero);
    if (ref != null) {
      varint(codec.number());
      varint(ref.pack() - lastPack);
      varint(ref.offset() - (ref.pack() == lastPack ? lastEnd : 0));
      varint(ref.length());
      for (int shift = 0; shift < Integer.SIZE; shift += Byte.SIZE) {
        block[length++] = (byte) (crc32c >>> shift);
      }
      lastPack = ref.pack();
      lastEnd = ref.offset() + ref.length();
      storedBytes += ref.length();
    }
    flushIfFull();
  }

  /** Adds the packs and the end, and closes the file. */
  public Written finish(List<PackInfo> packs) throws IOException {
    flush(IndexFormat.KIND_RECORDS);
    for (PackInfo pack : packs) {
      byte[] key = pack.key().getBytes(StandardCharsets.UTF_8);
      if (key.length > PageFormat.MAX_KEY_BYTES) {
        throw new IllegalArgumentException("the key of a pack is too long: " + pack.key());
      }
      if (length + key.length + MAX_RECORD > IndexFormat.TARGET_BLOCK) {
        flush(IndexFormat.KIND_PACKS);
      }
      varint(key.length);
      System.arraycopy(key, 0, block, length, key.length);
      length += key.length;
      varint(pack.length());
      varint(pack.partLength());
      varint(pack.sha256().size());
      for (String part : pack.sha256()) {
        if (length + 32 > IndexFormat.TARGET_BLOCK) {
          flush(IndexFormat.KIND_PACKS);
        }
        System.arraycopy(HexFormat.of().parseHex(part), 0, block, length, 32);
        length += 32;
      }
    }
    flush(IndexFormat.KIND_PACKS);
    ByteBuffer end = ByteBuffer.wrap(block).order(ByteOrder.LITTLE_ENDIAN);
    end.putLong(images)
        .putLong(entries)
        .putLong(pages)
        .putLong(zeroPages)
        .putLong(frames)
        .putLong(storedBytes)
        .putLong(packs.size())
        .putLong(blocks);
    length = IndexFormat.END_BYTES;
    flush(IndexFormat.KIND_END);
    file.close();
    return new Written(
        size,
        Digests.hex(digest.digest()),
        new IndexTotals(images, entries, pages, zeroPages, frames, storedBytes));
  }

  private void varint(long value) {
    long rest = value;
    while ((rest & ~0x7fL) != 0) {
      block[length++] = (byte) (rest | 0x80);
      rest >>>= 7;
    }
    block[length++] = (byte) rest;
  }

  private void flushIfFull() throws IOException {
    if (length >= IndexFormat.TARGET_BLOCK - MAX_RECORD) {
      flush(IndexFormat.KIND_RECORDS);
    }
  }

  private void flush(int kind) throws IOException {
    if (length == 0) {
      return;
    }
    byte[] content = block;
    int stored = length;
    Compression.Codec codec = Compression.Codec.RAW;
    if (length > 256) {
      int compressed = zstd.compressByteArray(packed, 0, packed.length, block, 0, length);
      if (compressed < length) {
        content = packed;
        stored = compressed;
        codec = Compression.Codec.ZSTD;
      }
    }
    ByteBuffer header =
        ByteBuffer.allocate(IndexFormat.BLOCK_HEADER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    header
        .put((byte) kind)
        .put((byte) codec.number())
        .putShort((short) 0)
        .putInt(stored)
        .putInt(length);
    CRC32C crc = new CRC32C();
    crc.update(header.array(), 0, header.position());
    crc.update(content, 0, stored);
    header.putInt((int) crc.getValue());
    write(header.flip());
    write(ByteBuffer.wrap(content, 0, stored));
    blocks++;
    length = 0;
  }

  private void write(ByteBuffer bytes) throws IOException {
    size += bytes.remaining();
    digest.update(bytes.duplicate());
    while (bytes.hasRemaining()) {
      file.write(bytes);
    }
  }

  /** Closes the file; what is in it is of no use unless it was finished. */
  @Override
  public void close() throws IOException {
    zstd.close();
    file.close();
  }
}
