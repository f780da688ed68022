package org.lifeboat.receive;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.page.Compression;
import org.lifeboat.page.ImageId;
import org.lifeboat.page.MemoryStore;
import org.lifeboat.page.PackNames;
import org.lifeboat.page.PagemapFlags;
import org.lifeboat.protocol.PageMessage;
import org.lifeboat.protocol.ProtocolException;
import org.lifeboat.store.StoreException;

/** What happens when the peer, the store or the caller does not play along. */
@Timeout(60)
class FaultTest {

  private static final Duration LIMIT = Duration.ofSeconds(30);
  private static final ImageId TASK = new ImageId(ImageId.Kind.TASK, 1000);

  @TempDir Path directory;
  private final MemoryStore store = new MemoryStore();
  private final Random random = new Random(17);
  private final AtomicReference<ReceiveException> seen = new AtomicReference<>();
  private Path socket;
  private PageReceiver receiver;

  @BeforeEach
  void open() throws Exception {
    socket = directory.resolve("page.sock");
    ReceiveObserver observer =
        new ReceiveObserver() {
          @Override
          public void failed(ReceiveException failure) {
            seen.compareAndSet(null, failure);
          }
        };
    receiver =
        PageReceiver.open(
            new ReceiverConfig(
                ReceiverConfig.MIN_MEMORY, 2, 4, CodecPolicy.fixed(Compression.NONE), 4096),
            new UploadSink(store, PackNames.unique("pages", 7, random)),
            socket,
            directory.resolve("pages.index"),
            observer);
    receiver.start();
  }

  @AfterEach
  void nothingIsLeft() {
    receiver.close();
    ReceiveFigures figures = receiver.figures();
    assertEquals(0, figures.segmentsUsed());
    assertEquals(0, figures.partsPending());
    assertEquals(0, figures.memoryBytes());
    assertEquals(0, store.pendingUploads());
    assertFalse(Files.exists(socket));
  }

  private void assertNothingKept() {
    receiver.close();
    assertEquals(List.of(), store.keys());
    assertFalse(Files.exists(directory.resolve("pages.index")));
  }

  private ReceiveException failure() {
    ReceiveException e = assertThrows(ReceiveException.class, () -> receiver.awaitReceived(LIMIT));
    assertThrows(ReceiveException.class, receiver::finish);
    return e;
  }

  private static byte[] open(ImageId id) {
    return MemoryImage.header(PageMessage.of(PageMessage.Command.OPEN2, id, 0, 0, 0));
  }

  private static byte[] add(ImageId id, int flags, long pages, long vaddr) {
    return MemoryImage.header(PageMessage.of(PageMessage.Command.ADD_F, id, flags, pages, vaddr));
  }

  private MemoryImage noise(int megabytes) {
    byte[] bytes = new byte[1 << 20];
    random.nextBytes(bytes);
    List<MemoryImage.Entry> entries = new java.util.ArrayList<>();
    for (int i = 0; i < megabytes; i++) {
      entries.add(
          new MemoryImage.Entry(0x7000_0000_0000L + ((long) i << 20), PagemapFlags.PRESENT, bytes));
    }
    return new MemoryImage(4096, List.of(new MemoryImage.Image(TASK, entries)));
  }

