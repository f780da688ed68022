package org.lifeboat.page;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The index comes back as it was written, or not at all. */
class IndexTest {

  private static final int PAGE = 4096;

  @TempDir Path directory;
  private int files;

  private record Call(String text) {}

  private static final class Recorder implements IndexVisitor {
    private final List<Call> calls = new ArrayList<>();

    @Override
    public void image(ImageId image) {
      calls.add(new Call(image.toString()));
    }

    @Override
    public void entry(long vaddr, long pages, int flags) {
      calls.add(new Call("entry " + vaddr + " " + pages + " " + flags));
    }

    @Override
    public void frame(
        long firstPage, int present, int zero, Compression.Codec codec, int crc, FrameRef ref) {
      calls.add(new Call("frame " + firstPage + " " + present + " " + zero + " " + crc + ref));
    }
  }

  private Path file() {
    return directory.resolve("index-" + files++);
  }

  private static List<PackInfo> packs(long length, int count) {
    List<PackInfo> packs = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      int parts = (int) ((length + PageFormat.PART_BYTES - 1) / PageFormat.PART_BYTES);
      List<String> digests = new ArrayList<>();
      for (int p = 0; p < parts; p++) {
        digests.add(String.format("%064x", 1000L * i + p));
      }
      packs.add(new PackInfo("pages/" + i + ".pack", length, PageFormat.PART_BYTES, digests));
    }
    return packs;
  }

  /** Writes a random index and the calls that reading it must make. */
  private Path write(Random random, int ranges, int packCount, List<Call> calls)
      throws IOException {
    return write(random, ranges, packCount, 5000, calls);
  }

  private Path write(Random random, int ranges, int packCount, int parts, List<Call> calls)
      throws IOException {
    Path path = file();
    Recorder expected = new Recorder();
    try (IndexWriter writer = new IndexWriter(path, PAGE)) {
      long offset = 0;
      long packLength = (long) parts * PageFormat.PART_BYTES;
      int pack = 0;
      for (int i = 1; i <= 3; i++) {
        ImageId id = new ImageId(ImageId.Kind.TASK, i);
        writer.image(id);
        expected.image(id);
        long range = (long) random.nextInt(1 << 20) * PageFormat.RANGE_BYTES;
        long first = 0;
        for (int r = 0; r < ranges; r++) {
          int skip = random.nextInt(16);
          int count = 1 + random.nextInt(16 - skip);
          writer.entry(range + (long) skip * PAGE, count, 6);
          expected.entry(range + (long) skip * PAGE, count, 6);
          int present = (1 << count) - 1;
          int zero = random.nextInt(4) == 0 ? present : random.nextInt(1 << count);
          FrameRef ref = null;
          int crc = 0;
          if (zero != present) {
            int length = 1 + random.nextInt((count - Integer.bitCount(zero)) * PAGE);
            if (offset / PageFormat.PART_BYTES != (offset + length - 1) / PageFormat.PART_BYTES) {
              offset = (offset / PageFormat.PART_BYTES + 1) * PageFormat.PART_BYTES;
            }
            if (random.nextInt(50) == 0 && pack < packCount - 1) {
              pack++;
              offset = 0;
            }
            ref = new FrameRef(pack, offset, length);
            crc = random.nextInt();
            offset += length;
          }
          writer.frame(range, present << skip, zero << skip, Compression.Codec.ZSTD, crc, ref);
          expected.frame(first, count, zero, Compression.Codec.ZSTD, crc, ref);
          first += count;
          range += (long) (1 + random.nextInt(3)) * PageFormat.RANGE_BYTES;
        }
      }
      IndexWriter.Written written = writer.finish(packs(packLength, packCount));
      assertEquals(Files.size(path), written.size());
      assertEquals(Digests.sha256(ByteBuffer.wrap(Files.readAllBytes(path))), written.sha256());
    }
    calls.addAll(expected.calls);
    return path;
  }

  private static List<Call> read(Path path) throws IOException {
    try (IndexReader reader = IndexReader.open(path)) {
      Recorder recorder = new Recorder();
      reader.read(recorder);
      return recorder.calls;
    }
  }

  @Test
  void itComesBack() throws Exception {
    List<Call> calls = new ArrayList<>();
    Path path = write(new Random(1), 20_000, 9, calls);
    assertEquals(calls, read(path));
    try (IndexReader reader = IndexReader.open(path)) {
      assertEquals(packs(5000L * PageFormat.PART_BYTES, 9), reader.packs());
      assertEquals(PAGE, reader.pageSize());
    }
  }

  @Test
  void everyFlippedBitIsNoticed() throws Exception {
    Random random = new Random(2);
    Path path = write(random, 40, 2, 3, new ArrayList<>());
    byte[] good = Files.readAllBytes(path);
    Path bad = file();
    for (int i = 0; i < 2000; i++) {
      int bit = random.nextInt(3) == 0 ? random.nextInt(1000) : random.nextInt(good.length * 8);
      byte[] bytes = good.clone();
      bytes[bit / 8] ^= (byte) (1 << bit % 8);
      Files.write(bad, bytes);
      assertThrows(PageFormatException.class, () -> read(bad), "bit " + bit);
    }
  }

  @Test
  void everyTruncationAndExtensionIsNoticed() throws Exception {
    Path path = write(new Random(3), 10, 1, 3, new ArrayList<>());
    byte[] good = Files.readAllBytes(path);
    Path bad = file();
    for (int length = 0; length < good.length; length += 1 + length / 400) {
      Files.write(bad, java.util.Arrays.copyOf(good, length));
      assertThrows(PageFormatException.class, () -> read(bad), "length " + length);
    }
    Files.write(bad, java.util.Arrays.copyOf(good, good.length + 1));
    assertThrows(PageFormatException.class, () -> read(bad));
  }

  /**
   * Mutations behind the checksums: the file is consistent as far as those go, so the meaning of
   * every number is on its own. The result may be another index, but never another exception.
   */
  @Test
  void mutatedRecordsWithRightChecksumsAreRefusedOrConsistent() throws Exception {
    Random random = new Random(4);
    Path path = write(random, 15, 2, 3, new ArrayList<>());
    byte[] good = Files.readAllBytes(path);
    Path bad = file();
    int refused = 0;
    for (int i = 0; i < 6_000; i++) {
      byte[] bytes = mutateBlock(random, good);
      Files.write(bad, bytes);
      try {
        read(bad);
      } catch (PageFormatException e) {
        refused++;
      } catch (RuntimeException e) {
        throw new AssertionError("round " + i, e);
      }
    }
    assertTrue(refused > 3_000, "refused " + refused);
  }

  /** Unpacks a block, changes a few bytes, and packs it raw with a right checksum. */
  private static byte[] mutateBlock(Random random, byte[] good) {
    ByteBuffer in = ByteBuffer.wrap(good).order(ByteOrder.LITTLE_ENDIAN);
    List<Integer> starts = new ArrayList<>();
    for (int at = 32; at < good.length; at += 16 + in.getInt(at + 4)) {
      starts.add(at);
    }
    int start = starts.get(random.nextInt(starts.size()));
    int stored = in.getInt(start + 4);
    int length = in.getInt(start + 8);
    byte[] content = new byte[length];
    if (good[start + 1] == 0) {
      System.arraycopy(good, start + 16, content, 0, length);
    } else {
      com.github.luben.zstd.Zstd.decompressByteArray(content, 0, length, good, start + 16, stored);
    }
    for (int n = 1 + random.nextInt(3); n > 0; n--) {
      int at = random.nextInt(length);
      content[at] =
          (byte) (random.nextBoolean() ? random.nextInt() : content[at] ^ 1 << random.nextInt(8));
    }
    ByteBuffer out = ByteBuffer.allocate(good.length + length + 16).order(ByteOrder.LITTLE_ENDIAN);
    out.put(good, 0, start).put(good[start]).put((byte) 0).putShort((short) 0);
    out.putInt(length).putInt(length);
    java.util.zip.CRC32C crc = new java.util.zip.CRC32C();
    crc.update(out.array(), start, 12);
    crc.update(content);
    out.putInt((int) crc.getValue()).put(content);
    out.put(good, start + 16 + stored, good.length - start - 16 - stored);
    byte[] bytes = new byte[out.position()];
    out.flip().get(bytes);
    return bytes;
  }

  @Test
  void aNewerVersionIsRefusedByName() throws Exception {
    Path path = write(new Random(5), 1, 1, new ArrayList<>());
    byte[] bytes = Files.readAllBytes(path);
    bytes[8] = 2;
    ByteBuffer header = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    header.putInt(28, Digests.crc32c(header, 0, 28));
    Files.write(path, bytes);
    PageFormatException e = assertThrows(PageFormatException.class, () -> read(path));
    assertTrue(e.getMessage().contains("version 2"), e.getMessage());
  }
}
