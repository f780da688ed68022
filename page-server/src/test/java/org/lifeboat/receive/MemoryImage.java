package org.lifeboat.receive;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.lifeboat.page.ImageId;
import org.lifeboat.page.PagemapFlags;
import org.lifeboat.protocol.PageMessage;

/** The reference: the memory of a made-up process tree, as CRIU would send it. */
final class MemoryImage {

  /** One pagemap entry with its pages. */
  @SuppressWarnings("ArrayRecordComponent")
  record Entry(long vaddr, int flags, byte[] pages) {}

  /** One address space. */
  record Image(ImageId id, List<Entry> entries) {}

  private final int pageSize;
  private final List<Image> images;

  MemoryImage(int pageSize, List<Image> images) {
    this.pageSize = pageSize;
    this.images = images;
  }

  List<Image> images() {
    return images;
  }

  /** About that many pages, in several images, of every shape. */
  static MemoryImage random(Random random, int pageSize, int pages) {
    List<Image> images = new ArrayList<>();
    Set<ImageId> used = new HashSet<>();
    int left = pages;
    int count = 1 + random.nextInt(12);
    for (int i = 0; i < count; i++) {
      ImageId id =
          new ImageId(
              random.nextBoolean() ? ImageId.Kind.TASK : ImageId.Kind.SHMEM,
              random.nextInt(4) == 0
                  ? random.nextLong() & ((1L << 56) - 1)
                  : 1 + random.nextInt(9));
      if (!used.add(id)) {
        continue;
      }
      List<Entry> entries = new ArrayList<>();
      long vaddr = (random.nextLong() & ((1L << 46) - 1)) / pageSize * pageSize;
      int here = random.nextInt(5) == 0 ? 0 : i == count - 1 ? left : random.nextInt(left + 1);
      left -= here;
      while (here > 0) {
        int shape = random.nextInt(6);
        int n =
            Math.min(
                here,
                switch (shape) {
                  case 0 -> 1024;
                  case 1 -> 256;
                  case 2 -> 1;
                  case 3 -> 16;
                  default -> 1 + random.nextInt(40);
                });
        byte[] content = new byte[n * pageSize];
        for (int p = 0; p < n; p++) {
          fill(random, content, p * pageSize, pageSize);
        }
        int flags = PagemapFlags.PRESENT | (random.nextBoolean() ? PagemapFlags.LAZY : 0);
        entries.add(new Entry(vaddr, flags, content));
        vaddr += (long) n * pageSize;
        if (random.nextInt(3) != 0) {
          vaddr +=
              random.nextInt(10) == 0
                  ? (1L << 30) + pageSize
                  : (long) random.nextInt(20) * pageSize;
        }
        here -= n;
      }
      images.add(new Image(id, entries));
    }
    if (images.isEmpty()) {
      images.add(new Image(new ImageId(ImageId.Kind.TASK, 1), List.of()));
    }
    return new MemoryImage(pageSize, images);
  }

  private static void fill(Random random, byte[] into, int offset, int length) {
    switch (random.nextInt(6)) {
      case 0 -> {}
      case 1 -> {
        byte[] noise = new byte[length];
        random.nextBytes(noise);
        System.arraycopy(noise, 0, into, offset, length);
      }
      case 2 -> into[offset + length - 1] = 1;
      case 3 -> Arrays.fill(into, offset, offset + length, (byte) random.nextInt());
      default -> {
        for (int at = offset; at < offset + length; at += 8) {
          into[at] = (byte) random.nextInt(7);
          into[at + 1] = (byte) (at >>> 8);
        }
      }
    }
  }

  long pages() {
    return images.stream().flatMap(i -> i.entries().stream()).mapToLong(e -> e.pages().length).sum()
        / pageSize;
  }

