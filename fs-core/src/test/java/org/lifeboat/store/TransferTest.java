package org.lifeboat.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.FaultStore.Fault;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException.Kind;

final class TransferTest {

  private static final int PART = 5 << 20;

  @TempDir private Path directory;
  private final TestData data = new TestData("TransferTest");
  private ObjectStore store;

  @BeforeEach
  void open() {
    store = new FileStore(StoreUrl.parse("file://" + directory + "/store"));
  }

  private Path file(String name, ByteBuffer content) throws Exception {
    byte[] bytes = new byte[content.remaining()];
    content.duplicate().get(bytes);
    return Files.write(directory.resolve(name), bytes);
  }

  private static String sha256(Path file) throws Exception {
    return HexFormat.of()
        .formatHex(MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file)));
  }

  @Test
  void files_of_any_size_come_back() throws Exception {
    Transfer transfer = new Transfer(store, 3, PART);
    for (int size : new int[] {0, 1, PART - 1, PART, PART + 1, 5 * PART, 5 * PART + 77}) {
      Path file = file("in", data.bytes(size));
      Transfer.Stored stored = transfer.put("big", file, Precondition.NONE);
      assertEquals(size, stored.info().size());
      assertEquals(sha256(file), stored.sha256());
      Path back = directory.resolve("out");
      assertEquals(stored.sha256(), transfer.get("big", back, stored.sha256()).sha256());
      assertEquals(-1, Files.mismatch(file, back));
      assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(back)));
    }
    assertEquals(List.of(), store.uploads(""));
  }

  @Test
  void a_wrong_digest_stores_nothing_and_fetches_nothing() throws Exception {
    Transfer transfer = new Transfer(store, 2, PART);
    String wrong = "0".repeat(64);
    for (int size : new int[] {100, 2 * PART}) {
      Path file = file("in", data.bytes(size));
      StoreException put =
          assertThrows(
              StoreException.class, () -> transfer.put("wrong", file, Precondition.ABSENT, wrong));
      assertEquals(Kind.CORRUPT, put.kind());
      assertEquals(Optional.empty(), store.head("wrong"));
      assertEquals(List.of(), store.uploads(""));
      transfer.put("right", file, Precondition.NONE, sha256(file));
      StoreException get =
          assertThrows(
              StoreException.class, () -> transfer.get("right", directory.resolve("out"), wrong));
      assertEquals(Kind.CORRUPT, get.kind());
    }
    assertFalse(Files.exists(directory.resolve("out")));
    try (Stream<Path> files = Files.list(directory)) {
      assertEquals(2, files.count(), "in and store, and no leftover");
    }
  }

  @Test
  void a_flipped_bit_is_found() throws Exception {
    Path file = file("in", data.bytes(3 * PART));
    String digest = new Transfer(store, 2, PART).put("a", file, Precondition.NONE).sha256();
    FaultStore flipping =
        new FaultStore(
            store,
            FaultStore.once(
                2, call -> call.operation() == Operation.GET, new Fault.FlipBit(12345)));
    StoreException e =
        assertThrows(
            StoreException.class,
            () -> new Transfer(flipping, 2, PART).get("a", directory.resolve("out"), digest));
    assertEquals(Kind.CORRUPT, e.kind());
  }

  @Test
  void a_failure_frees_the_buffers_and_aborts_the_upload() throws Exception {
    Path file = file("in", data.bytes(6 * PART));
    FaultStore faulty =
        new FaultStore(
            store,
            call ->
                call.operation() == Operation.PART && call.part() == 3
                    ? new Fault.Before(Kind.DENIED)
                    : Fault.NONE);
    Transfer transfer = new Transfer(faulty, 2, PART);
    for (int i = 0; i < 3; i++) { // more often than there are buffers
      StoreException e =
          assertThrows(StoreException.class, () -> transfer.put("a", file, Precondition.NONE));
      assertEquals(Kind.DENIED, e.kind());
    }
    assertEquals(List.of(), store.uploads(""));
    new Transfer(store, 2, PART).put("a", file, Precondition.NONE);
    FaultStore gets =
        new FaultStore(
            store,
            FaultStore.once(
                4, call -> call.operation() == Operation.GET, new Fault.Before(Kind.DENIED)));
    Transfer fetching = new Transfer(gets, 2, PART);
    assertThrows(StoreException.class, () -> fetching.get("a", directory.resolve("out")));
    fetching.get("a", directory.resolve("out"));
    assertEquals(-1, Files.mismatch(file, directory.resolve("out")));
  }

  @Test
  void an_unknown_outcome_leaves_the_upload_alone() throws Exception {
    Path file = file("in", data.bytes(2 * PART));
    FaultStore lost =
        new FaultStore(
            store,
            FaultStore.once(
                1, call -> call.operation() == Operation.COMPLETE, new Fault.ReplyLost()));
    StoreException e =
        assertThrows(
            StoreException.class,
            () -> new Transfer(lost, 2, PART).put("a", file, Precondition.ABSENT));
    assertEquals(Kind.UNKNOWN_OUTCOME, e.kind());
    assertEquals(0, lost.calls(Operation.ABORT));
    assertEquals(2L * PART, store.head("a").orElseThrow().size());
  }

  @Test
  void files_in_parallel_share_the_buffers() throws Exception {
    Transfer transfer = new Transfer(store, 3, PART);
    List<Path> files = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      files.add(file("in" + i, data.bytes(3 * PART + i)));
    }
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<Boolean>> all = new ArrayList<>();
      for (Path file : files) {
        all.add(
            threads.submit(
                () -> {
                  String name = file.getFileName().toString();
                  transfer.put(name, file, Precondition.ABSENT);
                  Path out = directory.resolve("out-" + name);
                  transfer.get(name, out);
                  return Files.mismatch(file, out) == -1;
                }));
      }
      for (Future<Boolean> same : all) {
        assertTrue(same.get());
      }
    }
  }

  @Test
  void small_objects_are_read_whole_or_refused() throws Exception {
    ByteBuffer body = data.bytes(200_000);
    String version = store.put("small", body, Precondition.NONE).version();
    Blob blob = Blob.read(store, "small", 200_000).orElseThrow();
    assertEquals(body, blob.buffer());
    assertEquals(body, ByteBuffer.wrap(blob.bytes()));
    assertEquals(version, blob.version());
    assertEquals(Optional.empty(), Blob.read(store, "none", 10));
    StoreException e = assertThrows(StoreException.class, () -> Blob.read(store, "small", 199_999));
    assertEquals(Kind.INVALID, e.kind());
  }
}
