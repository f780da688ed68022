package org.lifeboat.store;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.FaultStore.Fault;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException.Kind;

final class DecoratorsTest {

  @TempDir private Path directory;
  private ObjectStore store;
  private final AtomicLong clock = new AtomicLong();

  @BeforeEach
  void open() {
    store = new FileStore(StoreUrl.parse("file://" + directory + "/store"));
  }

  private static ByteBuffer text(String text) {
    return ByteBuffer.wrap(text.getBytes(UTF_8));
  }

  private static Kind kindOf(org.junit.jupiter.api.function.Executable call) {
    return assertThrows(StoreException.class, call).kind();
  }

  private static FaultStore.Plan first(Operation operation, Fault fault) {
    return FaultStore.once(1, call -> call.operation() == operation, fault);
  }

  // ---------------------------------------------------------------- faults

  @Test
  void a_fault_before_has_no_effect_and_one_after_has() throws Exception {
    ObjectStore before =
        new FaultStore(store, first(Operation.PUT, new Fault.Before(Kind.THROTTLED)));
    assertEquals(Kind.THROTTLED, kindOf(() -> before.put("a", text("x"), Precondition.ABSENT)));
    assertEquals(Optional.empty(), store.head("a"));
    before.put("a", text("x"), Precondition.ABSENT);

    ObjectStore after = new FaultStore(store, first(Operation.PUT, new Fault.ReplyLost()));
    assertEquals(
        Kind.UNKNOWN_OUTCOME, kindOf(() -> after.put("b", text("y"), Precondition.ABSENT)));
    assertEquals("y", Blob.read(store, "b", 9).orElseThrow().text());
    ObjectStore plain = new FaultStore(store, first(Operation.PUT, new Fault.ReplyLost()));
    assertEquals(Kind.UNREACHABLE, kindOf(() -> plain.put("c", text("z"), Precondition.NONE)));
    assertTrue(store.head("c").isPresent());
    ObjectStore lost = new FaultStore(store, first(Operation.COMPLETE, new Fault.ReplyLost()));
    MultipartUpload upload = lost.upload("d");
    upload.part(1, text("d"));
    assertEquals(Kind.UNKNOWN_OUTCOME, kindOf(() -> upload.complete(Precondition.NONE)));
    assertTrue(store.head("d").isPresent());
  }

  @Test
  void reads_are_truncated_loudly_and_bits_flipped_in_silence() throws Exception {
    store.put("a", text("0123456789"), Precondition.NONE);
    FaultStore cut = new FaultStore(store, first(Operation.GET, new Fault.Truncate(4)));
    ByteBuffer into = ByteBuffer.allocate(10);
    assertEquals(Kind.CORRUPT, kindOf(() -> cut.get("a", 0, into)));
    assertEquals(4, into.position());
    assertEquals(1, cut.faults(Operation.GET));
    FaultStore flipped = new FaultStore(store, first(Operation.GET, new Fault.FlipBit(8)));
    assertEquals("0023456789", Blob.read(flipped, "a", 10).orElseThrow().text());
    assertEquals("0123456789", Blob.read(flipped, "a", 10).orElseThrow().text());
    assertEquals(2, flipped.calls(Operation.GET));
  }

  @Test
  void a_stalled_call_waits_for_its_latch() throws Exception {
    CountDownLatch latch = new CountDownLatch(1);
    CountDownLatch begun = new CountDownLatch(1);
    ObjectStore stalling =
        new FaultStore(
            store,
            call -> {
              begun.countDown();
              return new Fault.Stall(latch);
            });
    try (ExecutorService thread = Executors.newSingleThreadExecutor()) {
      Future<?> put = thread.submit(() -> stalling.put("a", text("x"), Precondition.NONE));
      begun.await();
      assertEquals(Optional.empty(), store.head("a"));
      latch.countDown();
      put.get();
    }
    assertTrue(store.head("a").isPresent());
  }

  @Test
  void seeded_faults_repeat() {
    List<Boolean> one = outcomes(42);
    assertEquals(one, outcomes(42));
    assertNotEquals(one, outcomes(43));
    assertTrue(one.contains(true) && one.contains(false));
  }

  private List<Boolean> outcomes(long seed) {
    ObjectStore faulty =
        new FaultStore(
            store,
            FaultStore.random(new Random(seed), 0.5, List.of(new Fault.Before(Kind.UNREACHABLE))));
    List<Boolean> outcomes = new ArrayList<>();
    for (int i = 0; i < 64; i++) {
      try {
        outcomes.add(faulty.head("a").isEmpty());
      } catch (StoreException e) {
        outcomes.add(false);
      }
    }
    return outcomes;
  }

