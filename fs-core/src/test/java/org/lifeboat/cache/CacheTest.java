package org.lifeboat.cache;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.lifeboat.cache.CacheFixture.BLOCK;
import static org.lifeboat.cache.CacheFixture.PLENTY;
import static org.lifeboat.cache.CacheFixture.all;
import static org.lifeboat.cache.CacheFixture.open;
import static org.lifeboat.cache.CacheFixture.read;
import static org.lifeboat.cache.CacheFixture.upload;
import static org.lifeboat.cache.CacheFixture.write;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.Stat;

@Timeout(60)
final class CacheTest {

  @TempDir Path temp;

  private Path dir() {
    return temp.resolve("cache");
  }

  private static CacheException fails(org.junit.jupiter.api.function.Executable call) {
    return assertThrows(CacheException.class, call);
  }

  @Test
  void aNewContentIsAPlainFile() throws Exception {
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.create(7)) {
      assertTrue(content.isWhole());
      assertTrue(content.isDirty());
      assertFalse(content.isSuspect());
      write(content, 10_000, new byte[] {1, 2, 3});
      assertEquals(10_003, content.size());
      byte[] expected = new byte[10_003];
      expected[10_000] = 1;
      expected[10_001] = 2;
      expected[10_002] = 3;
      assertArrayEquals(expected, all(content));
      assertEquals(8192, content.nextData(0));
      assertEquals(0, content.nextHole(0));
      assertEquals(-1, content.nextData(20_000));
      content.allocate(0, 0, 4096);
      content.punch(8192, 4096);
      assertArrayEquals(new byte[10_003], all(content));
      content.truncate(5);
      content.sync(true);
      content.sync(false);
      assertArrayEquals(new byte[5], all(content));
      assertEquals(List.of(7L), cache.dirty());
      assertEquals(Errno.EEXIST, fails(() -> cache.create(7)).errno());
    }
  }

  @Test
  void onlyWhatIsReadIsFetched() throws Exception {
    TestSource source = TestSource.random(10 * BLOCK + 17, 1);
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.attach(1, source.origin("v1"), source)) {
      assertFalse(content.isWhole());
      assertFalse(content.isLocal(0, 1));
      assertArrayEquals(Arrays.copyOfRange(source.data, 5000, 5001), read(content, 5000, 1));
      assertEquals(List.of(BLOCK), source.lengths);
      assertEquals(List.of((long) BLOCK), source.offsets);
      assertTrue(content.isLocal(BLOCK, BLOCK));
      assertFalse(content.isLocal(BLOCK, BLOCK + 1));
      assertArrayEquals(
          Arrays.copyOfRange(source.data, 10 * BLOCK + 1, 10 * BLOCK + 17),
          read(content, 10 * BLOCK + 1, 100));
      assertEquals(List.of(BLOCK, 17), source.lengths);
      assertEquals(0, read(content, source.data.length, 5).length);
      assertEquals(3, content.nextData(3));
      assertEquals(source.data.length, content.nextHole(3));
      assertEquals(-1, content.nextHole(source.data.length));
      content.makeWhole();
      assertTrue(content.isWhole());
      assertArrayEquals(source.data, all(content));
      assertEquals(source.data.length, cache.usage().fetchedBytes());
    }
  }

  @Test
  void manyReadersFetchABlockOnce() throws Exception {
    TestSource source = TestSource.random(4 * BLOCK, 2);
    CountDownLatch begun = new CountDownLatch(8);
    source.hook =
        (offset, length) -> {
          try {
            begun.await();
          } catch (InterruptedException e) {
            throw new IOException(e);
          }
        };
    try (Cache cache = open(dir(), PLENTY);
        ExecutorService threads = Executors.newFixedThreadPool(8);
        Content content = cache.attach(1, source.origin("v1"), source)) {
      Callable<byte[]> reader =
          () -> {
            begun.countDown();
            return read(content, BLOCK + 3, 100);
          };
      List<Future<byte[]>> results = threads.invokeAll(java.util.Collections.nCopies(8, reader));
      for (Future<byte[]> result : results) {
        assertArrayEquals(Arrays.copyOfRange(source.data, BLOCK + 3, BLOCK + 103), result.get());
      }
      assertEquals(1, source.requests());
    }
  }

  @Test
  void wholeFilesComeByRequestsInParallel() throws Exception {
    TestSource source = TestSource.random(64 * BLOCK, 3);
    CountDownLatch four = new CountDownLatch(4);
    source.hook =
        (offset, length) -> {
          four.countDown();
          try {
            assertTrue(four.await(30, TimeUnit.SECONDS));
          } catch (InterruptedException e) {
            throw new IOException(e);
          }
        };
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.attach(1, source.origin("v1"), source)) {
      content.makeWhole();
      assertEquals(16, source.requests(), "of four blocks each");
      assertTrue(source.mostAtOnce() >= 4 && source.mostAtOnce() <= 8);
      assertArrayEquals(source.data, all(content));
    }
  }

  @Test
  void aFetchThatFailsLeavesTheBlockAbsent() throws Exception {
    TestSource source = TestSource.random(4 * BLOCK, 4);
    source.hook =
        (offset, length) -> {
          throw new IOException("the link is down");
        };
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.attach(1, source.origin("v1"), source)) {
      CacheException failure = fails(() -> read(content, 0, 1));
      assertEquals(Errno.EIO, failure.errno());
      assertEquals("read s3://bucket/object: the link is down", failure.getMessage());
      assertFalse(content.isLocal(0, 1));
      assertEquals(Errno.EIO, fails(content::makeWhole).errno());
      source.hook =
          (offset, length) -> {
            if (offset == 0) {
              throw new IllegalStateException("a bug");
            }
          };
      assertTrue(fails(() -> read(content, 0, 1)).getMessage().contains("a bug"));
      assertEquals(1, read(content, BLOCK, 1).length);
      source.hook = (offset, length) -> {};
      assertArrayEquals(source.data, all(content));
      assertEquals(0, cache.usage().fetching());
    }
  }

  @Test
  void anObjectThatChangedIsToldWithBothVersions() throws Exception {
    TestSource source = TestSource.random(4 * BLOCK, 5);
    source.hook =
        (offset, length) -> {
          throw new VersionChangedException("\"etag-2\"", null);
        };
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.attach(1, source.origin("\"etag-1\""), source)) {
      CacheException failure = fails(() -> read(content, 0, 1));
      assertEquals(Errno.ESTALE, failure.errno());
      assertEquals(
          "read s3://bucket/object: version \"etag-1\" was opened, the store has \"etag-2\" now"
              + " (open the file again)",
          failure.getMessage());
    }
  }

  @Test
  void whoWaitsCanBeInterrupted() throws Exception {
    TestSource source = TestSource.random(BLOCK, 6);
    CountDownLatch asked = new CountDownLatch(1);
    CountDownLatch answer = new CountDownLatch(1);
    source.hook =
        (offset, length) -> {
          asked.countDown();
          try {
            answer.await();
          } catch (InterruptedException e) {
            throw new IOException(e);
          }
        };
    try (Cache cache = open(dir(), PLENTY);
        ExecutorService threads = Executors.newFixedThreadPool(1);
        Content content = cache.attach(1, source.origin("v1"), source)) {
      Thread[] reader = new Thread[1];
      Future<Errno> result =
          threads.submit(
              () -> {
                reader[0] = Thread.currentThread();
                Errno errno = fails(() -> read(content, 0, 1)).errno();
                assertTrue(Thread.interrupted(), "the flag stays");
                return errno;
              });
      asked.await();
      reader[0].interrupt();
      assertEquals(Errno.EINTR, result.get());
      answer.countDown();
      assertEquals(1, read(content, 0, 1).length);
      assertEquals(1, source.requests(), "what was asked for arrived");
    }
  }

  @Test
  void onlyWholeContentsAreWritten() throws Exception {
    TestSource source = TestSource.random(3 * BLOCK, 7);
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.attach(1, source.origin("v1"), source)) {
      assertEquals(Errno.EINVAL, fails(() -> write(content, 0, new byte[1])).errno());
      assertEquals(Errno.EINVAL, fails(content::markDirty).errno());
      assertEquals(Errno.EINVAL, fails(() -> content.truncate(5)).errno());
      assertThrows(IllegalStateException.class, content::fd);
      content.pin();
      assertThrows(IllegalStateException.class, content::fd);
      content.makeWhole();
      int fd = content.fd();
      write(content, 2, new byte[] {42});
      assertEquals(fd, content.fd());
      content.unpin();
      assertThrows(IllegalStateException.class, content::unpin);
      byte[] expected = source.data.clone();
      expected[2] = 42;
      assertArrayEquals(expected, all(content));
      assertEquals("v1", content.origin().orElseThrow().version());
      assertEquals(Errno.EEXIST, fails(() -> cache.attach(1, source.origin("v2"), source)).errno());
    }
  }

  @Test
  void emptyingFetchesNothing() throws Exception {
    TestSource source = TestSource.random(3 * BLOCK, 8);
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.attach(1, source.origin("v1"), source)) {
      read(content, 0, 1);
      content.truncate(0);
      assertTrue(content.isDirty());
      assertEquals(0, content.size());
      write(content, 0, new byte[] {9});
      assertArrayEquals(new byte[] {9}, all(content));
      assertEquals(1, source.requests());
    }
  }

  @Test
  void whatWasUploadedIsCleanUnlessItChanged() throws Exception {
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.create(1)) {
      byte[] bytes = TestSource.random(3 * BLOCK + 5, 9).data;
      write(content, 0, bytes);
      Stat before = content.stat();
      TestSource stored = new TestSource(bytes);
      write(content, 0, Arrays.copyOf(bytes, 1));
      assertFalse(content.markClean(stored.origin("v1"), stored, before), "written to since");
      assertTrue(content.isDirty());
      assertTrue(content.markClean(stored.origin("v1"), stored, content.stat()));
      assertFalse(content.isDirty());
      assertTrue(content.isWhole());
      assertArrayEquals(bytes, all(content));
      assertEquals(0, cache.usage().dirtyBytes());
      write(content, 1, new byte[] {5});
      assertTrue(content.isDirty());
      upload(content, "v2");
      assertEquals("v2", content.origin().orElseThrow().version());
    }
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.find(1).orElseThrow()) {
      assertFalse(content.isDirty());
      assertEquals("v2", content.origin().orElseThrow().version());
      assertFalse(content.isWhole(), "not before it was checked");
      content.makeWhole();
      assertTrue(content.isWhole());
    }
  }

  @Test
  void emptyContentsCanBeClean() throws Exception {
    try (Cache cache = open(dir(), PLENTY)) {
      try (Content content = cache.create(1)) {
        upload(content, "v1");
        assertTrue(content.isWhole());
      }
      TestSource none = new TestSource(new byte[0]);
      try (Content content = cache.attach(2, none.origin("v1"), none)) {
        assertTrue(content.isWhole());
        content.makeWhole();
        assertEquals(0, all(content).length);
      }
    }
    try (Cache cache = open(dir(), PLENTY);
        Content one = cache.find(1).orElseThrow();
        Content two = cache.find(2).orElseThrow()) {
      assertTrue(one.isWhole() && two.isWhole());
    }
  }

  @Test
  void whatIsHereOfAVersionServesAgain() throws Exception {
    TestSource source = TestSource.random(8 * BLOCK, 10);
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.attach(1, source.origin("v1"), source)) {
      read(content, 0, 2 * BLOCK);
      assertSame(content, again(cache, source, "v1"));
      assertEquals(
          "attach s3://bucket/object: version v1 is in use, version v2 was asked for"
              + " (give the new version an id of its own)",
          fails(() -> cache.attach(1, source.origin("v2"), source)).getMessage());
    }
    try (Cache cache = open(dir(), PLENTY)) {
      int before = source.requests();
      try (Content content = cache.attach(1, source.origin("v1"), source)) {
        assertTrue(content.isLocal(0, 2 * BLOCK));
        assertArrayEquals(Arrays.copyOf(source.data, 2 * BLOCK), read(content, 0, 2 * BLOCK));
        assertEquals(before, source.requests());
      }
      try (Content content = cache.attach(1, source.origin("v2"), source)) {
        assertFalse(content.isLocal(0, 1));
        assertArrayEquals(source.data, all(content));
      }
    }
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.find(1).orElseThrow()) {
      assertEquals("v2", content.origin().orElseThrow().version());
      assertArrayEquals(source.data, all(content), "needs no source");
    }
  }

  private static Content again(Cache cache, TestSource source, String version)
      throws CacheException {
    try (Content same = cache.attach(1, source.origin(version), source)) {
      return same;
    }
  }

  @Test
  void discardedContentsAreGone() throws Exception {
    TestSource source = TestSource.random(8 * BLOCK, 11);
    try (Cache cache = open(dir(), PLENTY)) {
      Content dirty = cache.create(1);
      Content clean = cache.attach(2, source.origin("v1"), source);
      write(dirty, 0, new byte[100_000]);
      read(clean, 0, 1);
      assertEquals(100_000, dirty.stat().size()); // and is counted by that
      assertTrue(cache.usage().bytes() >= 100_000 + BLOCK);
      assertTrue(cache.usage().dirtyBytes() >= 100_000);
      dirty.discard();
      clean.discard();
      clean.discard();
      assertEquals(new Usage(0, 0, 0, 0, BLOCK, 0), cache.usage());
      assertEquals(Errno.ESTALE, fails(() -> read(dirty, 0, 1)).errno());
      assertEquals(Errno.ESTALE, fails(() -> write(clean, 0, new byte[1])).errno());
      assertEquals(Errno.ESTALE, fails(clean::makeWhole).errno());
      assertTrue(cache.find(1).isEmpty());
      try (Content anew = cache.create(1)) {
        write(anew, 0, new byte[] {1});
        dirty.close();
        clean.close();
        assertThrows(IllegalStateException.class, clean::close);
        assertArrayEquals(new byte[] {1}, all(anew));
      }
    }
  }

  @Test
  void sealingNeedsAFileSystemThatCan() throws Exception {
    Path target = temp.resolve("sealed");
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.create(1)) {
      write(content, 0, new byte[BLOCK]);
      boolean can = cache.canReflink() instanceof Seal.Sealed;
      Seal seal = content.seal(BytePath.of(target));
      if (can) {
        assertInstanceOf(Seal.Sealed.class, seal);
      } else {
        String reason = assertInstanceOf(Seal.CannotReflink.class, seal).reason();
        assertTrue(reason.contains(target.toString()), reason);
        assertFalse(Files.exists(target));
      }
      TestSource source = TestSource.random(BLOCK, 12);
      try (Content partial = cache.attach(2, source.origin("v1"), source)) {
        assertEquals(
            Errno.EINVAL, fails(() -> partial.seal(BytePath.of(temp.resolve("no")))).errno());
      }
    }
  }

  @Test
  void manyThreadsFillATightCache() throws Exception {
    Limits tight = new Limits(40 * BLOCK, 0);
    TestSource[] sources = new TestSource[6];
    for (int i = 0; i < sources.length; i++) {
      sources[i] = TestSource.random(20 * BLOCK, 100 + i);
    }
    try (Cache cache = open(dir(), tight);
        ExecutorService threads = Executors.newFixedThreadPool(4)) {
      List<Callable<Void>> readers = new ArrayList<>();
      for (int t = 0; t < 4; t++) {
        java.util.Random random = new java.util.Random(t);
        readers.add(
            () -> {
              for (int i = 0; i < 300; i++) {
                int which = random.nextInt(sources.length);
                TestSource source = sources[which];
                try (Content content = cache.attach(which, source.origin("v"), source)) {
                  int offset = random.nextInt(source.data.length);
                  byte[] read = read(content, offset, 5000);
                  int end = Math.min(source.data.length, offset + 5000);
                  assertArrayEquals(Arrays.copyOfRange(source.data, offset, end), read);
                }
              }
              return null;
            });
      }
      for (Future<Void> reader : threads.invokeAll(readers)) {
        reader.get();
      }
      assertTrue(cache.usage().evictedBytes() > 0);
      assertTrue(cache.usage().bytes() <= tight.maxBytes() + 20 * BLOCK);
      for (int i = 0; i < sources.length; i++) {
        var there = cache.find(i);
        if (there.isPresent()) {
          there.get().discard();
          there.get().close();
        }
      }
      assertEquals(0, CacheFixture.settled(cache).bytes());
      assertEquals(0, cache.usage().contents());
    }
  }
}
