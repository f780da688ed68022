package org.lifeboat.task;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import java.util.Optional;
import org.lifeboat.snapshot.Folders;
import org.lifeboat.snapshot.SealedJson;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.OpenFile;

/**
 * Which runs this host has: how {@code lifeboat checkpoint --store URL} finds the run of that URL,
 * and how a second run of the same URL is refused.
 *
 * <pre>
 *  BASE/                    0700; /run/lifeboat, or LIFEBOAT_RUN_BASE
 *    run-XXXXXX/            a run's sockets; made by the launcher
 *    HASH.lock              locked by the run's engine while it lives
 *    HASH -&gt; run-XXXXXX     for the run of that URL
 * </pre>
 */
public final class RunRegistry implements AutoCloseable {

  private final Path link;
  private final FileChannel channel;
  private final FileLock lock;

  private RunRegistry(Path link, FileChannel channel, FileLock lock) {
    this.link = link;
    this.channel = channel;
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
    FileChannel channel =
        FileChannel.open(
            base.resolve(hash(url) + ".lock"),
            java.util.Set.of(StandardOpenOption.CREATE, StandardOpenOption.WRITE),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    FileLock lock;
    try {
      lock = channel.tryLock();
    } catch (OverlappingFileLockException e) {
      lock = null;
    }
    if (lock == null) {
      channel.close();
      return Optional.empty();
    }
    RunRegistry place = new RunRegistry(link, channel, lock);
    try {
      Optional<Path> earlier = earlier(link, runDirectory);
      if (earlier.isPresent()) {
        if (initLives(earlier.get())) { // with a task, and an engine that is being started again
          channel.close();
          return Optional.empty();
        }
        Folders.delete(earlier.get());
      }
      Files.deleteIfExists(link);
      Files.createSymbolicLink(link, runDirectory);
      return Optional.of(place);
    } catch (IOException e) {
      try {
        channel.close();
      } catch (IOException suppressed) {
        e.addSuppressed(suppressed);
      }
      throw e;
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
    lock.release();
    channel.close();
  }
}
