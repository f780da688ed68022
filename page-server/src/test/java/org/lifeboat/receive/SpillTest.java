package org.lifeboat.receive;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.page.Compression;
import org.lifeboat.page.MemoryStore;
import org.lifeboat.page.PackNames;
import org.lifeboat.serve.PageRestorer;
import org.lifeboat.serve.RestoreConfig;
import org.lifeboat.serve.RestoreObserver;
import org.lifeboat.store.StoreException;

/** Pages that go to the local disk first. */
@Timeout(60)
class SpillTest {

  @TempDir Path directory;
  private final MemoryStore store = new MemoryStore();
  private final Random random = new Random(5);
  private final MemoryImage image = MemoryImage.random(random, 4096, 12_000);

  private Path spillDirectory() {
    return directory.resolve("spill");
  }

  private SpillSink sink() throws IOException {
    return new SpillSink(
        store, PackNames.unique("a b/pages", 3, new Random(1)), spillDirectory(), 2);
  }

  private PageSet dump(SpillSink sink) throws Exception {
    Path socket = directory.resolve("page.sock");
    ReceiverConfig config =
        new ReceiverConfig(
            ReceiverConfig.MIN_MEMORY, 2, 4, CodecPolicy.fixed(Compression.NONE), 4096);
    try (PageReceiver receiver =
        PageReceiver.open(
            config, sink, socket, directory.resolve("pages.index"), ReceiveObserver.NONE)) {
      receiver.start();
      try (FakeCriu criu = new FakeCriu(socket, random)) {
        assertEquals(0, criu.dump(image));
      }
      receiver.awaitReceived(Duration.ofSeconds(30));
      return receiver.finish();
    }
  }

  private void checkRestore(PageSet set) throws IOException {
    Path images = Files.createDirectory(directory.resolve("images"));
    new PageRestorer(store, RestoreConfig.defaults(), RestoreObserver.NONE)
        .restore(set.indexFile(), images);
    MemoryImage back =
        MemoryImage.read(images, 4096, image.images().stream().map(i -> i.id()).toList());
    assertEquals("", image.difference(back));
    assertFalse(Files.exists(spillDirectory()));
    assertEquals(0, store.pendingUploads());
  }

  @Test
  void theDumpEndsWhileTheStoreHangs() throws Exception {
    CountDownLatch link = new CountDownLatch(1);
    store.onPart((key, number) -> await(link));
    PageSet set;
    try (SpillSink sink = sink()) {
      set = dump(sink);
      assertTrue(set.packs().getFirst().sha256().size() > 2, "more than one part");
      assertEquals(0, store.keys().size());
      link.countDown();
      sink.awaitUploaded();
      assertEquals(set.storedBytes(), sink.sentBytes());
    }
    checkRestore(set);
  }

  private static void await(CountDownLatch latch) throws StoreException {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw MemoryStore.failure(StoreException.Kind.INTERRUPTED, "part");
    }
  }

  @Test
  void anotherProcessFinishesTheUpload() throws Exception {
    AtomicInteger parts = new AtomicInteger();
    store.onPart(
        (key, number) -> {
          if (parts.incrementAndGet() > 1) {
            throw MemoryStore.failure(StoreException.Kind.UNREACHABLE, "part");
          }
        });
    PageSet set;
    try (SpillSink sink = sink()) {
      set = dump(sink);
      assertThrows(StoreException.class, sink::awaitUploaded);
    }
    Files.writeString(
        spillDirectory().resolve("spill.journal"),
        "upload 0 torn",
        StandardCharsets.US_ASCII,
        StandardOpenOption.APPEND);
    Spill spill = Spill.find(spillDirectory()).orElseThrow();
    assertTrue(spill.complete());
    assertEquals(set.packs(), spill.packs());
    assertThrows(StoreException.class, () -> spill.upload(store, 2));
    parts.set(Integer.MIN_VALUE);
    Spill again = Spill.find(spillDirectory()).orElseThrow();
    again.upload(store, 2);
    int sent = parts.get() - Integer.MIN_VALUE;
    assertEquals(
        set.packs().stream().mapToInt(p -> p.sha256().size()).sum() - 1, sent, "only the missing");
    checkRestore(set);
    assertTrue(Spill.find(spillDirectory()).isEmpty());
  }

  @Test
  void aDamagedSpillIsNotUploaded() throws Exception {
    store.onPart(
        (key, number) -> {
          throw MemoryStore.failure(StoreException.Kind.UNREACHABLE, "part");
        });
    try (SpillSink sink = sink()) {
      dump(sink);
    }
    store.onPart((key, number) -> {});
    Path file = spillDirectory().resolve("pack-0.spill");
    byte[] bytes = Files.readAllBytes(file);
    bytes[bytes.length / 2] ^= 1;
    Files.write(file, bytes);
    Spill spill = Spill.find(spillDirectory()).orElseThrow();
    ReceiveException e = assertThrows(ReceiveException.class, () -> spill.upload(store, 2));
    assertTrue(e.getMessage().contains("pack-0.spill"), e.getMessage());
    assertEquals(0, store.keys().size());
    spill.discard(store);
    assertEquals(0, store.pendingUploads());
    assertFalse(Files.exists(spillDirectory()));
  }

  @Test
  void anIncompleteSpillIsDiscarded() throws Exception {
    SpillSink sink = sink();
    String key = sink.begin(0);
    byte[] part = new byte[8 << 20];
    sink.part(key, 1, java.nio.ByteBuffer.wrap(part), "00".repeat(32));
    sink.close();
    Spill spill = Spill.find(spillDirectory()).orElseThrow();
    assertFalse(spill.complete());
    assertThrows(ReceiveException.class, spill::packs);
    spill.discard(store);
    assertFalse(Files.exists(spillDirectory()));
    assertEquals(0, store.pendingUploads());
  }
}
