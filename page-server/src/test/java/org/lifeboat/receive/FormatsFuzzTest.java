package org.lifeboat.receive;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.github.luben.zstd.Zstd;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.page.Compression;
import org.lifeboat.page.FrameCodec;
import org.lifeboat.page.MemoryStore;
import org.lifeboat.page.PackNames;
import org.lifeboat.page.PageFormatException;
import org.lifeboat.serve.PageVerifier;
import org.lifeboat.serve.RestoreConfig;
import org.lifeboat.serve.RestoreObserver;
import org.lifeboat.store.Fuzz;
import org.lifeboat.store.StoreException;

/**
 * Whatever stands in an index, a pack, a frame or a spill's journal is read as what it says or
 * refused by name, in bounded memory. The checksums are made right again behind the changes, so
 * that they are not what finds them.
 */
class FormatsFuzzTest {

  private static final int PAGE = 4096;
  private static final List<Compression> CODED = List.of(Compression.LZ4, Compression.ZSTD);

  @TempDir Path directory;
  private final MemoryStore store = new MemoryStore();
  private byte[] index;

  @BeforeEach
  void dump() throws Exception {
    Random random = new Random(11);
    Path socket = directory.resolve("page.sock");
    UploadSink sink = new UploadSink(store, PackNames.unique("pages", 7, random));
    ReceiverConfig config =
        new ReceiverConfig(ReceiverConfig.MIN_MEMORY, 1, 2, new AdaptiveCodec(), PAGE);
    try (PageReceiver receiver =
        PageReceiver.open(
            config, sink, socket, directory.resolve("pages.index"), ReceiveObserver.NONE)) {
      receiver.start();
      try (FakeCriu criu = new FakeCriu(socket, random)) {
        assertEquals(0, criu.dump(MemoryImage.random(random, PAGE, 60)));
      }
      index = Files.readAllBytes(receiver.finish().indexFile());
    }
  }

  private void verify(Path file) throws IOException {
    new PageVerifier(store, new RestoreConfig(RestoreConfig.MIN_MEMORY, 1), RestoreObserver.NONE)
        .verify(file);
  }

  /** A block of an index, unpacked. */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record Block(int kind, byte[] content) {}

  private static List<Block> blocks(byte[] index) {
    ByteBuffer in = ByteBuffer.wrap(index).order(ByteOrder.LITTLE_ENDIAN);
    List<Block> blocks = new ArrayList<>();
    for (int at = 32; at < index.length; at += 16 + in.getInt(at + 4)) {
      byte[] content = new byte[in.getInt(at + 8)];
      if (index[at + 1] == 0) {
        in.get(at + 16, content);
      } else {
        Zstd.decompressByteArray(content, 0, content.length, index, at + 16, in.getInt(at + 4));
      }
      blocks.add(new Block(index[at] & 0xff, content));
    }
    return blocks;
  }

  private static byte[] join(Random random, byte[] index, List<Block> blocks) {
    ByteBuffer out = ByteBuffer.allocate(4 << 20).order(ByteOrder.LITTLE_ENDIAN);
    out.put(index, 0, 32);
    for (Block block : blocks) {
      boolean packed = random.nextInt(3) == 0;
      byte[] stored = packed ? Zstd.compress(block.content, 1) : block.content;
      int length = random.nextInt(60) == 0 ? (int) Fuzz.number(random) : block.content.length;
      int at = out.position();
      out.put((byte) block.kind).put((byte) (packed ? 2 : 0)).putShort((short) 0);
      out.putInt(stored.length).putInt(length);
      CRC32C crc = new CRC32C();
      crc.update(out.array(), at, 12);
      crc.update(stored);
      out.putInt((int) crc.getValue()).put(stored);
    }
    byte[] bytes = new byte[out.position()];
    out.flip().get(bytes);
    return bytes;
  }

  @Test
  void indexes() {
    Path bad = directory.resolve("bad.index");
    int[] refused = {0};
    Fuzz.run(
        "pages.index",
        400,
        24 << 20,
        random -> {
          List<Block> blocks = blocks(index);
          for (int n = 1 + random.nextInt(2); n > 0 && !blocks.isEmpty(); n--) {
            int at = random.nextInt(blocks.size());
            Block block = blocks.get(at);
            switch (random.nextInt(8)) {
              case 0 -> blocks.remove(at);
              case 1 -> blocks.add(random.nextInt(blocks.size()), block);
              case 2 -> Collections.swap(blocks, at, random.nextInt(blocks.size()));
              case 3 -> blocks.set(at, new Block(random.nextInt(256), block.content));
              case 4 -> blocks.set(at, new Block(block.kind, new byte[1 << 20])); // a bomb
              default ->
                  blocks.set(at, new Block(block.kind, Fuzz.mutate(random, block.content, 3)));
            }
          }
          byte[] bytes = join(random, index, blocks);
          Files.write(bad, random.nextInt(8) == 0 ? Fuzz.mutate(random, bytes, 2) : bytes);
          try {
            verify(bad);
          } catch (PageFormatException e) {
            assertTrue(e.object().equals("bad.index") || e.object().contains("pages"), e.object());
            refused[0]++;
          } catch (StoreException e) {
            assertEquals(StoreException.Kind.NOT_FOUND, e.kind()); // another key
            refused[0]++;
          }
        });
    assertTrue(refused[0] > 100 || Long.getLong("lifeboat.seed") != null, refused[0] + " refused");
  }

