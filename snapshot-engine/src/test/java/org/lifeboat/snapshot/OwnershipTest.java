package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.ObservedStore;

final class OwnershipTest {

  private static final Clock CLOCK = Clock.fixed(Instant.ofEpochMilli(5000), ZoneOffset.UTC);
  private static final List<String> COMMAND = List.of("true");

  @TempDir private Path folder;
  private ObjectStore store;
  private long waited;

  @BeforeEach
  void begin() {
    store = Documents.store(folder);
  }

  private MetadataStore metadata() {
    return new MetadataStore(
        store,
        Documents::nonce,
        () ->
            last -> {
              throw last;
            });
  }

  private Ownership ownership(Ownership.Sleeper meanwhile) {
    return new Ownership(
        store,
        metadata(),
        CLOCK,
        millis -> {
          waited += millis;
          assertTrue(waited < 100 * Ownership.PATIENCE, "it waits for ever");
          meanwhile.sleep(millis);
        });
  }

  private Ownership dead() {
    return ownership(millis -> {});
  }

  private long beats;

  /** As long as somebody waits, the owner lives. */
  private Ownership living(String id) {
    return ownership(millis -> beat(id));
  }

  private void beat(String id) {
    try {
      dead().beat(id, ++beats);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  private static DumpMetadata.Owner me(int attempt) {
    return Documents.owner("me", attempt, false);
  }

  private Ownership.Taken take(Ownership ownership, int attempt, boolean takeover)
      throws Exception {
    return ownership.take(me(attempt), COMMAND, "/work", takeover, document -> document);
  }

  private void assertOwned(Ownership ownership, int attempt, String word) {
    SnapshotException e =
        assertThrows(SnapshotException.class, () -> take(ownership, attempt, false));
    assertEquals(SnapshotException.Kind.OWNED, e.kind());
    assertTrue(e.getMessage().contains("host-of-other"), e.getMessage());
    assertTrue(e.getMessage().contains(word), e.getMessage());
  }

  private String ownerInStore() throws IOException {
    return metadata().read().orElseThrow().document().owner().id();
  }

  private void other(int attempt, boolean released, DumpMetadata.Dump... dumps) throws IOException {
    Documents.put(store, Documents.document(Documents.owner("other", attempt, released), dumps));
    beat("other");
  }

  @Test
  void makesTheFirstDocument() throws Exception {
    Ownership.Taken taken = take(dead(), 0, false);
    assertTrue(taken.before().isEmpty());
    assertEquals(1, taken.now().epoch());
    assertEquals(5000, taken.now().task().since());
    assertEquals("me", ownerInStore());
    assertEquals(0, waited);
  }

  @Test
  void opensInTheSameWrite() throws Exception {
    other(0, true);
    String before = ownerInStore();
    SnapshotException refused =
        new SnapshotException(SnapshotException.Kind.OTHER_COMMAND, "another", "", null);
    assertEquals(
        refused,
        assertThrows(
            SnapshotException.class,
            () ->
                dead()
                    .take(
                        me(0),
                        COMMAND,
                        "/work",
                        false,
                        document -> {
                          throw refused;
                        })));
    assertEquals(before, ownerInStore());
    DumpMetadata taken = dead().take(me(0), COMMAND, "/work", false, DumpMetadata::released).now();
    assertEquals(2, taken.epoch());
    DumpMetadata stored = metadata().read().orElseThrow().document();
    assertTrue(stored.owner().released());
    assertEquals("me", stored.owner().id());
  }

  @Test
  void takesOverFromTheDead() throws Exception {
    other(0, false);
    Ownership.Taken taken = take(dead(), 0, false);
    assertEquals(2, taken.now().epoch());
    assertEquals("other", taken.before().orElseThrow().owner().id());
    assertEquals("me", ownerInStore());
    assertEquals(Ownership.PATIENCE, waited);
  }

  /** They can never be committed any more, and that is written with the epoch that says so. */
  @Test
  void whatTheDeadHadUnderWayIsMarkedAsFailed() throws Exception {
    other(
        0,
        false,
        Documents.dump(1, DumpMetadata.DumpState.DUMPING, 1),
        Documents.dump(2, DumpMetadata.DumpState.COMPLETE, 1),
        Documents.dump(3, DumpMetadata.DumpState.DUMPING, 1));
    DumpMetadata now = dead().take(me(0), COMMAND, "/w", false, document -> document).now();
    assertEquals(
        List.of(
            DumpMetadata.DumpState.FAILED,
            DumpMetadata.DumpState.COMPLETE,
            DumpMetadata.DumpState.FAILED),
        now.dumps().stream().map(DumpMetadata.Dump::state).toList());
    assertTrue(now.dump(3).orElseThrow().error().matches("its run on .* ended in its middle"));
    assertEquals(now.dumps(), metadata().read().orElseThrow().document().dumps());
  }

  @Test
  void takesOverFromOneThatDiedBeforeItsFirstBeat() throws Exception {
    other(0, false);
    beat("someone before");
    assertEquals(2, take(dead(), 0, false).now().epoch());
  }

  @Test
  void refusesTheLiving() throws IOException {
    other(0, false);
    assertOwned(living("other"), 0, "lives");
    assertEquals("other", ownerInStore());
  }

  @Test
  void refusesTheLivingBehindTheBeatOfAnEarlierOne() throws IOException {
    other(0, false);
    beat("someone before");
    assertOwned(living("other"), 0, "lives");
  }

  private Ownership withSlowStore(long looksUntilFast, Ownership.Sleeper meanwhile) {
    AtomicLong now = new AtomicLong();
    AtomicLong looks = new AtomicLong();
    ObjectStore slow =
        new ObservedStore(
            store,
            call -> {
              if (call.key().equals(Layout.HEARTBEAT) && looks.incrementAndGet() < looksUntilFast) {
                now.addAndGet(3000);
              }
            });
    return new Ownership(
        slow,
        metadata(),
        new Clock() {
          @Override
          public java.time.ZoneId getZone() {
            return ZoneOffset.UTC;
          }

          @Override
          public Clock withZone(java.time.ZoneId zone) {
            return this;
          }

          @Override
          public Instant instant() {
            return Instant.ofEpochMilli(now.get());
          }
        },
        millis -> {
          waited += millis;
          meanwhile.sleep(millis);
        });
  }

  @Test
  void timeInWhichTheStoreIsSlowDoesNotCountAgainstTheOwner() throws IOException {
    other(0, false);
    long late = 2 * Ownership.PATIENCE;
    Ownership newcomer =
        withSlowStore(
            late / 1000,
            millis -> {
              if (waited > late) {
                beat("other");
              }
            });
    assertOwned(newcomer, 0, "lives");
    assertTrue(waited > late, "it waited for " + waited + " ms");
  }

  @Test
  void aStoreThatIsAlwaysSlowEndsTheWaitToo() throws Exception {
    other(0, false);
    assertEquals(2, take(withSlowStore(Long.MAX_VALUE, millis -> {}), 0, false).now().epoch());
    assertTrue(waited > Ownership.PATIENCE && waited < 60_000, "it waited for " + waited + " ms");
  }

  @Test
  void takesFromTheLivingWhenTold() throws Exception {
    other(0, false);
    assertEquals(2, take(living("other"), 0, true).now().epoch());
    assertEquals(0, waited);
  }

  @Test
  void doesNotWaitForTheReleased() throws Exception {
    other(5, true);
    assertEquals(2, take(living("other"), 0, false).now().epoch());
    assertEquals(0, waited);
  }

  @Test
  void aHigherAttemptDoesNotWait() throws Exception {
    other(1, false);
    assertEquals(2, take(living("other"), 2, false).now().epoch());
    assertEquals(0, waited);
  }

  @Test
  void aLowerAttemptNeverWins() throws IOException {
    other(2, false);
    assertOwned(dead(), 1, "attempt 2");
    assertEquals(0, waited);
  }

  /** An engine that died before its task ran comes again with the id that it had. */
  @Test
  void takesItsOwnAgainWithoutWaiting() throws Exception {
    Documents.put(store, Documents.document(me(0)));
    beat("me");
    assertEquals(2, take(dead(), 0, false).now().epoch());
    assertEquals(0, waited);
  }

  @Test
  void waitsForADumpThatIsUnderWay() throws Exception {
    other(0, false, Documents.dump(1, DumpMetadata.DumpState.DUMPING, 1));
    int[] rounds = {0};
    Ownership patient =
        ownership(
            millis -> {
              beat("other");
              if (++rounds[0] == 4) {
                try { // the final dump is committed, and its run says goodbye
                  other(0, true, Documents.dump(1, DumpMetadata.DumpState.COMPLETE, 1));
                } catch (IOException e) {
                  throw new IllegalStateException(e);
                }
              }
            });
    Ownership.Taken taken = take(patient, 0, false);
    assertEquals(4, rounds[0]);
    assertEquals(1, taken.now().restorable().size());
  }

  @Test
  void regression_aTornDumpOfAnEarlierOwnerIsNotWaitedFor() throws IOException {
    other(0, false, Documents.dump(1, DumpMetadata.DumpState.DUMPING, 1));
    DumpMetadata now = metadata().read().orElseThrow().document();
    Documents.put(store, now.withOwner(2, Documents.owner("other", 0, false)));
    assertOwned(living("other"), 0, "lives");
  }

  @Test
  void whoeverWritesWhileItLooksIsLookedAtAnew() throws Exception {
    other(0, false);
    int[] rounds = {0};
    Ownership racing =
        ownership(
            millis -> {
              if (++rounds[0] == 1) { // another newcomer was quicker
                try {
                  Documents.put(store, Documents.document(Documents.owner("quicker", 0, false)));
                } catch (IOException e) {
                  throw new IllegalStateException(e);
                }
              } else {
                beat("quicker");
              }
            });
    SnapshotException e = assertThrows(SnapshotException.class, () -> take(racing, 0, false));
    assertTrue(e.getMessage().contains("host-of-quicker"), e.getMessage());
    assertEquals("quicker", ownerInStore());
  }

  /** Both have seen the dead owner when they write; the loser then sees the winner live. */
  @RepeatedTest(20)
  void ofTwoNewcomersExactlyOneWins() throws Exception {
    other(0, false);
    CyclicBarrier both = new CyclicBarrier(2);
    List<Future<Boolean>> takes = new ArrayList<>();
    try (ExecutorService executor = Executors.newFixedThreadPool(2)) {
      for (String id : List.of("a", "b")) {
        takes.add(
            executor.submit(
                () -> {
                  boolean[] first = {true};
                  Ownership ownership =
                      new Ownership(
                          store,
                          metadata(),
                          CLOCK,
                          millis -> {
                            if (first[0]) {
                              first[0] = false;
                              try {
                                both.await();
                              } catch (java.util.concurrent.BrokenBarrierException e) {
                                throw new IllegalStateException(e);
                              }
                            } else {
                              beat(id.equals("a") ? "b" : "a");
                            }
                          });
                  try {
                    ownership.take(
                        Documents.owner(id, 0, false),
                        COMMAND,
                        "/work",
                        false,
                        document -> document);
                    return true;
                  } catch (SnapshotException e) {
                    assertEquals(SnapshotException.Kind.OWNED, e.kind());
                    return false;
                  }
                }));
      }
    }
    assertTrue(takes.get(0).get() ^ takes.get(1).get());
    assertEquals(takes.get(0).get() ? "a" : "b", ownerInStore());
    assertEquals(2, metadata().read().orElseThrow().document().epoch());
    assertFalse(metadata().read().orElseThrow().document().owner().released());
  }
}