  @Test
  void theHeaderOfOlderCriusIsRefusedWithTheRemedy() throws Exception {
    try (FakeCriu criu = new FakeCriu(socket, random)) {
      ByteBuffer old = ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN);
      old.putInt(4).putInt(0).putLong(0).putLong(1000 << 8 | 1);
      criu.send(old.array());
      assertThrows(IOException.class, () -> criu.reply(1));
    }
    ReceiveException e = failure();
    assertInstanceOf(ProtocolException.class, e.getCause());
    assertTrue(e.getMessage().contains("older than 4.2"), e.getMessage());
    assertNothingKept();
  }

  @Test
  void aDumpThatDiesInTheMiddleIsThrownAway() throws Exception {
    try (FakeCriu criu = new FakeCriu(socket, random)) {
      criu.send(open(TASK));
      criu.reply(1);
      criu.send(add(TASK, 4, 5000, 0x1000));
      criu.send(new byte[1234567]);
    }
    ReceiveException e = failure();
    assertTrue(e.getMessage().contains("before the end"), e.getMessage());
    assertNothingKept();
  }

  @Test
  void anAbortEndsTheConnectionAtOnce() throws Exception {
    try (FakeCriu criu = new FakeCriu(socket, random)) {
      criu.send(open(TASK));
      criu.reply(1);
      criu.send(add(TASK, 4, 5000, 0x1000));
      criu.send(new byte[1234567]);
      receiver.abort("too late");
      assertThrows(IOException.class, () -> criu.reply(1));
    }
    assertTrue(failure().getMessage().contains("too late"));
    assertTrue(seen.get().getMessage().contains("too late"));
    assertNothingKept();
  }

  @Test
  void anAbortBeforeAnyoneConnects() {
    receiver.abort("no need");
    assertTrue(failure().getMessage().contains("no need"));
    assertNothingKept();
  }

  @Test
  void aPartThatCannotBeStoredFailsTheDump() throws Exception {
    store.onPart(
        (key, number) -> {
          if (number == 3) {
            throw MemoryStore.failure(StoreException.Kind.DENIED, "part " + number);
          }
        });
    try (FakeCriu criu = new FakeCriu(socket, random)) {
      assertThrows(IOException.class, () -> criu.dump(noise(64)));
    }
    ReceiveException e = failure();
    assertEquals(StoreException.Kind.DENIED, ((StoreException) e.getCause()).kind());
    assertNothingKept();
  }

  @Test
  void aStoreThatHangsMakesCriuWaitAndNothingGrows() throws Exception {
    CountDownLatch link = new CountDownLatch(1);
    CountDownLatch reached = new CountDownLatch(1);
    store.onPart(
        (key, number) -> {
          reached.countDown();
          try {
            link.await();
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw MemoryStore.failure(StoreException.Kind.INTERRUPTED, "part");
          }
        });
    MemoryImage image = noise(100);
    CompletableFuture<Integer> status = new CompletableFuture<>();
    Thread sender =
        Thread.ofPlatform()
            .start(
                () -> {
                  try (FakeCriu criu = new FakeCriu(socket, random)) {
                    status.complete(criu.dump(image));
                  } catch (IOException e) {
                    status.completeExceptionally(e);
                  }
                });
    reached.await();
    while (receiver.waits() == 0) {
      Thread.onSpinWait();
    }
    ReceiveFigures stuck = receiver.figures();
    assertTrue(stuck.rawBytes() <= stuck.memoryBytes() + (1 << 20), stuck.toString());
    assertTrue(stuck.memoryBytes() <= ReceiverConfig.MIN_MEMORY, stuck.toString());
    assertFalse(status.isDone());
    link.countDown();
    assertEquals(0, status.get());
    sender.join();
    receiver.awaitReceived(LIMIT);
    assertEquals(100L << 20, receiver.finish().rawBytes());
    assertTrue(receiver.figures().memoryBytes() <= ReceiverConfig.MIN_MEMORY);
  }

  @Test
  void anAbortWhileTheStoreHangs() throws Exception {
    CountDownLatch reached = new CountDownLatch(1);
    store.onPart(
        (key, number) -> {
          reached.countDown();
          try {
            new CountDownLatch(1).await();
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw MemoryStore.failure(StoreException.Kind.INTERRUPTED, "part");
          }
        });
    try (FakeCriu criu = new FakeCriu(socket, random)) {
      Thread.ofPlatform()
          .start(
              () -> {
                try {
                  reached.await();
                  receiver.abort("the window is over");
                } catch (InterruptedException e) {
                  Thread.currentThread().interrupt();
                }
              });
      assertThrows(IOException.class, () -> criu.dump(noise(100)));
    }
    assertTrue(failure().getMessage().contains("the window is over"));
    assertNothingKept();
  }

  @Test
  void whatIsNoDumpIsRefused() throws Exception {
    try (FakeCriu criu = new FakeCriu(socket, random)) {
      criu.send(MemoryImage.header(PageMessage.close()));
      assertThrows(IOException.class, () -> criu.reply(4));
    }
    assertTrue(failure().getMessage().contains("before it had opened an image"));
    assertNothingKept();
  }

  @Test
  void aFinishedDumpSurvivesAnAbort() throws Exception {
    try (FakeCriu criu = new FakeCriu(socket, random)) {
      assertEquals(0, criu.dump(noise(20)));
    }
    receiver.awaitReceived(LIMIT);
    PageSet set = receiver.finish();
    receiver.abort("too late to matter");
    receiver.close();
    assertEquals(List.of(set.packs().getFirst().key()), store.keys());
    assertTrue(Files.exists(set.indexFile()));
  }
}
