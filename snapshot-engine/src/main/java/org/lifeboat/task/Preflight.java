package org.lifeboat.task;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.lifeboat.snapshot.Folders;
import org.lifeboat.sys.ErrnoException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What would make every dump or every restore fail, found out before a store is asked or a process
 * started: a task must not run for a day to learn that it cannot be saved.
 *
 * <p>Only what costs next to nothing is looked at, as it stands between a command and its first
 * instruction. Rights (root, capabilities, seccomp) are the launcher's to check, which is there
 * before anything is made that would be left behind; CRIU's version is {@link
 * org.lifeboat.criu.Criu#find}'s. {@code criu check} was rejected: it takes longer than all of a
 * start, and fails where {@code /proc/sys} is read-only although dumps and restores work there.
 */
public final class Preflight {

  private static final Logger log = LoggerFactory.getLogger(Preflight.class);

  private static final Set<String> LEVELS = Set.of("error", "warn", "info", "debug");

  /** With less than this, in bytes, not even the images of a dump have room. */
  private static final long LITTLE = 64L << 20;

  private static final Path LIMITS = Path.of("/proc/self/limits");
  private static final String OPEN_FILES = "Max open files";
  private static final int FEW_FILES = 1024;

  private Preflight() {}

  /**
   * @param code the exit code
   * @param message one line, the remedy in brackets at its end
   */
  record Problem(int code, String message) {}

  /** The first thing that is wrong. */
  static Optional<Problem> problem(Map<String, String> environment) {
    return setting(environment)
        .map(message -> new Problem(ExitCodes.USAGE, message))
        .or(() -> openFiles(LIMITS).map(message -> new Problem(ExitCodes.HOST, message)))
        .or(() -> cache(environment).map(message -> new Problem(ExitCodes.HOST, message)));
  }

  /** CRIU keeps descriptors of its own above those of each process of the task. */
  static Optional<String> openFiles(Path limits) {
    try {
      for (String line : Files.readAllLines(limits)) {
        if (line.startsWith(OPEN_FILES)) {
          String hard = line.substring(OPEN_FILES.length()).strip().split("\\s+", -1)[1];
          if (!hard.equals("unlimited") && Long.parseLong(hard) < FEW_FILES) {
            return Optional.of(
                "a process may have only "
                    + hard
                    + " files open here, too few for CRIU to bring a task back (raise the hard"
                    + " limit to "
                    + FEW_FILES
                    + " or more: ulimit -Hn; docker or podman run --ulimit nofile=...)");
          }
        }
      }
    } catch (IOException | RuntimeException e) {
      log.debug("{} tells no limits", limits, e);
    }
    return Optional.empty();
  }

  private static Optional<String> setting(Map<String, String> environment) {
    try {
      Stores.memory(environment);
    } catch (IllegalArgumentException e) {
      return Optional.of("LIFEBOAT_POOL_SIZE: " + e.getMessage());
    }
    String level = environment.getOrDefault("LIFEBOAT_LOG_LEVEL", "");
    return level.isEmpty() || LEVELS.contains(level.toLowerCase(Locale.ROOT))
        ? Optional.empty()
        : Optional.of("LIFEBOAT_LOG_LEVEL: no level: " + level + " (error, warn, info or debug)");
  }

  private static Optional<String> cache(Map<String, String> environment) {
    Path folder = Stores.cache(environment);
    try {
      Folders.createPrivate(folder);
      // not FileStore.isReadOnly: it takes a folder bound from the root's own disk for the root
      if (!Files.isWritable(folder)) {
        return Optional.of(unusable(folder, "it cannot be written"));
      }
      long free = Files.getFileStore(folder).getUsableSpace();
      if (free < LITTLE) {
        log.warn(
            "{} has only {} left: snapshots may fail (LIFEBOAT_CACHE_LOCATION names another"
                + " folder)",
            folder,
            Sizes.show(free));
      }
      return Optional.empty();
    } catch (IOException e) {
      return Optional.of(unusable(folder, reason(e)));
    }
  }

  private static String unusable(Path folder, String reason) {
    return "the folder "
        + folder
        + ", where snapshots are kept on their way, cannot be used: "
        + reason
        + " (LIFEBOAT_CACHE_LOCATION names another)";
  }

  /** Why something with a file failed, in words; Java's own message is often but the path. */
  public static String reason(IOException e) {
    return switch (e) {
      case NoSuchFileException f -> "there is no " + f.getFile();
      case FileAlreadyExistsException f -> f.getFile() + " is in the way";
      case AccessDeniedException f -> "no permission for " + f.getFile();
      case DirectoryNotEmptyException f -> f.getFile() + " is not empty";
      case FileSystemException f when f.getReason() != null -> f.getReason();
      case ErrnoException f -> reason(f);
      default -> e.getMessage() == null ? e.toString() : e.getMessage();
    };
  }

  private static String reason(ErrnoException e) {
    return switch (e.errno()) {
      case ENOENT -> "there is no " + e.object();
      case EEXIST -> e.object() + " is in the way";
      case EACCES, EPERM -> "no permission for " + e.object();
      case ENOSPC -> "No space left on device";
      case EDQUOT -> "Disk quota exceeded";
      case EROFS -> "Read-only file system";
      case EIO -> "Input/output error";
      default -> e.getMessage();
    };
  }
}
