package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Predicate;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.lifeboat.store.FaultStore;
import org.lifeboat.store.FaultStore.Fault;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreCall;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreException.Kind;

@SuppressWarnings("UnnecessaryLambda") // plans of faults are compared by name
final class MetadataStoreTest {

  private static final Predicate<StoreCall> PUT = call -> call.operation() == Operation.PUT;
  private static final Predicate<StoreCall> GET = call -> call.operation() == Operation.GET;

  @TempDir private Path folder;
  private ObjectStore store;
  private final AtomicInteger waits = new AtomicInteger();

  @BeforeEach
  void begin() throws IOException {
    store = Documents.store(folder);
    Documents.put(store, Documents.document(Documents.owner("me", 0, false)));
  }

  /** Gives up at the n-th wait. */
  private MetadataStore.Pause patience(int most) {
    return last -> {
      if (waits.incrementAndGet() >= most) {
        throw last;
      }
    };
  }

  private MetadataStore metadata(FaultStore.Plan plan) {
    return new MetadataStore(new FaultStore(store, plan), Documents::nonce, () -> patience(1000));
  }

  private MetadataStore metadata() {
    return metadata(call -> Fault.NONE);
  }

  private static DumpMetadata ended(DumpMetadata d, int code) {
    return d.withTask(new DumpMetadata.Task(DumpMetadata.TaskState.ENDED, code, 1, 1));
  }

  private Integer stored() throws IOException {
    return metadata().read().orElseThrow().document().task().exitCode();
  }

  @Test
  void ofSixteenWritersEachKnowsWhetherItWon() throws Exception {
    MetadataStore.Current base = metadata().read().orElseThrow();
    List<Future<Boolean>> writes = new ArrayList<>();
    try (ExecutorService executor = Executors.newFixedThreadPool(16)) {
      for (int i = 0; i < 16; i++) {
        int code = i;
        writes.add(executor.submit(() -> metadata().replace(base, ended(base.document(), code))));
      }
    }
    int winner = -1;
    for (int i = 0; i < 16; i++) {
      if (writes.get(i).get()) {
        assertEquals(-1, winner, "two believe that they won");
        winner = i;
      }
    }
    assertEquals(winner, stored());
  }

  @Test
  void noneOfSixteenWritersIsLost() throws Exception {
    List<Future<DumpMetadata>> writes = new ArrayList<>();
    try (ExecutorService executor = Executors.newFixedThreadPool(16)) {
      for (int i = 0; i < 16; i++) {
        int id = i + 1;
        writes.add(
            executor.submit(
                () ->
                    metadata()
                        .update(
                            "me",
                            d -> d.adding(Documents.dump(id, DumpMetadata.DumpState.DUMPING, 1)))));
      }
    }
    for (Future<DumpMetadata> write : writes) {
      write.get();
    }
    assertEquals(16, metadata().read().orElseThrow().document().dumps().size());
  }

  @Test
  void onlyOneCreates() throws IOException {
    store.delete(Layout.METADATA);
    DumpMetadata first = Documents.document(Documents.owner("a", 0, false));
    assertTrue(metadata().create(first));
    assertFalse(metadata().create(Documents.document(Documents.owner("b", 0, false))));
    assertEquals("a", metadata().read().orElseThrow().document().owner().id());
  }

  @Test
  void aReplyLostAfterTheWriteIsASuccess() throws IOException {
    MetadataStore metadata = metadata(FaultStore.once(1, PUT, new Fault.ReplyLost()));
    AtomicInteger applied = new AtomicInteger();
    DumpMetadata now =
        metadata.update(
            "me",
            d -> {
              applied.incrementAndGet();
              return ended(d, 7);
            });
    assertEquals(7, now.task().exitCode());
    assertEquals(7, stored());
    assertEquals(1, applied.get(), "it was written twice");
  }

  @Test
  void aCreateWhoseReplyIsLostHasWon() throws IOException {
    store.delete(Layout.METADATA);
    assertTrue(
        metadata(FaultStore.once(1, PUT, new Fault.ReplyLost()))
            .create(Documents.document(Documents.owner("a", 0, false))));
  }

  @ParameterizedTest
  @EnumSource(
      value = Kind.class,
      names = {"UNREACHABLE", "THROTTLED", "CONFLICT", "UNKNOWN_OUTCOME", "CORRUPT"})
  void anErrorBeforeTheWriteIsTriedAgain(Kind kind) throws IOException {
    metadata(FaultStore.once(1, PUT, new Fault.Before(kind))).update("me", d -> ended(d, 3));
    assertEquals(3, stored());
  }

  @ParameterizedTest
  @EnumSource(
      value = Kind.class,
      names = {"DENIED", "NO_SPACE", "NO_STORE", "INVALID", "OTHER"})
  void anErrorThatStaysIsToldAtOnce(Kind kind) throws IOException {
    MetadataStore metadata = metadata(FaultStore.once(1, PUT, new Fault.Before(kind)));
    StoreException e =
        assertThrows(StoreException.class, () -> metadata.update("me", d -> ended(d, 3)));
    assertEquals(kind, e.kind());
    assertEquals(null, stored());
    assertEquals(0, waits.get());
  }

  @Test
  void aReplaceThatWasNotWrittenThrows() throws IOException {
    MetadataStore metadata = metadata(FaultStore.once(1, PUT, new Fault.Before(Kind.UNREACHABLE)));
    MetadataStore.Current base = metadata.read().orElseThrow();
    assertThrows(StoreException.class, () -> metadata.replace(base, ended(base.document(), 1)));
    assertEquals(null, stored());
  }