  // ---------------------------------------------------------------- observer

  @Test
  void every_call_is_observed() throws Exception {
    List<ObservedStore.Done> calls = new ArrayList<>();
    ObjectStore observed = new ObservedStore(store, calls::add, () -> clock.addAndGet(10));
    observed.put("a", text("12345"), Precondition.NONE);
    observed.get("a", 1, ByteBuffer.allocate(3));
    assertThrows(StoreException.class, () -> observed.get("b", 0, ByteBuffer.allocate(1)));
    MultipartUpload upload = observed.upload("c");
    upload.part(7, text("xx"));
    upload.complete(Precondition.ABSENT);
    assertThrows(IllegalArgumentException.class, () -> observed.head("/"));
    assertEquals(1, observed.listDirectory("", "a").entries().size());
    observed.copy("a", "d/e", Precondition.ABSENT);
    assertEquals(
        List.of(
            "PUT a 0 5 10",
            "GET a 0 3 10",
            "GET b 0 0 10 NOT_FOUND",
            "UPLOAD c 0 0 10",
            "PART c 7 2 10",
            "COMPLETE c 0 0 10",
            "HEAD / 0 0 10 IllegalArgumentException",
            "LIST_DIRECTORY  0 0 10",
            "COPY a 0 0 10"),
        calls.stream().map(DecoratorsTest::shown).toList());
    assertEquals(10, calls.getFirst().startNanos());
  }

  private static String shown(ObservedStore.Done call) {
    String failure =
        call.failure()
            .map(
                e ->
                    " "
                        + (e instanceof StoreException s
                            ? s.kind().toString()
                            : e.getClass().getSimpleName()))
            .orElse("");
    return String.format(
        "%s %s %d %d %d%s",
        call.operation(),
        call.key(),
        call.part(),
        call.bytes(),
        call.endNanos() - call.startNanos(),
        failure);
  }

  // ---------------------------------------------------------------- retries

  private final List<Duration> waits = new ArrayList<>();

  private RetryingStore retrying(ObjectStore inner) {
    return new RetryingStore(
        inner,
        new RetryingStore.Limits(
            Duration.ofSeconds(100), Duration.ofSeconds(1), Duration.ofSeconds(20)),
        clock::get,
        wait -> {
          waits.add(wait);
          clock.addAndGet(wait.toNanos());
        },
        new Random(7));
  }

  @Test
  void what_passes_is_sat_out() throws Exception {
    store.put("a", text("0123456789"), Precondition.NONE);
    ObjectStore retrying =
        retrying(
            new FaultStore(
                new FaultStore(store, first(Operation.GET, new Fault.Truncate(4))),
                FaultStore.once(
                    2,
                    call -> call.operation() == Operation.GET,
                    new Fault.Before(Kind.UNREACHABLE))));
    ByteBuffer into = ByteBuffer.allocate(12).position(2);
    retrying.get("a", 0, into);
    assertEquals(12, into.position());
    assertEquals(text("0123456789"), into.slice(2, 10));
    assertEquals(2, waits.size());
    assertTrue(waits.getFirst().compareTo(Duration.ofSeconds(1)) <= 0);
    assertTrue(waits.getLast().compareTo(Duration.ofSeconds(2)) <= 0);

    ObjectStore parts =
        retrying(new FaultStore(store, first(Operation.PART, new Fault.ReplyLost())));
    MultipartUpload upload = parts.upload("b");
    upload.part(1, text("once"));
    upload.complete(Precondition.ABSENT);
    assertEquals("once", Blob.read(store, "b", 9).orElseThrow().text());
    ObjectStore puts = retrying(new FaultStore(store, first(Operation.PUT, new Fault.ReplyLost())));
    puts.put("c", text("c"), Precondition.NONE);
    ObjectStore listings =
        retrying(
            new FaultStore(
                store, first(Operation.LIST_DIRECTORY, new Fault.Before(Kind.THROTTLED))));
    assertEquals(3, listings.listDirectory("", "").entries().size());
    ObjectStore copies =
        retrying(new FaultStore(store, first(Operation.COPY, new Fault.ReplyLost())));
    copies.copy("a", "d");
    assertTrue(store.head("d").isPresent());
  }

  @Test
  void time_and_waits_are_bounded() {
    FaultStore dead = new FaultStore(store, call -> new Fault.Before(Kind.UNREACHABLE));
    assertEquals(Kind.UNREACHABLE, kindOf(() -> retrying(dead).head("a")));
    assertTrue(clock.get() <= Duration.ofSeconds(100).toNanos());
    assertTrue(clock.get() > Duration.ofSeconds(80).toNanos());
    assertTrue(waits.stream().allMatch(w -> w.compareTo(Duration.ofSeconds(20)) <= 0));
    assertEquals(waits.size() + 1, dead.calls(Operation.HEAD));
  }

