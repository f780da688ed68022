package org.lifeboat.store;

import static java.nio.file.StandardOpenOption.CREATE;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLockInterruptionException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
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
 */
final class StoreLock implements AutoCloseable {

  private static final ConcurrentMap<Object, ReentrantLock> IN_JVM = new ConcurrentHashMap<>();

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
   */
  static StoreLock acquire(Path file) throws IOException {
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
        channel.lock();
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
