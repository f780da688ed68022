package org.lifeboat.vfs;

import java.time.Instant;
import java.time.InstantSource;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.ErrnoException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The {@link Tree}, its {@link Journal} and the lock of both.
 *
 * <p><b>Locks</b>, in the order in which they are taken:
 *
 * <ol>
 *   <li>{@link Children#listing} of a directory: while the store is asked what is in it;
 *   <li>{@link ContentState#lock} of a node: while its content is opened, fetched, cut or closed;
 *   <li>the lock here: read by whoever looks at nodes and names, written by whoever changes them.
 * </ol>
 *
 * Nobody waits for the network, or for another of these locks, while holding the last one: what it
 * costs is memory and one append to the journal, microseconds. So it is one lock for all: a lock a
 * directory would make rename, hard links and the order of the journal hard, and four readers of
 * requests spend a hundred times as long in the kernel. Whoever needs the store or a content first
 * gets it, then takes the lock and looks again.
 */
final class State implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(State.class);

  private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();
  private final Tree tree = new Tree();
  private final Journal journal;
  private final InstantSource clock;

  private State(BytePath directory, InstantSource clock, CrashPoints points, long compaction)
      throws VfsException {
    this.clock = clock;
    this.journal = Journal.open(directory, tree::apply, points, compaction);
  }

  /** Reads a journal. */
  static State open(BytePath directory, InstantSource clock, CrashPoints points)
      throws VfsException {
    return new State(directory, clock, points, Journal.SMALLEST_COMPACTION);
  }

  /**
   * @param compaction from which size on a log is compacted, in bytes
   */
  static State open(BytePath directory, InstantSource clock, CrashPoints points, long compaction)
      throws VfsException {
    return new State(directory, clock, points, compaction);
  }

  Tree tree() {
    return tree;
  }

  Journal journal() {
    return journal;
  }

  ReentrantReadWriteLock.ReadLock read() {
    return lock.readLock();
  }

  ReentrantReadWriteLock.WriteLock write() {
    return lock.writeLock();
  }

  /** Nanoseconds since 1970. */
  long now() {
    return nanos(clock.instant());
  }

  /** Nanoseconds since 1970; times before 1678 and after 2261 become the nearest of these. */
  static long nanos(Instant instant) {
    return nanos(instant.getEpochSecond(), instant.getNano());
  }

  static long nanos(long seconds, int nanos) {
    long clamped = Math.clamp(seconds, -9_223_372_035L, 9_223_372_035L);
    return clamped * 1_000_000_000 + nanos;
  }

  static Timespec timespec(long nanos) {
    return new Timespec(Math.floorDiv(nanos, 1_000_000_000L), Math.floorMod(nanos, 1_000_000_000));
  }

  /**
   * Writes changes down and makes them. The lock must be held for writing.
   *
   * @param operation for the message, with the path
   * @throws VfsException when they can't be written down, ENOSPC above all; nothing changed then
   */
  void commit(List<Change> changes, String operation, String path) throws VfsException {
    if (!lock.isWriteLockedByCurrentThread()) {
      throw new IllegalStateException("the tree changes without its lock");
    }
    try {
      journal.append(changes);
    } catch (ErrnoException e) {
      throw VfsException.of(e, operation, path);
    }
    for (Change change : changes) {
      tree.apply(change);
    }
    if (journal.isLong()) {
      compact();
    }
  }

  /**
   * As {@link #commit}, of what has happened already and can't be refused: if it can't be written
   * down it is logged, and known in memory only. The lock must be held for writing.
   */
  void record(List<Change> changes, String operation, String path) {
    try {
      commit(changes, operation, path);
    } catch (VfsException e) {
      log.error(
          "{}; it is known until this engine ends, and found again by the next", e.getMessage());
      changes.forEach(tree::apply);
    }
  }

  /** The lock must be held for writing. */
  void compact() {
    try {
      Set<Node> kept = new HashSet<>();
      journal.compact(to -> kept.addAll(tree.describe(to)));
      for (Node node : tree.nodes()) {
        node.journalled = kept.contains(node) || Tree.isFixed(node.id);
      }
    } catch (ErrnoException e) {
      log.warn("the journal stays long for now: {}", e.getMessage());
    }
  }

  @Override
  public void close() {
    journal.close();
  }
}