  long zeroPages() {
    long zero = 0;
    for (Image image : images) {
      for (Entry entry : image.entries()) {
        for (int at = 0; at < entry.pages().length; at += pageSize) {
          boolean any = false;
          for (int i = at; i < at + pageSize; i++) {
            any |= entry.pages()[i] != 0;
          }
          zero += any ? 0 : 1;
        }
      }
    }
    return zero;
  }

  /** The messages up to the end; each reply is awaited by the one who sends them. */
  List<byte[]> messages() {
    List<byte[]> all = new ArrayList<>();
    for (Image image : images) {
      all.add(header(PageMessage.of(PageMessage.Command.OPEN2, image.id(), 0, 0, 0)));
      for (Entry entry : image.entries()) {
        all.add(
            header(
                PageMessage.of(
                    PageMessage.Command.ADD_F,
                    image.id(),
                    entry.flags(),
                    entry.pages().length / pageSize,
                    entry.vaddr())));
        all.add(entry.pages());
      }
    }
    all.add(header(PageMessage.close()));
    return all;
  }

  static byte[] header(PageMessage message) {
    ByteBuffer bytes = ByteBuffer.allocate(PageMessage.HEADER_BYTES);
    message.encode(bytes);
    return bytes.array();
  }

  /** Reads what a restore wrote, by a parser of its own; null where there is no such image. */
  static MemoryImage read(Path directory, int pageSize, List<ImageId> ids) throws IOException {
    List<Image> images = new ArrayList<>();
    Set<Long> pagesIds = new HashSet<>();
    for (ImageId id : ids) {
      ByteBuffer map =
          ByteBuffer.wrap(Files.readAllBytes(directory.resolve(id.pagemapName())))
              .order(ByteOrder.LITTLE_ENDIAN);
      check(map.getInt() == 0x54564319 && map.getInt() == 0x56084025, "magic");
      long pagesId = message(map)[1];
      check(pagesIds.add(pagesId), "two images with the same pages file");
      byte[] pages = Files.readAllBytes(directory.resolve("pages-" + pagesId + ".img"));
      int at = 0;
      List<Entry> entries = new ArrayList<>();
      while (map.hasRemaining()) {
        long[] fields = message(map);
        check(fields[2] == fields[5], "both counts of pages");
        int bytes = (int) fields[5] * pageSize;
        entries.add(
            new Entry(fields[1], (int) fields[4], Arrays.copyOfRange(pages, at, at + bytes)));
        at += bytes;
      }
      check(at == pages.length, "the pages file has " + pages.length + " bytes, not " + at);
      images.add(new Image(id, entries));
    }
    return new MemoryImage(pageSize, images);
  }

  private static long[] message(ByteBuffer map) {
    int end = map.getInt() + map.position();
    long[] fields = new long[8];
    while (map.position() < end) {
      int field = map.get() >>> 3;
      long value = 0;
      int shift = 0;
      byte b;
      do {
        b = map.get();
        value |= (long) (b & 0x7f) << shift;
        shift += 7;
      } while (b < 0);
      fields[field] = value;
    }
    return fields;
  }

  private static void check(boolean good, String what) {
    if (!good) {
      throw new AssertionError(what);
    }
  }

  /** What is different, or empty. */
  String difference(MemoryImage other) {
    for (int i = 0; i < images.size(); i++) {
      Image mine = images.get(i);
      Image theirs = other.images.get(i);
      if (mine.entries().size() != theirs.entries().size()) {
        return mine.id() + ": " + mine.entries().size() + " entries, " + theirs.entries().size();
      }
      for (int e = 0; e < mine.entries().size(); e++) {
        Entry a = mine.entries().get(e);
        Entry b = theirs.entries().get(e);
        if (a.vaddr() != b.vaddr()
            || a.flags() != b.flags()
            || !Arrays.equals(a.pages(), b.pages())) {
          return mine.id() + ": entry " + e + " at " + Long.toHexString(a.vaddr());
        }
      }
    }
    return "";
  }
}
