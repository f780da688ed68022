package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What a CRIU that was killed in the middle of a dump did to the task. While it puts its parasite
 * into a process, that process runs borrowed instructions; let go then, it dies of a trap. That is
 * one process at a time, the one that the log names last, and only within some milliseconds; all
 * others go on unharmed, with at most two mappings more (measured: 400 kills at random instants, 16
 * deaths, all of them of the process that was being infected, by SIGTRAP or SIGSEGV; nothing else).
 */
final class CriuDeath {

  /** SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS: what broken instructions end with. */
  private static final Set<Integer> FAULTS = Set.of(4, 5, 7, 8, 11, 31);

  private static final Logger log = LoggerFactory.getLogger(CriuDeath.class);

  private static final Pattern INFECTED = Pattern.compile("Dumping task \\(pid: (\\d+) ");

  /** How long a process that was let go is watched; it runs at once, unless others do. */
  private static final long WATCH_NANOS = TimeUnit.MILLISECONDS.toNanos(400);

  private CriuDeath() {}

  /** Whether a process that ended with this signal may have been ended by CRIU's death. */
  static boolean isFault(int signal) {
    return FAULTS.contains(signal);
  }

  /**
   * The process that died with CRIU, if one did.
   *
   * @param log CRIU's, as far as it came
   */
  static Optional<Long> victim(Path log) throws IOException {
    Optional<Long> last = infected(log);
    if (last.isEmpty()) {
      return Optional.empty();
    }
    long end = System.nanoTime() + WATCH_NANOS;
    do {
      if (dead(last.get())) {
        return last;
      }
      LockSupport.parkNanos(10_000_000);
    } while (System.nanoTime() < end);
    return Optional.empty();
  }

  /**
   * Removes what CRIU tried the kernel with in /tmp, the task's: it does so where it has no cache
   * of the answers yet.
   */
  static void tidy() {
    try (DirectoryStream<Path> left =
        Files.newDirectoryStream(Path.of("/tmp"), CriuDeath::isTrial)) {
      for (Path folder : left) {
        Files.deleteIfExists(folder);
      }
    } catch (IOException | DirectoryIteratorException e) {
      log.warn("what a CRIU that was killed left in /tmp could not be removed: {}", e.toString());
    }
  }

  private static boolean isTrial(Path path) {
    return path.getFileName().toString().startsWith(".criu.")
        && Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS);
  }

  /** Whether a CRIU that has ended did not come to its end by itself. */
  static boolean wasKilled(Path log) throws IOException {
    if (!Files.exists(log)) {
      return false;
    }
    String text = new String(Files.readAllBytes(log), StandardCharsets.ISO_8859_1);
    return !text.contains("Dumping FAILED") && !text.contains("Dumping finished successfully");
  }

  static Optional<Long> infected(Path log) throws IOException {
    if (!Files.exists(log)) {
      return Optional.empty();
    }
    Matcher matcher =
        INFECTED.matcher(new String(Files.readAllBytes(log), StandardCharsets.ISO_8859_1));
    Optional<Long> last = Optional.empty();
    while (matcher.find()) {
      last = Optional.of(Long.parseLong(matcher.group(1)));
    }
    return last;
  }

  /** Gone, or a zombie that a fault ended. */
  private static boolean dead(long pid) throws IOException {
    Path file = Path.of("/proc", Long.toString(pid), "stat");
    String stat;
    try {
      stat = new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
    } catch (IOException e) {
      if (Files.exists(file)) {
        throw e;
      }
      return true;
    }
    String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1);
    int status = Integer.parseInt(fields[fields.length - 1].strip());
    return fields[0].equals("Z") && isFault(status & 0x7f);
  }
}