  @Test
  void what_must_not_be_repeated_is_not() throws Exception {
    FaultStore puts = new FaultStore(store, first(Operation.PUT, new Fault.Before(Kind.THROTTLED)));
    assertEquals(
        Kind.THROTTLED, kindOf(() -> retrying(puts).put("a", text("x"), Precondition.ABSENT)));
    assertEquals(1, puts.calls(Operation.PUT));
    FaultStore completes =
        new FaultStore(store, first(Operation.COMPLETE, new Fault.Before(Kind.THROTTLED)));
    MultipartUpload upload = retrying(completes).upload("b");
    upload.part(1, text("x"));
    assertEquals(Kind.THROTTLED, kindOf(() -> upload.complete(Precondition.NONE)));
    assertEquals(1, completes.calls(Operation.COMPLETE));
    store.put("from", text("x"), Precondition.NONE);
    FaultStore copies = new FaultStore(store, first(Operation.COPY, new Fault.ReplyLost()));
    assertEquals(
        Kind.UNKNOWN_OUTCOME,
        kindOf(() -> retrying(copies).copy("from", "to", Precondition.ABSENT)));
    assertEquals(1, copies.calls(Operation.COPY));
    FaultStore denied = new FaultStore(store, call -> new Fault.Before(Kind.DENIED));
    assertEquals(Kind.DENIED, kindOf(() -> retrying(denied).head("a")));
    assertEquals(1, denied.calls(Operation.HEAD));
    assertEquals(List.of(), waits);
  }

  @Test
  void an_interrupt_ends_the_waiting() {
    ObjectStore retrying =
        new RetryingStore(
            new FaultStore(store, call -> new Fault.Before(Kind.UNREACHABLE)),
            new RetryingStore.Limits(Duration.ofHours(1), Duration.ofHours(1), Duration.ofHours(1)),
            clock::get,
            wait -> {
              throw new InterruptedException();
            },
            new Random(1));
    assertEquals(Kind.INTERRUPTED, kindOf(() -> retrying.head("a")));
    assertTrue(Thread.interrupted());
  }

  // ---------------------------------------------------------------- discard

  @Test
  void discarded_bytes_are_counted() throws Exception {
    DiscardStore discard = new DiscardStore();
    discard.put("a", text("12345"), Precondition.ABSENT);
    MultipartUpload upload = discard.upload("b");
    upload.part(2, text("67"));
    upload.part(1, text("8"));
    assertEquals(3, upload.complete(Precondition.NONE).size());
    assertEquals(8, discard.bytes());
    assertEquals(3, discard.requests());
    assertEquals(Optional.empty(), discard.head("a"));
    assertEquals(List.of(), discard.listDirectory("", "").entries());
    assertEquals(Kind.NOT_FOUND, kindOf(() -> discard.get("a", 0, ByteBuffer.allocate(1))));
  }

  // ---------------------------------------------------------------- haste

  @Test
  void a_call_that_hangs_is_given_up_and_what_it_may_have_done_is_said() throws Exception {
    CountDownLatch never = new CountDownLatch(1);
    ObjectStore hangs = new FaultStore(store, call -> new Fault.Stall(never));
    ObjectStore hurried = new HurriedStore(hangs, Duration.ofMillis(50));
    assertEquals(Kind.UNREACHABLE, kindOf(() -> hurried.put("a", text("x"), Precondition.NONE)));
    assertEquals(
        Kind.UNKNOWN_OUTCOME, kindOf(() -> hurried.put("a", text("x"), Precondition.ABSENT)));
    assertEquals(Kind.UNREACHABLE, kindOf(() -> hurried.get("a", 0, ByteBuffer.allocate(1))));
    Thread.currentThread().interrupt();
    assertEquals(Kind.INTERRUPTED, kindOf(() -> hurried.head("a")));
    assertTrue(Thread.interrupted());
    assertEquals(Optional.empty(), store.head("a"));
  }

  @Test
  void a_call_that_does_not_hang_passes() throws Exception {
    ObjectStore hurried = new HurriedStore(store, Duration.ofHours(1));
    hurried.put("a", text("x"), Precondition.ABSENT);
    assertEquals("x", Blob.read(hurried, "a", 9).orElseThrow().text());
    assertEquals(
        Kind.PRECONDITION_FAILED, kindOf(() -> hurried.put("a", text("x"), Precondition.ABSENT)));
  }
}
