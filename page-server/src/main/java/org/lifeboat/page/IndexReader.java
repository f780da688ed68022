package org.lifeboat.page;

import com.github.luben.zstd.ZstdDecompressCtx;
import com.github.luben.zstd.ZstdException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.zip.CRC32C;

/**
 * Reads {@code pages.index} ({@link IndexFormat}) and trusts none of it: every number is checked
 * against what it counts or points at, the totals at the end against what was read. Anything wrong
 * is a {@link PageFormatException}. Memory: 2 MiB, and the digests of the packs, which are not more
 * than the file itself.
 *
 * <p>Not thread-safe.
 */
public final class IndexReader implements AutoCloseable {

  /** Entries that have pages without a frame, at most: far more than a batch of a writer has. */
  private static final int MAX_OPEN_ENTRIES = 1 << 16;

  private static final int MAX_PACKS = 1 << 20;

  private final String name;
  private final FileChannel file;
  private final ZstdDecompressCtx zstd = new ZstdDecompressCtx();
  private ByteBuffer stored = room(IndexFormat.HEADER_BYTES);
  private ByteBuffer content = room(IndexFormat.HEADER_BYTES);

  private long position;
  private long blockStart;
  private int kind;

  private int pageSize;
  private IndexTotals totals;
  private long packCount;
  private final List<PackInfo> packs = new ArrayList<>();

  /**
   * Opens the file, checks its outline and reads the packs and the totals.
   *
   * @throws PageFormatException when it is damaged, truncated or of a newer format
   */
  public static IndexReader open(Path path) throws IOException {
    IndexReader reader =
        new IndexReader(
            path.getFileName().toString(), FileChannel.open(path, StandardOpenOption.READ));
    try {
      reader.scan();
      return reader;
    } catch (IOException | RuntimeException e) {
      try {
        reader.close();
      } catch (IOException suppressed) {
        e.addSuppressed(suppressed);
      }
      throw e;
    }
  }

  private IndexReader(String name, FileChannel file) {
    this.name = name;
    this.file = file;
  }

  /** Of the dumped host, in bytes. */
  public int pageSize() {
    return pageSize;
  }

  /** The packs that frames refer to, by their number. */
  public List<PackInfo> packs() {
    return List.copyOf(packs);
  }

  /** What the writer counted; {@link #read} checks it. */
  public IndexTotals totals() {
    return totals;
  }

