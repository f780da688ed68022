package org.lifeboat.task;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.snapshot.Documents;
import org.lifeboat.snapshot.Layout;
import org.lifeboat.snapshot.MetadataStore;
import org.lifeboat.snapshot.Ownership;
import org.lifeboat.store.FaultStore;
import org.lifeboat.store.FaultStore.Fault;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreException;

@Timeout(60)
final class OwnerWatchTest {

  @TempDir private Path folder;
  private ObjectStore store;
  private OwnerWatch watch;
  private final AtomicBoolean unreachable = new AtomicBoolean();
  private final Semaphore wake = new Semaphore(0);
  private final SynchronousQueue<Long> time = new SynchronousQueue<>();
  private final BlockingQueue<String> lost = new LinkedBlockingQueue<>();

  @BeforeEach
  void begin() throws IOException {
    store = Documents.store(folder);
    Documents.put(store, Documents.document(Documents.owner("me", 0, false)));
    FaultStore faults =
        new FaultStore(
            store,
            call ->
                unreachable.get() ? new Fault.Before(StoreException.Kind.UNREACHABLE) : Fault.NONE);
    MetadataStore metadata =
        new MetadataStore(
            faults,
            Documents::nonce,
            () ->
                last -> {
                  throw last;
                });
    Ownership ownership = new Ownership(faults, metadata, Clock.systemUTC(), millis -> {});
    watch =
        new OwnerWatch(
            ownership,
            metadata,
            "me",
            millis -> {
              time.put(millis);
              wake.acquire();
            },
            lost::add);
    watch.start();
  }

  @AfterEach
  void end() {
    watch.close();
  }

  /** Lets it do what it does between two waits, and returns when it waits again. */
  private void round() throws InterruptedException {
    wake.release();
    awaitWait();
  }

  private void awaitWait() throws InterruptedException {
    assertEquals(Ownership.BEAT, time.poll(30, TimeUnit.SECONDS));
  }

  private String heartbeat() throws IOException {
    return Files.readString(folder.resolve(Layout.HEARTBEAT));
  }

  @Test
  void beatsAndEveryBeatIsAnother() throws Exception {
    Set<String> seen = new HashSet<>();
    awaitWait();
    for (int i = 0; i < 5; i++) {
      round();
      seen.add(heartbeat());
    }
    assertEquals(5, seen.size());
    assertTrue(seen.stream().allMatch(beat -> beat.startsWith("me ")));
    assertTrue(lost.isEmpty());
  }

  @Test
  void tellsThatTheStoreHasAnotherOwnerAndStops() throws Exception {
    awaitWait();
    round();
    Documents.put(store, Documents.document(Documents.owner("another", 0, false)));
    wake.release(); // the second round looks
    String why = lost.poll(30, TimeUnit.SECONDS);
    assertTrue(why.contains("host-of-another"), why);
  }

  @Test
  void goesOnWhenTheStoreDoesNotAnswer() throws Exception {
    awaitWait();
    round();
    unreachable.set(true);
    String before = heartbeat();
    round();
    round();
    round();
    assertEquals(before, heartbeat());
    unreachable.set(false);
    round();
    assertNotEquals(before, heartbeat());
    assertTrue(lost.isEmpty());
  }
}
