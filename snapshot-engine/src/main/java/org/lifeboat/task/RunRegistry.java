package org.lifeboat.task;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Optional;
import org.lifeboat.snapshot.Folders;
import org.lifeboat.snapshot.SealedJson;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.sys.Stat;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Which runs this host has: how {@code lifeboat checkpoint --store URL} finds the run of that URL,
 * and how a second run of the same URL is refused.
 *
 * <pre>
 *  BASE/                    0700; /run/lifeboat, or LIFEBOAT_RUN_BASE
 *    run-XXXXXX/            a run's sockets; made by the launcher
 *    HASH.lock              locked by the run's engine while it lives, removed at its end
 *    HASH -&gt; run-XXXXXX     for the run of that URL
 * </pre>
 */
public final class RunRegistry implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(RunRegistry.class);

  /** How old a run's folder without a lock may be at the most, of a run that lives. */
  private static final Duration YOUNG = Duration.ofHours(1);

  private final Path link;
  private final Path file;
  private final OpenFile lock;

  private RunRegistry(Path link, Path file, OpenFile lock) {
    this.link = link;
    this.file = file;
    this.lock = lock;
  }

  /** Where runs are found on this host. */
  public static Path base(Map<String, String> environment) {
    String base = environment.get("LIFEBOAT_RUN_BASE");
    return Path.of(base == null || base.isEmpty() ? "/run/lifeboat" : base);
  }

  /** A short name for a store URL that is usable as a file name. */
  public static String hash(StoreUrl url) {
    return SealedJson.sha256(url.toString().getBytes(StandardCharsets.UTF_8)).substring(0, 16);
  }

  /**
   * Registers this run; empty when another run of the URL holds the place.
   *
   * @param runDirectory below the base, or elsewhere
   */
  public static Optional<RunRegistry> claim(Path base, StoreUrl url, Path runDirectory)
      throws IOException {
    Folders.createPrivate(base);
    Path link = base.resolve(hash(url));
    Path file = base.resolve(hash(url) + ".lock");
    Optional<OpenFile> lock = lock(BytePath.of(file));
    if (lock.isEmpty()) {
      return Optional.empty();
    }
    RunRegistry place = new RunRegistry(link, file, lock.get());
    try {
      // for who looks whose it is; and a full disk shows here
      lock.get().replace((runDirectory + "\n").getBytes(StandardCharsets.UTF_8));
    } catch (IOException e) {
      place.abandon(e);
      throw e;
    }
    removeDead(base, runDirectory);
    try {
      Optional<Path> earlier = earlier(link, runDirectory);
      if (earlier.isPresent()) {
        if (initLives(earlier.get())) { // with a task, and an engine that is being started again
          place.lock.close();
          return Optional.empty();
        }
        Folders.delete(earlier.get());
      }
      Files.deleteIfExists(link);
      Files.createSymbolicLink(link, runDirectory);
      return Optional.of(place);
    } catch (IOException e) {
      place.abandon(e);
      throw e;
    }
  }

  /** Lets go of it; the link may be that of a run that lives. */
  private void abandon(IOException failure) {
    try {
      Files.deleteIfExists(file);
      lock.close();
    } catch (IOException suppressed) {
      failure.addSuppressed(suppressed);
    }
  }

  /**
   * Empty when somebody has it. A run that ends removes the file, maybe just before it is locked.
   */
  private static Optional<OpenFile> lock(BytePath path) throws ErrnoException {
    while (true) {
      OpenFile lock = OpenFile.writeOrCreate(path);
      if (!lock.tryLock()) {
        lock.close();
        return Optional.empty();
      }
      if (isStill(lock, path)) {
        return Optional.of(lock);
      }
      lock.close();
    }
  }

  /** Whether what was locked is what is now there under that name. */
  private static boolean isStill(OpenFile locked, BytePath path) throws ErrnoException {
    Stat mine = locked.stat();
    Optional<Stat> there = Libc.find(path);
    return there.isPresent() && there.get().dev() == mine.dev() && there.get().ino() == mine.ino();
  }

  /** The folders of runs that were killed; those of runs that just begin have no lock yet. */
  private static void removeDead(Path base, Path mine) {
    try (DirectoryStream<Path> runs = Files.newDirectoryStream(base, "run-*")) {
      for (Path run : runs) {
        boolean begun =
            Files.exists(run.resolve("lock"))
                || Files.getLastModifiedTime(run).toInstant().isBefore(Instant.now().minus(YOUNG));
        if (!run.equals(mine) && begun && !initLives(run)) {
          Folders.delete(run);
        }
      }
    } catch (IOException | DirectoryIteratorException e) {
      log.warn("what killed runs left in {} could not be removed: {}", base, e.getMessage());
    }
  }

  /** The control socket of the run of this URL on this host, if there is one. */
  public static Optional<Path> controlSocket(Path base, StoreUrl url) {
    Path socket = base.resolve(hash(url)).resolve("control.sock");
    return Files.exists(socket, LinkOption.NOFOLLOW_LINKS) ? Optional.of(socket) : Optional.empty();
  }

  /** The folder of the run that had this URL before, unless that is this one. */
  private static Optional<Path> earlier(Path link, Path mine) throws IOException {
    if (!Files.isSymbolicLink(link)) {
      return Optional.empty();
    }
    Path folder = link.resolveSibling(Files.readSymbolicLink(link));
    return folder.equals(mine) || !folder.getFileName().toString().startsWith("run-")
        ? Optional.empty()
        : Optional.of(folder);
  }

  /** Whether a run's lifeboat-init lives: it has RUN/lock, whatever becomes of its engine. */
  private static boolean initLives(Path folder) throws IOException {
    try (OpenFile lock = OpenFile.read(BytePath.of(folder.resolve("lock")))) {
      return !lock.tryLock();
    } catch (ErrnoException e) {
      if (e.errno() == Errno.ENOENT || e.errno() == Errno.ENOTDIR) {
        return false;
      }
      throw e;
    }
  }

  @Override
  public void close() throws IOException {
    Files.deleteIfExists(link);
    Files.deleteIfExists(file);
    lock.close();
  }
}
