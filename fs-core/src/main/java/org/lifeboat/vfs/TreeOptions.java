package org.lifeboat.vfs;

import java.time.Duration;
import java.util.Optional;

/**
 * How a mount shows what its stores have.
 *
 * @param uid owner of what has no owner recorded
 * @param gid its group
 * @param fileMode permission bits of such files
 * @param directoryMode permission bits of such directories
 * @param home the work directory that only this mount writes to
 * @param homeValid how long the kernel may remember what is there
 * @param otherValid how long, and the mount itself, what is elsewhere
 * @param wholeBytes objects up to that size are fetched whole when they are opened
 * @param passthrough whether the kernel is asked to read and write whole files itself
 * @param stackDepth as {@link Capabilities#stackDepth}
 * @param journalBytes from which size on the journal's log is compacted
 */
public record TreeOptions(
    int uid,
    int gid,
    int fileMode,
    int directoryMode,
    Optional<Home> home,
    Duration homeValid,
    Duration otherValid,
    long wholeBytes,
    boolean passthrough,
    int stackDepth,
    long journalBytes) {

  /**
   * A work directory.
   *
   * @param scheme as in {@link Volumes#open}
   * @param volume as there
   * @param key of the directory, without slashes at its ends; empty for the whole volume
   */
  public record Home(String scheme, String volume, String key) {}

  /** What is used where nothing else is said. */
  public static TreeOptions of(int uid, int gid, Optional<Home> home) {
    return new TreeOptions(
        uid,
        gid,
        0644,
        0755,
        home,
        Duration.ofHours(1),
        Duration.ofSeconds(1),
        8 << 20,
        true,
        1,
        Journal.SMALLEST_COMPACTION);
  }
}
