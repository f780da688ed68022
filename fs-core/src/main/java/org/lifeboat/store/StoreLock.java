package org.lifeboat.store;

import static java.nio.file.StandardOpenOption.CREATE;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLockInterruptionException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Mutual exclusion by a lock file: between the threads of this JVM, and between processes, also on
 * different hosts of one NFS.
 *
 * <p>Java's file locks are POSIX record locks (fcntl). They belong to the process, and closing any
 * descriptor of the file drops them; so inside the JVM a mutex per file (by its identity, not its
 * path: a path has aliases) goes around the descriptor's whole life. The kernel drops the lock of a
 * process that dies. The file is never removed by us; a lock on a file that somebody else removed
 * is noticed and taken anew.
 *
 * <p>Whoever holds it does so for some metadata operations; but it may be stopped in their midst,
 * by a signal or with its whole machine. So the wait has an end: an error that names the file is
 * better than a run that hangs and says nothing.
 */
final class StoreLock implements AutoCloseable {

  private static final ConcurrentMap<Object, ReentrantLock> IN_JVM = new ConcurrentHashMap<>();

  /** Many times what anybody needs it for. */
  private static final Duration WAIT = Duration.ofSeconds(20);

  private static final long LONGEST_NAP = 10_000_000;

  static final String STUCK = "another process has held this lock for too long";

  private final ReentrantLock mutex;
  private final FileChannel channel;

  private StoreLock(ReentrantLock mutex, FileChannel channel) {
    this.mutex = mutex;
    this.channel = channel;
  }

  /**
   * Waits for the lock; its directory must exist.
   *
   * @throws FileLockInterruptionException when the thread is interrupted; the flag stays set
   * @throws FileSystemException with the reason {@link #STUCK} when another process has had it for
   *     too long
   */
  static StoreLock acquire(Path file) throws IOException {
    return acquire(file, WAIT);
  }

  static StoreLock acquire(Path file, Duration wait) throws IOException {
    while (true) {
      Object identity = identity(file);
      ReentrantLock mutex = IN_JVM.computeIfAbsent(identity, f -> new ReentrantLock());
      try {
        mutex.lockInterruptibly();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        FileLockInterruptionException interrupted = new FileLockInterruptionException();
        interrupted.initCause(e);
        throw interrupted;
      }
      FileChannel channel = null;
      boolean held = false;
      try {
        channel = FileChannel.open(file, Set.of(CREATE, WRITE), FileStore.FILE_MODE);
        await(channel, file, wait);
        held = identity(file).equals(identity);
        if (held) {
          return new StoreLock(mutex, channel);
        }
      } finally {
        if (!held) {
          try {
            if (channel != null) {
              channel.close();
            }
          } finally {
            mutex.unlock();
          }
        }
      }
    }
  }

  /** Polls, as a lock that is waited for inside the kernel can't be given up. */
  private static void await(FileChannel channel, Path file, Duration wait) throws IOException {
    long start = System.nanoTime();
    for (long nap = 50_000; channel.tryLock() == null; nap = Math.min(2 * nap, LONGEST_NAP)) {
      if (Thread.currentThread().isInterrupted()) {
        throw new FileLockInterruptionException();
      }
      if (System.nanoTime() - start > wait.toNanos()) {
        throw new FileSystemException(file.toString(), null, STUCK);
      }
      LockSupport.parkNanos(nap);
    }
  }

  private static Object identity(Path file) throws IOException {
    try {
      return Files.readAttributes(file, BasicFileAttributes.class).fileKey();
    } catch (NoSuchFileException missing) {
      try {
        // O_EXCL: closing a descriptor of a file that exists already could drop a lock of ours
        Files.createFile(file, FileStore.FILE_MODE);
      } catch (FileAlreadyExistsException created) {
        // by somebody else just now: as good
      }
      return Files.readAttributes(file, BasicFileAttributes.class).fileKey();
    }
  }

  @Override
  public void close() throws IOException {
    try {
      channel.close();
    } finally {
      mutex.unlock();
    }
  }
}
