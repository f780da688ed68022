package org.lifeboat.cache;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.lifeboat.cache.CacheFixture.BLOCK;
import static org.lifeboat.cache.CacheFixture.all;
import static org.lifeboat.cache.CacheFixture.open;
import static org.lifeboat.cache.CacheFixture.read;
import static org.lifeboat.cache.CacheFixture.upload;
import static org.lifeboat.cache.CacheFixture.write;

import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.sys.Errno;

@Timeout(60)
final class EvictionTest {

  @TempDir Path temp;

  private static Limits blocks(int count) {
    return new Limits((long) count * BLOCK, 0);
  }

  private static void readWhole(Cache cache, long id, TestSource source) throws CacheException {
    try (Content content = cache.attach(id, source.origin("v1"), source)) {
      content.makeWhole();
    }
  }

  @Test
  void whatWasReadLongestAgoGoesFirst() throws Exception {
    TestSource source = TestSource.random(9 * BLOCK, 1);
    try (Cache cache = open(temp, blocks(35))) { // three of them, each with its map
      readWhole(cache, 1, source);
      readWhole(cache, 2, source);
      readWhole(cache, 3, source);
      try (Content first = cache.find(1).orElseThrow()) {
        read(first, 0, 1);
      }
      readWhole(cache, 4, source);
      assertTrue(cache.find(2).isEmpty());
      for (long id : new long[] {1, 3, 4}) {
        try (Content content = cache.find(id).orElseThrow()) {
          assertTrue(content.isWhole());
        }
      }
    }
    try (Cache cache = open(temp, blocks(35))) {
      readWhole(cache, 5, source);
      assertTrue(cache.find(3).isEmpty(), "ages are known after a restart");
    }
  }

  @Test
  void aFileLargerThanTheCacheIsReadThroughIt() throws Exception {
    TestSource source = TestSource.random(200 * BLOCK, 2);
    try (Cache cache = open(temp, blocks(50));
        Content content = cache.attach(1, source.origin("v1"), source)) {
      for (int i = 0; i < 200; i++) {
        assertArrayEquals(
            Arrays.copyOfRange(source.data, i * BLOCK, (i + 1) * BLOCK),
            read(content, (long) i * BLOCK, BLOCK));
        assertTrue(cache.usage().bytes() <= 52 * BLOCK, cache.usage()::toString);
      }
      assertEquals(200, source.requests());
      assertTrue(content.isLocal(190L * BLOCK, 10 * BLOCK), "the newest are here");
      assertFalse(content.isLocal(0, 1));
      assertEquals(Errno.ENOSPC, assertThrows(CacheException.class, content::makeWhole).errno());
    }
  }

  @Test
  void pinnedContentsStay() throws Exception {
    TestSource source = TestSource.random(10 * BLOCK, 3);
    TestSource other = TestSource.random(60 * BLOCK, 4);
    try (Cache cache = open(temp, blocks(30));
        Content pinned = cache.attach(1, source.origin("v1"), source)) {
      pinned.pin();
      pinned.makeWhole();
      try (Content content = cache.attach(2, other.origin("v1"), other)) {
        assertArrayEquals(other.data, all(content));
      }
      assertTrue(pinned.isWhole());
      pinned.unpin();
      try (Content content = cache.attach(2, other.origin("v1"), other)) {
        for (int i = 0; i < 60; i++) {
          read(content, (long) i * BLOCK, 1);
        }
      }
      assertFalse(pinned.isWhole());
      assertArrayEquals(source.data, all(pinned));
    }
  }

  @Test
  void theLastBlockIsGivenBackToo() throws Exception {
    TestSource source = TestSource.random(3 * BLOCK + 5, 8);
    TestSource other = TestSource.random(10 * BLOCK, 9);
    try (Cache cache = open(temp, blocks(12));
        Content content = cache.attach(1, source.origin("v1"), source);
        Content more = cache.attach(2, other.origin("v1"), other)) {
      content.makeWhole();
      assertTrue(content.stat().blocks() > 0);
      more.pin();
      more.makeWhole();
      assertEquals(0, content.stat().blocks());
      assertEquals(source.data.length, content.stat().size());
      assertArrayEquals(source.data, all(content));
    }
  }

  @Test
  void dirtyDataIsNeverEvicted() throws Exception {
    byte[] bytes = TestSource.random(20 * BLOCK, 5).data;
    TestSource source = TestSource.random(20 * BLOCK, 6);
    try (Cache cache = open(temp, blocks(30));
        Content dirty = cache.create(1);
        Content clean = cache.attach(2, source.origin("v1"), source)) {
      write(dirty, 0, bytes);
      assertArrayEquals(source.data, all(clean), "past the cache, as far as it must be");
      CacheException full =
          assertThrows(CacheException.class, () -> write(dirty, bytes.length, bytes));
      assertEquals(Errno.ENOSPC, full.errno());
      assertTrue(
          full.getMessage().contains("wait for uploads to finish, or give the cache a greater"),
          full.getMessage());
      assertEquals(bytes.length, dirty.size());
      assertArrayEquals(bytes, all(dirty));
      write(dirty, 0, bytes); // into blocks that it has
      upload(dirty, "v1");
      assertArrayEquals(source.data, all(clean));
      clean.pin();
      clean.makeWhole();
      assertFalse(dirty.isWhole(), "clean by now, and less than what is read");
      assertArrayEquals(bytes, all(dirty));
      clean.unpin();
    }
  }

  @Test
  void theFileSystemKeepsSomeRoom() throws Exception {
    byte[] bytes = new byte[BLOCK];
    try (Cache cache = open(temp, new Limits(1L << 40, 1L << 60));
        Content content = cache.create(1)) {
      CacheException full = assertThrows(CacheException.class, () -> write(content, 0, bytes));
      assertEquals(Errno.ENOSPC, full.errno());
      assertTrue(full.getMessage().contains("has to keep " + (1L << 60)), full.getMessage());
      TestSource source = TestSource.random(BLOCK, 7);
      try (Content clean = cache.attach(2, source.origin("v1"), source)) {
        assertArrayEquals(source.data, all(clean), "is read past the cache");
        assertFalse(clean.isLocal(0, 1));
      }
    }
  }
}
