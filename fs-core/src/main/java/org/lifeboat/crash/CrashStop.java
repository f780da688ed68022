package org.lifeboat.crash;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;

/** Stops once, at one arrival at one point, until a file is gone. */
final class CrashStop implements CrashPoints {

  static final String POINT = "LIFEBOAT_CRASH_POINT";
  static final String FILE = "LIFEBOAT_CRASH_FILE";
  private static final long LOOK_NANOS = 2_000_000;

  private final String name;
  private final Path file;
  private final AtomicInteger left;

  private CrashStop(String name, int arrival, Path file) {
    this.name = name;
    this.left = new AtomicInteger(arrival);
    this.file = file;
  }

  static CrashPoints of(String point, String file) {
    int colon = point.indexOf(':');
    String name = colon < 0 ? point : point.substring(0, colon);
    String arrival = colon < 0 ? "1" : point.substring(colon + 1);
    if (name.isEmpty() || file.isEmpty() || !arrival.matches("[1-9]\\d{0,8}")) {
      throw new IllegalArgumentException(
          POINT + "=NAME[:n] and " + FILE + "=path go together, n from 1 on: " + point);
    }
    Path path = Path.of(file);
    return Files.exists(path, LinkOption.NOFOLLOW_LINKS)
        ? NONE
        : new CrashStop(name, Integer.parseInt(arrival), path);
  }

  /** Not to be interrupted, as a process that is being killed is not either. */
  @Override
  public void at(CrashPoint point) {
    if (!point.name().equals(name) || left.decrementAndGet() != 0) {
      return;
    }
    boolean interrupted = Thread.interrupted();
    try {
      Files.createFile(file);
    } catch (FileAlreadyExistsException e) {
      return;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    while (Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
      LockSupport.parkNanos(LOOK_NANOS);
      interrupted |= Thread.interrupted();
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
