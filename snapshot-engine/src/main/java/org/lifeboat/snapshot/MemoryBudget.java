package org.lifeboat.snapshot;

import java.util.Optional;
import org.lifeboat.receive.ReceiverConfig;
import org.lifeboat.sys.Libc;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What a dump or a restore may take, of the room that the memory limit leaves when it begins.
 *
 * <p>Beside what is divided here room is kept for what cannot be chosen: CRIU, the kernel's pipes
 * and socket buffers, growth of the JVM's heap, and the images, whose page cache is dropped only
 * when it has been written. With little room the pool shrinks first: a smaller one makes the freeze
 * longer where the link is slow, and nothing else. Below the least that works the dump is tried
 * nevertheless, with a warning: whether there is enough is known only to the kernel.
 *
 * @param pool bytes for pages
 * @param transfers parts of 8 MiB under way beside them: so many for images, and as many again for
 *     the packs that a leave-running dump sends from the cache disk
 * @param fileParts bytes for the parts of captured files
 */
record MemoryBudget(long pool, int transfers, long fileParts) {

  private static final Logger log = LoggerFactory.getLogger(MemoryBudget.class);

  private static final long PART = 8L << 20;

  /** What is taken here comes in larger blocks than this, in bytes. */
  private static final int BLOCK = 256 << 10;

  /** Kept free for what is not ours to choose, in bytes. */
  static final long KEPT = 160L << 20;

  static final int MOST_TRANSFERS = 8;
  static final int LEAST_TRANSFERS = 2;

  static final long MOST_FILE_PARTS = 32L << 20;
  static final long LEAST_FILE_PARTS = 2 * PART;

  /**
   * Divides the room that there is now.
   *
   * @param wanted bytes for pages where memory is plenty
   */
  static MemoryBudget now(long wanted) {
    Libc.returnFreedBlocks(BLOCK);
    Optional<MemoryLimit.Nearest> nearest = MemoryLimit.read();
    if (nearest.isEmpty()) {
      return of(wanted, Long.MAX_VALUE);
    }
    MemoryBudget budget = of(wanted, nearest.get().room());
    if (nearest.get().room() < KEPT + budget.total()) {
      log.warn(
          "{}: {} MiB are needed to be safe, something may be killed (give the task a higher memory"
              + " limit, or less to do)",
          nearest.get(),
          (KEPT + budget.total()) >> 20);
    } else if (budget.pool < wanted) {
      log.info(
          "{}: {} MiB instead of {} MiB are taken for pages",
          nearest.get(),
          budget.pool >> 20,
          wanted >> 20);
    }
    return budget;
  }

  static MemoryBudget of(long wanted, long room) {
    MemoryBudget most = new MemoryBudget(wanted, MOST_TRANSFERS, MOST_FILE_PARTS);
    if (room - KEPT >= most.total()) {
      return most;
    }
    MemoryBudget least = new MemoryBudget(0, LEAST_TRANSFERS, LEAST_FILE_PARTS);
    long pool = room - KEPT - least.total();
    return new MemoryBudget(
        Math.clamp(pool, ReceiverConfig.MIN_MEMORY, Math.max(wanted, ReceiverConfig.MIN_MEMORY)),
        LEAST_TRANSFERS,
        LEAST_FILE_PARTS);
  }

  /** All of it, in bytes. */
  long total() {
    return pool + 2L * transfers * PART + fileParts;
  }
}
