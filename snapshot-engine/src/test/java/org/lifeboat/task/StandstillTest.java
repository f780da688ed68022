package org.lifeboat.task;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.snapshot.Documents;
import org.lifeboat.snapshot.MetadataStore;
import org.lifeboat.store.FaultStore;
import org.lifeboat.store.FaultStore.Fault;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException;

@Timeout(60)
final class StandstillTest {

  @TempDir private Path folder;
  private ObjectStore store;
  private Standstill standstill;
  private final AtomicLong monotonic = new AtomicLong(1_000_000);
  private final AtomicLong wall = new AtomicLong(50_000_000);
  private final Semaphore asleep = new Semaphore(0);
  private final Semaphore wake = new Semaphore(0);
  private final BlockingQueue<String> told = new LinkedBlockingQueue<>();
  private final AtomicInteger looks = new AtomicInteger();
  private volatile Runnable duringALook = () -> {};
  private volatile boolean unreachable;

  @BeforeEach
  void begin() throws IOException, InterruptedException {
    store = Documents.store(folder);
    owner("me");
    FaultStore faults =
        new FaultStore(
            store,
            call -> {
              if (call.operation() == Operation.GET) {
                looks.incrementAndGet();
                duringALook.run();
              }
              return unreachable ? new Fault.Before(StoreException.Kind.UNREACHABLE) : Fault.NONE;
            });
    Clock clock =
        new Clock() {
          @Override
          public ZoneId getZone() {
            return ZoneOffset.UTC;
          }

          @Override
          public Clock withZone(ZoneId zone) {
            return this;
          }

          @Override
          public Instant instant() {
            return Instant.ofEpochMilli(wall.get());
          }
        };
    standstill =
        new Standstill(
            new MetadataStore(
                faults,
                Documents::nonce,
                () ->
                    last -> {
                      throw last;
                    }),
            "me",
            monotonic::get,
            clock,
            millis -> {
              asleep.release();
              wake.acquire();
              pass(millis, millis);
            },
            new Standstill.Listener() {
              @Override
              public void stoodStill(Duration howLong) {
                told.add("stood still for " + howLong.toSeconds());
              }

              @Override
              public void cleared() {
                told.add("cleared");
              }

              @Override
              public void lost(String why) {
                told.add(why);
              }
            });
    standstill.start();
    asleep.acquire();
  }

  @AfterEach
  void end() {
    standstill.close();
  }

  private void owner(String id) throws IOException {
    Documents.put(store, Documents.document(Documents.owner(id, 0, false)));
  }

  private void pass(long monotonicMillis, long wallMillis) {
    monotonic.addAndGet(monotonicMillis);
    wall.addAndGet(wallMillis);
  }

  /** Until it sleeps again. */
  private void tick() throws InterruptedException {
    wake.release();
    asleep.acquire();
  }

  private String told() throws InterruptedException {
    return told.poll(30, TimeUnit.SECONDS);
  }

  @Test
  void aShortDelayIsNothing() throws Exception {
    for (int i = 0; i < 10; i++) {
      pass(Standstill.LONG - 1, Standstill.LONG - 1);
      tick();
    }
    assertNull(told.poll());
    assertEquals(0, looks.get());
  }

  @Test
  void asksAfterALongOneAndOnlyOnce() throws Exception {
    pass(60_000, 60_000);
    tick();
    assertEquals("stood still for 60", told());
    assertEquals("cleared", told());
    tick();
    assertNull(told.poll());
    assertEquals(1, looks.get());
  }

  /** A suspended machine: the monotonic clock stood still too. */
  @Test
  void theWallClockAloneIsEnough() throws Exception {
    pass(0, 3_600_000);
    tick();
    assertEquals("stood still for 3600", told());
    assertEquals("cleared", told());
  }

  @Test
  void aWallClockThatIsSetBackIsNothing() throws Exception {
    pass(0, -3_600_000);
    tick();
    assertNull(told.poll());
  }

  @Test
  void tellsWhoHasIt() throws Exception {
    owner("another");
    pass(60_000, 60_000);
    wake.release();
    assertEquals("stood still for 60", told());
    assertTrue(told().contains("host-of-another"));
  }

  /** It was stopped again while the answer came: that is no answer any more. */
  @Test
  void asksAgainWhenTheAnswerIsOld() throws Exception {
    duringALook =
        () -> {
          if (looks.get() == 1) {
            pass(60_000, 60_000);
          }
        };
    pass(60_000, 60_000);
    tick();
    assertEquals("stood still for 60", told());
    assertEquals("cleared", told());
    assertEquals(2, looks.get());
  }

  @Test
  void waitsForTheStoreButNotForEver() throws Exception {
    unreachable = true;
    pass(10_000, 10_000);
    tick();
    assertEquals("stood still for 10", told());
    for (int i = 0; i < 20; i++) {
      tick();
    }
    assertNull(told.poll());
    pass(Standstill.HELD_AT_MOST, Standstill.HELD_AT_MOST);
    tick();
    assertEquals("cleared", told());
  }

  @Test
  void regression_aStoreThatIsSlowForEverDoesNotHoldForEver() throws Exception {
    duringALook = () -> pass(20_000, 20_000);
    pass(10_000, 10_000);
    tick();
    assertEquals("stood still for 10", told());
    assertEquals("cleared", told());
  }
}