  private static ByteBuffer room(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private PageFormatException damaged(String detail) {
    return new PageFormatException(name, blockStart, detail);
  }

  private void scan() throws IOException {
    readHeader();
    long size = file.size();
    long blocks = 0;
    boolean ended = false;
    PackTable table = new PackTable();
    while (position < size) {
      if (ended) {
        throw new PageFormatException(name, position, "there is something behind the end");
      }
      int next = peekKind(size);
      if (next == IndexFormat.KIND_PACKS) {
        nextBlock(size);
        table.add(content);
      } else if (next == IndexFormat.KIND_END) {
        nextBlock(size);
        readEnd(blocks);
        ended = true;
      } else {
        if (next < IndexFormat.FIRST_OPTIONAL_KIND && table.begun()) {
          throw damaged("a block of kind " + next + " behind the packs");
        }
        skipBlock(size);
      }
      blocks++;
    }
    if (!ended) {
      throw new PageFormatException(name, size, "the end is missing: the file is truncated");
    }
    table.finish();
    if (packs.size() != packCount) {
      throw damaged(packs.size() + " packs where " + packCount + " should be");
    }
  }

  private void readHeader() throws IOException {
    position = 0;
    blockStart = 0;
    stored.clear().limit(IndexFormat.HEADER_BYTES);
    readFully(stored, "the header");
    if (stored.getLong(0) != IndexFormat.MAGIC) {
      throw damaged("this is no index of pages");
    }
    int crc = Digests.crc32c(stored, 0, IndexFormat.HEADER_BYTES - Integer.BYTES);
    if (crc != stored.getInt(28)) {
      throw damaged("the header's checksum is wrong");
    }
    int version = Short.toUnsignedInt(stored.getShort(8));
    if (version != IndexFormat.VERSION) {
      throw damaged(
          "format version "
              + version
              + " is not known here, only "
              + IndexFormat.VERSION
              + " (install the Lifeboat that wrote it, or a newer one)");
    }
    pageSize = stored.getInt(12);
    if (!PageFormat.isPageSize(pageSize)
        || stored.getInt(16) != PageFormat.RANGE_BYTES
        || stored.getInt(20) != PageFormat.PART_BYTES
        || stored.getInt(24) != 0) {
      throw damaged("unknown sizes in the header");
    }
  }

  private void readFully(ByteBuffer into, String what) throws IOException {
    while (into.hasRemaining()) {
      int n = file.read(into, position);
      if (n < 0) {
        throw new PageFormatException(name, position, what + " is truncated");
      }
      position += n;
    }
  }

  /** Reads a block's header, checks its lengths, and leaves the position behind the header. */
  private int peekKind(long size) throws IOException {
    blockStart = position;
    stored.clear().limit(IndexFormat.BLOCK_HEADER_BYTES);
    readFully(stored, "a block's header");
    kind = Byte.toUnsignedInt(stored.get(0));
    int storedLength = stored.getInt(4);
    int contentLength = stored.getInt(8);
    if (storedLength <= 0
        || storedLength > IndexFormat.MAX_BLOCK
        || contentLength <= 0
        || contentLength > IndexFormat.MAX_BLOCK
        || stored.getShort(2) != 0) {
      throw damaged("a block of impossible size");
    }
    if (kind == 0 || (kind > IndexFormat.KIND_END && kind < IndexFormat.FIRST_OPTIONAL_KIND)) {
      throw damaged("unknown kind of block: " + kind);
    }
    if (storedLength > size - position) {
      throw damaged("a block is truncated");
    }
    return kind;
  }

  private void skipBlock(long size) throws IOException {
    position += stored.getInt(4);
    if (position > size) {
      throw damaged("a block is truncated");
    }
  }

  /** Reads and unpacks the block whose header was just read; both buffers are whole arrays. */
  @SuppressWarnings("ByteBufferBackingArray")
  private void nextBlock(long size) throws IOException {
    int storedLength = stored.getInt(4);
    int contentLength = stored.getInt(8);
    Compression.Codec codec = Compression.Codec.of(Byte.toUnsignedInt(stored.get(1)));
    int expected = stored.getInt(12);
    int all = IndexFormat.BLOCK_HEADER_BYTES + storedLength;
    if (stored.capacity() < all) {
      stored = room(Math.max(all, IndexFormat.TARGET_BLOCK)).put(stored.flip());
    }
    stored.limit(all);
    readFully(stored, "a block");
    if (position > size) {
      throw damaged("the file grows");
    }
    CRC32C crc = new CRC32C();
    crc.update(stored.array(), 0, 12);
    crc.update(stored.array(), IndexFormat.BLOCK_HEADER_BYTES, storedLength);
    if ((int) crc.getValue() != expected) {
      throw damaged("a block's checksum is wrong");
    }
    if (content.capacity() < contentLength) {
      content = room(Math.max(contentLength, IndexFormat.TARGET_BLOCK));
    }
    content.clear().limit(contentLength);
    if (codec == Compression.Codec.RAW && storedLength == contentLength) {
      content.put(0, stored, IndexFormat.BLOCK_HEADER_BYTES, storedLength);
    } else if (codec == Compression.Codec.ZSTD) {
      int got;
      try {
        got =
            zstd.decompressByteArray(
                content.array(),
                0,
                contentLength,
                stored.array(),
                IndexFormat.BLOCK_HEADER_BYTES,
                storedLength);
      } catch (ZstdException e) {
        throw new PageFormatException(name, blockStart, "a block cannot be decompressed", e);
      }
      if (got != contentLength) {
        throw damaged("a block has " + got + " bytes instead of " + contentLength);
      }
    } else {
      throw damaged("a block's codec is not known");
    }
  }

  private long varint() throws PageFormatException {
    long value = 0;
    for (int shift = 0; shift < Long.SIZE; shift += 7) {
      if (!content.hasRemaining()) {
        throw damaged("a record is cut off");
      }
      byte b = content.get();
      value |= (long) (b & 0x7f) << shift;
      if (b >= 0) {
        return value;
      }
    }
    throw damaged("a number is too long");
  }

  private long varint(long min, long max, String what) throws PageFormatException {
    long value = varint();
    if (value < min || value > max) {
      throw damaged(
          what + " is out of range: " + Long.toUnsignedString(value) + ", " + min + " to " + max);
    }
    return value;
  }

  private void readEnd(long blocks) throws PageFormatException {
    if (content.limit() != IndexFormat.END_BYTES) {
      throw damaged("the end block has a wrong size");
    }
    totals =
        new IndexTotals(
            content.getLong(0),
            content.getLong(8),
            content.getLong(16),
            content.getLong(24),
            content.getLong(32),
            content.getLong(40));
    packCount = content.getLong(48);
    if (content.getLong(56) != blocks) {
      throw damaged(blocks + " blocks where " + content.getLong(56) + " should be");
    }
  }

  private final class PackTable {
    private boolean begun;
    private String key;
    private long length;
    private int partLength;
    private long missing;
    private List<String> digests;

    boolean begun() {
      return begun;
    }

    void add(ByteBuffer block) throws PageFormatException {
      begun = true;
      while (block.hasRemaining()) {
        if (missing == 0) {
          begin(block);
        }
        while (missing > 0 && block.remaining() >= 32) {
          byte[] digest = new byte[32];
          block.get(digest);
          digests.add(Digests.hex(digest));
          missing--;
        }
        if (missing > 0 && block.hasRemaining()) {
          throw damaged("a digest is cut off");
        }
        if (missing == 0) {
          packs.add(new PackInfo(key, length, partLength, digests));
        }
      }
    }

    private void begin(ByteBuffer block) throws PageFormatException {
      if (packs.size() == MAX_PACKS) {
        throw damaged("too many packs");
      }
      byte[] bytes =
          new byte[(int) varint(1, Math.min(PageFormat.MAX_KEY_BYTES, block.remaining()), "a key")];
      if (bytes.length > block.remaining()) {
        throw damaged("a key is cut off");
      }
      block.get(bytes);
      key = new String(bytes, StandardCharsets.UTF_8);
      checkKey();
      length = varint(1, (long) PageFormat.MAX_PARTS * PageFormat.PART_BYTES, "a pack's length");
      partLength = (int) varint(PageFormat.PART_BYTES, PageFormat.PART_BYTES, "a part's length");
      long parts = (length + partLength - 1) / partLength;
      missing = varint(parts, parts, "the number of parts");
      digests = new ArrayList<>();
    }

    private void checkKey() throws PageFormatException {
      for (String segment : key.split("/", -1)) {
        if (segment.isEmpty() || segment.equals(".") || segment.equals("..")) {
          throw damaged("not a key: " + key);
        }
      }
      if (key.indexOf('\ufffd') >= 0 || key.chars().anyMatch(c -> c < ' ')) {
        throw damaged("not a key");
      }
    }

    void finish() throws PageFormatException {
      if (missing > 0) {
        throw damaged("the digests of " + key + " are cut off");
      }
    }
  }

  /**
   * Reads everything, in order. May be called again.
   *
   * @throws PageFormatException when a page of an entry has no frame or two, a frame lies outside
   *     its pack, or anything else is wrong; the visitor has then been told what was before it
   */
  public void read(IndexVisitor visitor) throws IOException {
    new Reading(visitor).run();
  }

  private final class Reading {
    private final IndexVisitor visitor;
    private final int pagesPerRange = PageFormat.RANGE_BYTES / pageSize;
    private final Set<ImageId> seen = new HashSet<>();

    /** The entries that have pages without a frame: address of the next such page, and its end. */
    private final ArrayDeque<long[]> open = new ArrayDeque<>();

    private boolean inImage;
    private long entryEnd;
    private long range;
    private long pagesDone;

    private int pack;
    private long packEnd;

    private long images;
    private long entries;
    private long pages;
    private long zeroPages;
    private long frames;
    private long storedBytes;

    Reading(IndexVisitor visitor) {
      this.visitor = visitor;
    }

    void run() throws IOException {
      long size = file.size();
      position = IndexFormat.HEADER_BYTES;
      while (position < size) {
        int next = peekKind(size);
        if (next >= IndexFormat.FIRST_OPTIONAL_KIND) {
          skipBlock(size);
          continue;
        }
        nextBlock(size);
        switch (next) {
          case IndexFormat.KIND_IMAGE -> image();
          case IndexFormat.KIND_RECORDS -> records();
          default -> {
            endImage();
            inImage = false;
          }
        }
      }
      endImage();
      IndexTotals read = new IndexTotals(images, entries, pages, zeroPages, frames, storedBytes);
      if (!read.equals(totals)) {
        throw damaged("it holds " + read + " where " + totals + " should be");
      }
    }

    private void image() throws IOException {
      endImage();
      if (content.limit() != IndexFormat.IMAGE_BYTES || content.getInt(4) != 0) {
        throw damaged("an image block has a wrong size");
      }
      int number = content.getInt(0);
      long id = content.getLong(8);
      if (number < 1 || number > 2 || id < 0 || id > ImageId.MAX_ID) {
        throw damaged("not an image: kind " + number + ", id " + id);
      }
      ImageId image = new ImageId(number == 1 ? ImageId.Kind.TASK : ImageId.Kind.SHMEM, id);
      if (images == totals.images() || !seen.add(image)) {
        throw damaged(image + " comes twice, or there are too many images");
      }
      images++;
      inImage = true;
      entryEnd = 0;
      range = 0;
      pagesDone = 0;
      visitor.image(image);
    }

    private void endImage() throws PageFormatException {
      if (!open.isEmpty()) {
        throw damaged("the page at 0x" + Long.toHexString(open.peek()[0]) + " has no frame");
      }
    }

    private void records() throws IOException {
      if (!inImage) {
        throw damaged("records outside an image");
      }
      while (content.hasRemaining()) {
        switch ((int) varint(1, 2, "a kind of record")) {
          case IndexFormat.RECORD_ENTRY -> entry();
          default -> frame();
        }
      }
    }

    private void entry() throws IOException {
      long maxPages = ImageId.MAX_ADDRESS / pageSize;
      long vaddr = entryEnd + varint(0, maxPages - entryEnd / pageSize, "an address") * pageSize;
      long count = varint(1, maxPages - vaddr / pageSize, "a number of pages");
      int flags = (int) varint(0, PagemapFlags.KNOWN, "an entry's flags");
      if ((flags & PagemapFlags.PRESENT) == 0 || (flags & PagemapFlags.PARENT) != 0) {
        throw damaged("an entry without its pages, flags " + flags);
      }
      if (open.size() == MAX_OPEN_ENTRIES) {
        throw damaged("too many entries without frames");
      }
      entryEnd = vaddr + count * pageSize;
      open.add(new long[] {vaddr, entryEnd});
      entries++;
      pages += count;
      if (entries > totals.entries() || pages < 0 || pages > totals.pages()) {
        throw damaged("more entries or pages than " + totals);
      }
      visitor.entry(vaddr, count, flags);
    }

    private void frame() throws IOException {
      long ranges = ImageId.MAX_ADDRESS / PageFormat.RANGE_BYTES;
      range += varint(0, ranges - range, "a range");
      int present = (int) varint(1, (1L << pagesPerRange) - 1, "a mask");
      int zero = (int) varint(0, present, "a mask of zero pages");
      if ((zero & ~present) != 0) {
        throw damaged("zero pages that are not present");
      }
      int count = Integer.bitCount(present);
      int zeroOfPresent = 0;
      int nth = 0;
      for (int page = 0; page < pagesPerRange; page++) {
        if ((present >>> page & 1) != 0) {
          take(range * PageFormat.RANGE_BYTES + (long) page * pageSize);
          zeroOfPresent |= (zero >>> page & 1) << nth++;
        }
      }
      frames++;
      zeroPages += Integer.bitCount(zero);
      Compression.Codec codec = Compression.Codec.RAW;
      int crc = 0;
      FrameRef ref = null;
      if (present != zero) {
        int raw = (count - Integer.bitCount(zero)) * pageSize;
        codec = Compression.Codec.of((int) varint(0, 2, "a codec"));
        ref = ref(codec == Compression.Codec.RAW ? raw : 1, raw);
        if (content.remaining() < Integer.BYTES) {
          throw damaged("a frame's checksum is cut off");
        }
        crc = content.getInt();
        storedBytes += ref.length();
      }
      visitor.frame(pagesDone, count, zeroOfPresent, codec, crc, ref);
      pagesDone += count;
    }

    private void take(long address) throws PageFormatException {
      long[] first = open.peek();
      if (first == null || first[0] != address) {
        throw damaged(
            "a frame has the page at 0x"
                + Long.toHexString(address)
                + " where "
                + (first == null ? "none is left" : "0x" + Long.toHexString(first[0]) + " is due"));
      }
      first[0] += pageSize;
      if (first[0] == first[1]) {
        open.remove();
      }
    }

    private FrameRef ref(int minLength, int maxLength) throws PageFormatException {
      int step = (int) varint(0, packs.size() - 1 - pack, "a pack's number");
      if (step > 0) {
        pack += step;
        packEnd = 0;
      }
      long length = packs.get(pack).length();
      long offset = packEnd + varint(0, length - packEnd, "a frame's offset");
      int bytes = (int) varint(minLength, maxLength, "a frame's length");
      packEnd = offset + bytes;
      if (packEnd > length
          || offset / PageFormat.PART_BYTES != (packEnd - 1) / PageFormat.PART_BYTES) {
        throw damaged("a frame lies outside its pack, or in two parts of it");
      }
      return new FrameRef(pack, offset, bytes);
    }
  }

  @Override
  public void close() throws IOException {
    zstd.close();
    file.close();
  }
}