  /** The reply is lost, and then nothing can be read, not even for want of credentials. */
  @ParameterizedTest
  @EnumSource(
      value = Kind.class,
      names = {"UNREACHABLE", "DENIED", "OTHER", "THROTTLED"})
  void waitsUntilItIsKnown(Kind kind) throws IOException {
    AtomicInteger gets = new AtomicInteger();
    FaultStore.Plan lost = FaultStore.once(1, PUT, new Fault.ReplyLost());
    MetadataStore metadata =
        metadata(
            call -> {
              if (GET.test(call)) {
                int n = gets.incrementAndGet();
                return n > 1 && n < 50 ? new Fault.Before(kind) : Fault.NONE;
              }
              return lost.next(call);
            });
    assertEquals(9, metadata.update("me", d -> ended(d, 9)).task().exitCode());
    assertEquals(48, waits.get());
  }

  @Test
  void patienceEndsAsUnknown() throws IOException {
    AtomicInteger gets = new AtomicInteger();
    MetadataStore metadata =
        metadata(
            call ->
                GET.test(call) && gets.incrementAndGet() > 1
                    ? new Fault.Before(Kind.UNREACHABLE)
                    : PUT.test(call) ? new Fault.ReplyLost() : Fault.NONE);
    StoreException e =
        assertThrows(
            StoreException.class, () -> metadata.update("me", d -> ended(d, 9), patience(5)));
    assertEquals(Kind.UNKNOWN_OUTCOME, e.kind());
    assertEquals(9, stored());
  }

  @Test
  void aStoreThatCanOnlyBeReadIsGivenUp() {
    MetadataStore metadata =
        metadata(call -> PUT.test(call) ? new Fault.Before(Kind.THROTTLED) : Fault.NONE);
    StoreException e =
        assertThrows(StoreException.class, () -> metadata.update("me", d -> ended(d, 9)));
    assertEquals(Kind.THROTTLED, e.kind());
    assertTrue(waits.get() > 1 && waits.get() < 100, waits + " waits");
  }

  @Test
  void theOwnerThatIsLostChangesNothing() throws IOException {
    MetadataStore metadata = metadata();
    metadata.read();
    Documents.put(store, Documents.document(Documents.owner("another", 0, false)));
    SnapshotException e =
        assertThrows(SnapshotException.class, () -> metadata.update("me", d -> ended(d, 9)));
    assertEquals(SnapshotException.Kind.OWNER_LOST, e.kind());
    assertTrue(e.getMessage().contains("host-of-another"), e.getMessage());
    assertEquals(null, stored());
  }

  @Test
  void regression_aLostReplyAndATakeOver() throws IOException {
    MetadataStore metadata =
        metadata(
            call -> {
              if (!PUT.test(call)) {
                return Fault.NONE;
              }
              try { // this write comes first, another run takes over, and the reply is lost
                Documents.put(store, Documents.document(Documents.owner("another", 0, false)));
              } catch (StoreException e) {
                throw new IllegalStateException(e);
              }
              return new Fault.Before(Kind.UNKNOWN_OUTCOME);
            });
    SnapshotException e =
        assertThrows(SnapshotException.class, () -> metadata.update("me", d -> ended(d, 9)));
    assertEquals(SnapshotException.Kind.OWNER_LOST, e.kind());
  }

  @Test
  void aDocumentThatWasRemovedIsAnOwnerLost() throws IOException {
    MetadataStore metadata = metadata();
    metadata.read();
    store.delete(Layout.METADATA);
    SnapshotException e =
        assertThrows(SnapshotException.class, () -> metadata.update("me", d -> ended(d, 9)));
    assertEquals(SnapshotException.Kind.OWNER_LOST, e.kind());
  }

  @Test
  void whatAChangeThrowsPassesThrough() throws IOException {
    IllegalStateException mine = new IllegalStateException("no");
    assertSame(
        mine,
        assertThrows(
            IllegalStateException.class,
            () ->
                metadata()
                    .update(
                        "me",
                        d -> {
                          throw mine;
                        })));
    assertEquals(null, stored());
  }

  @Test
  void aDamagedDocumentIsNamed() throws IOException {
    byte[] bytes = java.nio.file.Files.readAllBytes(folder.resolve(Layout.METADATA));
    bytes[bytes.length / 2] ^= 1;
    java.nio.file.Files.write(folder.resolve(Layout.METADATA), bytes);
    SnapshotException e = assertThrows(SnapshotException.class, () -> metadata().read());
    assertEquals(SnapshotException.Kind.DAMAGED, e.kind());
    assertTrue(e.getMessage().contains(".fusion/dump/dump_metadata"), e.getMessage());
  }

  @Test
  void aPatienceThatIsOverThrowsWhatItWasGiven() {
    StoreException last = new StoreException(Kind.UNREACHABLE, "put", "x", "y", "", null);
    assertSame(
        last,
        assertThrows(
            StoreException.class,
            () -> MetadataStore.Pause.upTo(Duration.ofSeconds(-1)).await(last)));
  }

  @Test
  void onlyTheFinitePatienceCanBeInterrupted() throws StoreException {
    StoreException last = new StoreException(Kind.UNREACHABLE, "put", "x", "y", "", null);
    Thread.currentThread().interrupt();
    assertThrows(
        StoreException.class, () -> MetadataStore.Pause.upTo(Duration.ofHours(1)).await(last));
    assertTrue(Thread.currentThread().isInterrupted());
    MetadataStore.Pause.FOR_EVER.await(last);
    assertFalse(Thread.interrupted());
  }
}