  @Test
  void packs() throws Exception {
    Path file = directory.resolve("good.index");
    Files.write(file, index);
    verify(file);
    Fuzz.run(
        "packs",
        300,
        24 << 20,
        random -> {
          String key = store.keys().get(random.nextInt(store.keys().size()));
          byte[] good = store.bytes(key);
          byte[] bad = Fuzz.mutate(random, good, 3);
          if (!java.util.Arrays.equals(good, bad)) {
            store.replace(key, bad);
            try {
              verify(file);
              throw new AssertionError("a damaged pack was read");
            } catch (PageFormatException e) {
              assertEquals(key, e.object());
            } catch (StoreException e) {
              assertTrue(e.getMessage().contains(key), e.getMessage()); // shorter than asked for
            } finally {
              store.replace(key, good);
            }
          }
        });
  }

  /** A frame that is not what its codec makes is refused, or has the length that was asked for. */
  @Test
  void frames() {
    ByteBuffer raw = ByteBuffer.allocateDirect(1 << 16);
    ByteBuffer stored = ByteBuffer.allocateDirect(FrameCodec.SCRATCH_BYTES * 2);
    ByteBuffer back = ByteBuffer.allocateDirect((1 << 16) + 64);
    int[] refused = {0};
    try (FrameCodec codec = new FrameCodec()) {
      Fuzz.run(
          "frames",
          1_500,
          2 << 20,
          random -> {
            int length = 1 + random.nextInt(1 << 14);
            for (int i = 0; i < length; i++) {
              raw.put(i, (byte) (random.nextInt(4) == 0 ? random.nextInt() : i >> 5));
            }
            Compression how = CODED.get(random.nextInt(CODED.size()));
            int size = codec.compress(how, raw, 0, length, stored);
            byte[] bytes = new byte[size];
            stored.get(0, bytes);
            byte[] bad = Fuzz.mutate(random, bytes, 3);
            stored.put(0, bad);
            int asked = random.nextInt(3) == 0 ? 1 + random.nextInt(1 << 16) : length;
            long guard = random.nextLong();
            back.putLong(asked, guard);
            try {
              codec.decompress(how.codec(), stored, 0, bad.length, back, 0, asked);
            } catch (IllegalArgumentException e) {
              refused[0]++;
            }
            assertEquals(guard, back.getLong(asked), "written behind the end");
          });
    }
    assertTrue(refused[0] > 100 || Long.getLong("lifeboat.seed") != null, refused[0] + " refused");
  }

  private static String line(String text) {
    CRC32C crc = new CRC32C();
    crc.update(text.getBytes(StandardCharsets.ISO_8859_1));
    return text + " " + HexFormat.of().toHexDigits((int) crc.getValue()) + "\n";
  }

  @Test
  void journals() throws Exception {
    List<String> good = new ArrayList<>();
    Path spill = Files.createDirectory(directory.resolve("spill"));
    Path file = spill.resolve(SpillJournal.NAME);
    try (SpillJournal journal = SpillJournal.create(spill)) {
      journal.pack(0, "pages/7-x-0.pack");
      journal.upload(0, "id of an upload");
      journal.part(0, 1, 8 << 20, "00".repeat(32));
      journal.part(0, 2, 17, "11".repeat(32));
      journal.complete(0, (8 << 20) + 17);
      journal.pack(1, "pages/7-x-1.pack");
      journal.sealed();
    }
    for (String each : Files.readAllLines(file)) {
      good.add(each.substring(0, each.lastIndexOf(' ')));
    }
    Fuzz.run(
        "spill.journal",
        1_000,
        2 << 20,
        random -> {
          List<String> lines = new ArrayList<>(good);
          for (int n = random.nextInt(3); n > 0 && !lines.isEmpty(); n--) {
            int at = random.nextInt(lines.size());
            switch (random.nextInt(5)) {
              case 0 -> lines.remove(at);
              case 1 -> lines.add(lines.get(at));
              case 2 -> Collections.swap(lines, at, random.nextInt(lines.size()));
              case 3 -> {
                String[] words = lines.get(at).split(" ", -1);
                words[random.nextInt(words.length)] =
                    switch (random.nextInt(4)) {
                      case 0 -> "..%2F..%2Fetc";
                      case 1 -> "%zz";
                      case 2 -> "";
                      default -> Long.toString(Fuzz.number(random));
                    };
                lines.set(at, String.join(" ", words));
              }
              default ->
                  lines.set(
                      at,
                      new String(
                          Fuzz.mutate(
                              random, lines.get(at).getBytes(StandardCharsets.ISO_8859_1), 3),
                          StandardCharsets.ISO_8859_1));
            }
          }
          StringBuilder text = new StringBuilder();
          lines.forEach(each -> text.append(line(each)));
          byte[] bytes = text.toString().getBytes(StandardCharsets.ISO_8859_1);
          Files.write(file, random.nextInt(4) == 0 ? Fuzz.mutate(random, bytes, 2) : bytes);
          try {
            Optional<Spill> found = Spill.find(spill);
            if (found.orElseThrow().complete()) {
              found.get().packs();
            }
          } catch (ReceiveException e) {
            assertTrue(e.getMessage().contains("journal") || e.getMessage().contains("spill"));
          }
        });
  }
}
