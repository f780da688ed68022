package org.lifeboat.cache;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.concurrent.atomic.AtomicLong;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.sys.BytePath;

/** Caches with blocks of 4 KiB, and what is done with contents of them again and again. */
final class CacheFixture {

  static final int BLOCK = 4096;
  static final Tuning SMALL = new Tuning(BLOCK, 4 * BLOCK, 8, 1 << 20);
  static final Limits PLENTY = new Limits(1L << 30, 0);

  private CacheFixture() {}

  static Cache open(Path directory, Limits limits) throws CacheException {
    return Cache.open(BytePath.of(directory), limits, new Ticking(), CrashPoints.NONE, SMALL);
  }

  /** Each look at it is a millisecond later than the one before. */
  static final class Ticking extends Clock {
    private static final AtomicLong NOW = new AtomicLong(1_800_000_000_000L);

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
      return Instant.ofEpochMilli(NOW.incrementAndGet());
    }
  }

  /** What is used when nothing is under way any more. */
  static Usage settled(Cache cache) {
    while (cache.usage().fetching() > 0) {
      Thread.onSpinWait();
    }
    return cache.usage();
  }

  interface Reading {
    int read(long offset, MemorySegment into) throws CacheException;
  }

  static byte[] read(Reading from, long offset, int length) throws CacheException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment into = arena.allocate(Math.max(1, length)).asSlice(0, length);
      int n = from.read(offset, into);
      return into.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE);
    }
  }

  static byte[] read(Content content, long offset, int length) throws CacheException {
    return read(content::read, offset, length);
  }

  static byte[] all(Content content) throws CacheException {
    return read(content, 0, (int) content.size() + 1);
  }

  static void write(Content content, long offset, byte[] bytes) throws CacheException {
    try (Arena arena = Arena.ofConfined()) {
      content.write(offset, arena.allocateFrom(ValueLayout.JAVA_BYTE, bytes));
    }
  }

  /** Makes a content clean as an upload of it would. */
  static TestSource upload(Content content, String version) throws CacheException {
    org.lifeboat.sys.Stat stat = content.stat();
    TestSource stored = new TestSource(all(content));
    if (!content.markClean(stored.origin(version), stored, stat)) {
      throw new AssertionError("it was not written to");
    }
    return stored;
  }
}
