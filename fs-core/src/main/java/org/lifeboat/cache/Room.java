package org.lifeboat.cache;

import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;

/**
 * How much of the disk is taken, and who may take more.
 *
 * <p>Counted are allocated disk blocks. What somebody is about to write is promised before, with
 * the most it can need, and counted exactly when it is there. A promise is kept by evicting; when
 * what could be evicted does not suffice it is refused with ENOSPC.
 *
 * <p>The free space of the file system, which others use too, is asked for again when a second has
 * passed or when as much as was free above the floor is promised. What an eviction has freed counts
 * as free at once, as some file systems (btrfs) take their time to say so.
 */
final class Room {

  /** Whoever can make room. */
  interface Evictor {
    /** Tries to free that many bytes; returns how many it did. */
    long evict(long bytes);
  }

  /** Asks the file system. */
  interface Free {
    long bytes() throws CacheException;
  }

  private static final long MEASURE_NANOS = 1_000_000_000;
  private static final long TIGHT_NANOS = 100_000_000;
  private static final long MOST_AHEAD = 256 << 20;

  private final BytePath directory;
  private final Limits limits;
  private final Free free;
  private final Evictor evictor;
  private final AtomicLong used = new AtomicLong();
  private final AtomicLong dirty = new AtomicLong();
  private final AtomicLong evicted = new AtomicLong();
  private final ReentrantLock evicting = new ReentrantLock();

  private volatile long refused;
  private volatile boolean everRefused;

  // guarded by this
  private long headroom;
  private long measured;
  private boolean everMeasured;

  Room(BytePath directory, Limits limits, Free free, Evictor evictor) {
    this.directory = directory;
    this.limits = limits;
    this.free = free;
    this.evictor = evictor;
  }

  long used() {
    return used.get();
  }

  long dirty() {
    return dirty.get();
  }

  long evicted() {
    return evicted.get();
  }

  Limits limits() {
    return limits;
  }

  /** Whether somebody was refused a moment ago: who can wait does not ask now. */
  boolean isTight() {
    return everRefused && System.nanoTime() - refused < TIGHT_NANOS;
  }

  /** Something was counted, or given back when negative. */
  void add(long bytes) {
    used.addAndGet(bytes);
  }

  /** That much more, or less, is dirty. */
  void addDirty(long bytes) {
    dirty.addAndGet(bytes);
  }

  /**
   * Counts bytes that will be written soon; holds no lock of a content.
   *
   * @throws CacheException ENOSPC when only what is dirty, pinned or being read could be evicted
   */
  void reserve(long bytes) throws CacheException {
    if (bytes > limits.maxBytes()) {
      throw full(bytes, bytes - limits.maxBytes());
    }
    if (!take(bytes)) {
      evicting.lock();
      try {
        while (!take(bytes)) {
          long over = used.get() + bytes - limits.maxBytes();
          long need = Math.max(over, bytes - headroom());
          long freed = makeRoom(Math.max(need, Math.min(limits.maxBytes() / 64, MOST_AHEAD)));
          if (freed == 0) {
            refused = System.nanoTime();
            everRefused = true;
            throw full(bytes, over);
          }
        }
      } finally {
        evicting.unlock();
      }
    }
  }

  /** Evicts because the disk itself is full; whether anything was freed. */
  boolean relieve(long bytes) throws CacheException {
    evicting.lock();
    try {
      return makeRoom(bytes) > 0;
    } finally {
      evicting.unlock();
    }
  }

  private long makeRoom(long bytes) throws CacheException {
    long freed = evictor.evict(bytes);
    evicted.addAndGet(freed);
    synchronized (this) {
      headroom += freed;
    }
    return freed;
  }

  private boolean take(long bytes) throws CacheException {
    long after = used.addAndGet(bytes);
    if (after <= limits.maxBytes() && takeHeadroom(bytes)) {
      return true;
    }
    used.addAndGet(-bytes);
    return false;
  }

  private synchronized boolean takeHeadroom(long bytes) throws CacheException {
    long now = System.nanoTime();
    if (!everMeasured || headroom < bytes || now - measured > MEASURE_NANOS) {
      long old = headroom;
      headroom = free.bytes() - limits.freeFloorBytes();
      if (everMeasured && now - measured <= MEASURE_NANOS) {
        headroom = Math.max(headroom, old); // what was evicted may not show yet
      }
      measured = now;
      everMeasured = true;
    }
    if (headroom < bytes) {
      return false;
    }
    headroom -= bytes;
    return true;
  }

  private synchronized long headroom() {
    return headroom;
  }

  private CacheException full(long bytes, long over) {
    if (over > 0) {
      return new CacheException(
          Errno.ENOSPC,
          "make room in cache",
          directory,
          String.format(
              "%d bytes more do not fit into its limit of %d: %d are used, %d of them by data that"
                  + " is in no store yet, the rest by files that are in use",
              bytes, limits.maxBytes(), used.get(), dirty.get()),
          "wait for uploads to finish, or give the cache a greater size");
    }
    return new CacheException(
        Errno.ENOSPC,
        "make room in cache",
        directory,
        String.format(
            "its file system has to keep %d bytes free, and nothing of the cache can be given up"
                + " (%d bytes are in no store yet)",
            limits.freeFloorBytes(), dirty.get()),
        "make room on that file system, or put the cache on a larger one");
  }
}
