package org.lifeboat.page;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.lifeboat.receive.UploadSink;
import org.lifeboat.store.StoreException;

/** Frames of any kind go into packs and come back. */
@Timeout(60)
class PacksTest {

  private final MemoryStore store = new MemoryStore();
  private final Random random = new Random(3);
  private final List<byte[]> frames = new ArrayList<>();
  private final List<FrameRef> refs = new ArrayList<>();

  private record Wanted(int pack, long offset, int length, int number) implements PackFrame {}

  private List<PackInfo> write(int count, int maxParts) throws IOException {
    UploadSink sink = new UploadSink(store, PackNames.unique("files", 1, random));
    try (PackWriter writer = new PackWriter(sink, 0, 3, (key, number, bytes) -> {}, maxParts)) {
      for (int i = 0; i < count; i++) {
        int length =
            switch (random.nextInt(8)) {
              case 0 -> 1;
              case 1 -> PageFormat.PART_BYTES;
              case 2 -> PageFormat.PART_BYTES - random.nextInt(3);
              default -> 1 + random.nextInt(1 << 20);
            };
        byte[] frame = new byte[length];
        random.nextBytes(frame);
        frames.add(frame);
        refs.add(writer.append(ByteBuffer.wrap(frame)));
      }
      List<PackInfo> packs = writer.finish();
      assertEquals(0, writer.pendingParts());
      return packs;
    }
  }

  private int read(List<PackInfo> packs) throws IOException {
    AtomicInteger parts = new AtomicInteger();
    AtomicInteger good = new AtomicInteger();
    try (PackReader<Wanted> reader =
        new PackReader<>(
            store,
            packs,
            2,
            (wanted, part) -> {
              parts.incrementAndGet();
              for (Wanted frame : wanted) {
                assertEquals(ByteBuffer.wrap(frames.get(frame.number())), part.frame(frame));
                good.incrementAndGet();
              }
            })) {
      for (int i = 0; i < refs.size(); i++) {
        FrameRef ref = refs.get(i);
        reader.add(new Wanted(ref.pack(), ref.offset(), ref.length(), i));
      }
      reader.finish();
    }
    assertEquals(refs.size(), good.get());
    return parts.get();
  }

  @Test
  void framesComeBackOverManyPacks() throws Exception {
    List<PackInfo> packs = write(60, 3);
    assertTrue(packs.size() > 3, "several packs");
    for (PackInfo pack : packs.subList(0, packs.size() - 1)) {
      assertEquals(3L * PageFormat.PART_BYTES, pack.length(), "all parts are full");
    }
    assertEquals(packs.stream().mapToInt(p -> p.sha256().size()).sum(), read(packs));
    assertEquals(0, store.pendingUploads());
  }

  @Test
  void nothingMakesNoPack() throws Exception {
    assertEquals(List.of(), write(0, 3));
    assertEquals(List.of(), store.keys());
  }

  @Test
  void oneFlippedByteIsNoticed() throws Exception {
    List<PackInfo> packs = write(5, 8);
    String key = packs.getFirst().key();
    for (int i = 0; i < 20; i++) {
      byte[] bytes = store.bytes(key).clone();
      bytes[random.nextInt(bytes.length)] ^= (byte) (1 << random.nextInt(8));
      byte[] good = store.bytes(key);
      store.replace(key, bytes);
      PageFormatException e = assertThrows(PageFormatException.class, () -> read(packs));
      assertEquals(key, e.object());
      store.replace(key, good);
    }
  }

  @Test
  void aShorterOrAMissingPackIsNoticed() throws Exception {
    List<PackInfo> packs = write(5, 8);
    String key = packs.getFirst().key();
    byte[] good = store.bytes(key);
    store.replace(key, java.util.Arrays.copyOf(good, good.length - 1));
    assertThrows(PageFormatException.class, () -> read(packs));
    store.delete(key);
    assertEquals(
        StoreException.Kind.NOT_FOUND,
        assertThrows(StoreException.class, () -> read(packs)).kind());
  }

  @Test
  void aFrameThatCannotBeIsRefused() throws Exception {
    List<PackInfo> packs = write(5, 8);
    for (FrameRef bad :
        List.of(
            new FrameRef(1, 0, 1),
            new FrameRef(0, -1, 1),
            new FrameRef(0, packs.getFirst().length(), 1),
            new FrameRef(0, 0, 0),
            new FrameRef(0, PageFormat.PART_BYTES - 1L, 2))) {
      try (PackReader<FrameRef> reader = new PackReader<>(store, packs, 2, (wanted, part) -> {})) {
        assertThrows(PageFormatException.class, () -> reader.add(bad), bad.toString());
      }
    }
  }

  @Test
  void aFailedWriterLeavesNothing() throws Exception {
    store.onPart(
        (key, number) -> {
          if (number == 2) {
            throw MemoryStore.failure(StoreException.Kind.NO_SPACE, "part");
          }
        });
    assertThrows(StoreException.class, () -> write(60, 100));
    assertEquals(0, store.pendingUploads());
    assertEquals(List.of(), store.keys());
  }
}
