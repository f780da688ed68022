package org.lifeboat.cache;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.lifeboat.cache.CacheFixture.BLOCK;
import static org.lifeboat.cache.CacheFixture.PLENTY;
import static org.lifeboat.cache.CacheFixture.read;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.sys.BytePath;

@Timeout(60)
final class ReadaheadTest {

  private static final int BLOCKS = 400;

  @TempDir Path temp;
  private final TestSource source = TestSource.random(BLOCKS * BLOCK, 1);

  private void check(Readahead readahead, int offset, int length) throws Exception {
    assertArrayEquals(
        Arrays.copyOfRange(source.data, offset, Math.min(source.data.length, offset + length)),
        read(readahead::read, offset, length));
  }

  @Test
  void theWindowDoublesForWhoReadsOn() throws Exception {
    try (Cache cache = CacheFixture.open(temp, PLENTY);
        Content content = cache.attach(1, source.origin("v"), source)) {
      Readahead readahead = content.readahead();
      int widest = 0;
      for (int at = 0; at < source.data.length; at += 1000) {
        check(readahead, at, 1000);
        assertTrue(readahead.window() <= 2 * Math.max(1, widest));
        widest = Math.max(widest, readahead.window());
      }
      assertTrue(widest >= 64, "it grew to " + widest);
      assertTrue(widest <= 256, "what fetches may hold of memory: " + widest);
      assertTrue(source.requests() < BLOCKS / 2, "in few requests: " + source.requests());
      assertEquals(source.data.length, cache.usage().fetchedBytes(), "each byte once");
    }
  }

  @Test
  void whoReadsAtRandomGetsNothingElse() throws Exception {
    try (Cache cache = CacheFixture.open(temp, PLENTY);
        Content content = cache.attach(1, source.origin("v"), source)) {
      Readahead readahead = content.readahead();
      int[] blocks =
          new Random(5).ints(1, BLOCKS).map(i -> i / 20 * 20 + 7).distinct().limit(15).toArray();
      for (int block : blocks) {
        check(readahead, block * BLOCK, 100);
      }
      assertEquals(blocks.length, source.requests());
      assertEquals(0, readahead.window());
    }
  }

  @Test
  void stepsBackAndInterleavedReadsAreFollowed() throws Exception {
    Tuning ample = new Tuning(BLOCK, 4 * BLOCK, 200, 16 << 20);
    try (Cache cache =
            Cache.open(BytePath.of(temp), PLENTY, Clock.systemUTC(), CrashPoints.NONE, ample);
        Content content = cache.attach(1, source.origin("v"), source)) {
      Readahead readahead = content.readahead();
      for (int i = 0; i < 60; i++) {
        for (int stream = 0; stream < 3; stream++) {
          int base = stream * 130 * BLOCK + BLOCK;
          check(readahead, base + i * BLOCK, BLOCK);
          if (i > 2 && i % 5 == 0) {
            check(readahead, base + (i - 1) * BLOCK, 3000);
          }
        }
      }
      assertTrue(readahead.window() >= 32, "" + readahead.window());
      CacheFixture.settled(cache);
      for (int stream = 0; stream < 3; stream++) {
        assertTrue(content.isLocal((stream * 130L + 62) * BLOCK, 8 * BLOCK));
      }
      assertTrue(source.requests() < 120, "" + source.requests());
    }
  }

  @Test
  void parallelRequestsOfOneReaderAreOneStream() throws Exception {
    try (Cache cache = CacheFixture.open(temp, PLENTY);
        Content content = cache.attach(1, source.origin("v"), source)) {
      Readahead readahead = content.readahead();
      for (int i = 0; i < 40; i += 2) { // as a kernel that sends the second half first
        check(readahead, (i + 1) * BLOCK, BLOCK);
        check(readahead, i * BLOCK, BLOCK);
      }
      assertTrue(readahead.window() >= 16, "" + readahead.window());
    }
  }

  @Test
  void aFailureAheadIsNobodysYet() throws Exception {
    CountDownLatch waiting = new CountDownLatch(1);
    try (Cache cache = CacheFixture.open(temp, PLENTY);
        Content content = cache.attach(1, source.origin("v"), source)) {
      boolean[] failed = new boolean[1];
      source.hook =
          (offset, length) -> {
            if (offset == BLOCK && !failed[0]) {
              failed[0] = true;
              try {
                waiting.await();
              } catch (InterruptedException e) {
                throw new IOException(e);
              }
              throw new IOException("once");
            }
          };
      Readahead readahead = content.readahead();
      check(readahead, 0, 100);
      Thread release = Thread.ofPlatform().start(waiting::countDown);
      check(readahead, BLOCK, 100);
      release.join();
      assertTrue(failed[0]);
    }
  }

  @Test
  void whoReadsAheadTakesOnlyWhatIsSpare() throws Exception {
    CountDownLatch answer = new CountDownLatch(1);
    source.hook =
        (offset, length) -> {
          if (offset > 0 && offset < 300L * BLOCK) {
            try {
              answer.await();
            } catch (InterruptedException e) {
              throw new IOException(e);
            }
          }
        };
    try (Cache cache = CacheFixture.open(temp, PLENTY);
        Content content = cache.attach(1, source.origin("v"), source)) {
      assertTrue(content.fetchAhead(1, 300, 1) < 10, "of eight requests two are kept free");
      assertTrue(cache.usage().fetching() <= 6);
      assertEquals(1, read(content, 350L * BLOCK, 1).length, "who waits is served");
      assertFalse(content.isLocal(BLOCK, 1));
      answer.countDown();
      assertEquals(1, read(content, BLOCK, 1).length);
    }
  }

  @Test
  void wholeContentsAreJustRead() throws Exception {
    try (Cache cache = CacheFixture.open(temp, PLENTY);
        Content content = cache.create(1)) {
      CacheFixture.write(content, 0, source.data);
      Readahead readahead = content.readahead();
      check(readahead, 5000, 10_000);
      check(readahead, source.data.length - 5, 10);
      assertEquals(0, readahead.window());
    }
  }
}
