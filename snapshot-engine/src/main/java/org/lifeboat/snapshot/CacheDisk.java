package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.file.FileStore;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Set;
import org.lifeboat.files.FilesException;
import org.lifeboat.store.StoreException;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.OpenFile;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The disk that the cache is on: whether there is room, and what to say when there is none. */
final class CacheDisk {

  private static final Logger log = LoggerFactory.getLogger(CacheDisk.class);

  private static final Set<Errno> FULL = EnumSet.of(Errno.ENOSPC, Errno.EDQUOT);

  private static final String REMEDY =
      "free some space there, or name a folder on another disk in LIFEBOAT_CACHE_LOCATION";

  private CacheDisk() {}

  /**
   * Fails before anything is written.
   *
   * @param what for the message: what is to be put there
   * @param bytes that it takes
   */
  static void require(Path cache, String what, long bytes) throws IOException {
    long free = Files.getFileStore(cache).getUsableSpace();
    if (bytes > free) {
      throw new SnapshotException(
          SnapshotException.Kind.ENVIRONMENT,
          what
              + " needs "
              + mebibytes(bytes)
              + " MiB in "
              + cache
              + ", which has "
              + (free >> 20)
              + " MiB left",
          REMEDY,
          null);
    }
  }

  /** Whether that little is left that it explains a failure of CRIU, which cannot even log it. */
  static boolean isFull(Path cache) throws IOException {
    return Files.getFileStore(cache).getUsableSpace() < 1 << 20;
  }

  static SnapshotException full(Path cache, String what, Exception cause) {
    return new SnapshotException(
        SnapshotException.Kind.ENVIRONMENT,
        "no space is left in " + cache + " for " + what,
        REMEDY,
        cause);
  }

  private static long mebibytes(long bytes) {
    return (bytes + (1 << 20) - 1) >> 20;
  }

  /**
   * Whether holes can be made in files there, as CRIU does in its images when it may consume them.
   */
  static boolean punches(Path folder) throws IOException {
    Path probe = folder.resolve("punch");
    try (OpenFile file = OpenFile.create(BytePath.of(probe))) {
      file.truncate(4096);
      file.punch(0, 4096);
      return true;
    } catch (ErrnoException e) {
      if (e.errno() == Errno.EOPNOTSUPP || e.errno() == Errno.ENOSYS) {
        return false;
      }
      throw e;
    } finally {
      Files.deleteIfExists(probe);
    }
  }

  /** What is put on a tmpfs counts as memory, and cannot be dropped. */
  static void warnOfTmpfs(Path cache, String what, long bytes) throws IOException {
    FileStore disk = Files.getFileStore(cache);
    if (disk.type().equals("tmpfs")
        && MemoryLimit.read().filter(n -> n.room() < bytes + MemoryBudget.KEPT).isPresent()) {
      log.warn(
          "{} may need {} MiB in {}, which is on a tmpfs and so in memory, of which {}: something"
              + " may be killed (name a folder on a disk in LIFEBOAT_CACHE_LOCATION)",
          what,
          mebibytes(bytes),
          cache,
          MemoryLimit.read().orElseThrow());
    }
  }

  /**
   * The failure in words, if it is that of a full disk on which we write: an I/O error of the cache
   * may name no file and has no remedy, where those of the store, and of the task's files, speak
   * for themselves.
   */
  static Exception explained(Path cache, String what, Exception failure) {
    boolean full = false;
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      String message = String.valueOf(cause.getMessage());
      if (cause instanceof StoreException
          || cause instanceof SnapshotException
          || (cause instanceof FilesException && !message.contains(cache.toString()))) {
        return failure;
      }
      full |=
          message.contains("No space left on device")
              || message.contains("quota exceeded")
              || (cause instanceof FilesException f
                  && f.errno().filter(FULL::contains).isPresent());
    }
    return full && failure instanceof IOException ? full(cache, what, failure) : failure;
  }
}
