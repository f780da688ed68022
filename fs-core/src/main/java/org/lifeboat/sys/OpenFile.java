package org.lifeboat.sys;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Instant;

/** An open descriptor, close-on-exec. Positional calls may come from several threads at once. */
public final class OpenFile implements AutoCloseable {

  private final int fd;
  private final BytePath path;
  private boolean closed;

  OpenFile(int fd, BytePath path) {
    this.fd = fd;
    this.path = path;
  }

  /** Opens for reading; not through a symbolic link at the end, without waiting for a FIFO. */
  public static OpenFile read(BytePath path) throws ErrnoException {
    int flags = Libc.O_RDONLY | Libc.O_NONBLOCK | Libc.O_NOFOLLOW | Libc.O_CLOEXEC;
    try {
      return new OpenFile(Libc.open(path, flags | Libc.O_NOATIME, 0), path);
    } catch (ErrnoException notOurs) {
      if (notOurs.errno() != Errno.EPERM) {
        throw notOurs;
      }
      return new OpenFile(Libc.open(path, flags, 0), path);
    }
  }

  /** Makes a new file, mode 0600, open for writing; fails with EEXIST if the name is taken. */
  public static OpenFile create(BytePath path) throws ErrnoException {
    int flags = Libc.O_RDWR | Libc.O_CREAT | Libc.O_EXCL | Libc.O_NOFOLLOW | Libc.O_CLOEXEC;
    return new OpenFile(Libc.open(path, flags, 0600), path);
  }

  /** Opens a file that exists for reading and writing; not through a symbolic link at the end. */
  public static OpenFile write(BytePath path) throws ErrnoException {
    return new OpenFile(Libc.open(path, Libc.O_RDWR | Libc.O_NOFOLLOW | Libc.O_CLOEXEC, 0), path);
  }

  /** Opens a file for reading and writing and makes it, mode 0600, where there is none. */
  public static OpenFile writeOrCreate(BytePath path) throws ErrnoException {
    int flags = Libc.O_RDWR | Libc.O_CREAT | Libc.O_NOFOLLOW | Libc.O_CLOEXEC;
    return new OpenFile(Libc.open(path, flags, 0600), path);
  }

  /** Opens a directory, for {@link #sync()} and {@link #syncFileSystem()}. */
  public static OpenFile directory(BytePath path) throws ErrnoException {
    int flags = Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_CLOEXEC;
    return new OpenFile(Libc.open(path, flags, 0), path);
  }

  public BytePath path() {
    return path;
  }

  public int fd() {
    return fd;
  }

  /** Reads up to the segment's length at {@code offset}; returns bytes read, 0 at the end. */
  public int read(MemorySegment into, long offset) throws ErrnoException {
    return Libc.pread(fd, path, into, offset);
  }

  /** Writes the whole segment at {@code offset}. */
  public void write(MemorySegment from, long offset) throws ErrnoException {
    long done = 0;
    while (done < from.byteSize()) {
      done += Libc.pwrite(fd, path, from.asSlice(done), offset + done);
    }
  }

  /** Makes these few bytes the whole content; in between the file is empty. */
  public void replace(byte[] content) throws ErrnoException {
    try (Arena arena = Arena.ofConfined()) {
      truncate(0);
      write(arena.allocateFrom(ValueLayout.JAVA_BYTE, content), 0);
    }
  }

  /** The next offset, from {@code offset} on, that holds data; -1 if there is none. */
  public long nextData(long offset) throws ErrnoException {
    return Libc.lseek(fd, path, offset, Libc.SEEK_DATA);
  }

  /** The next offset, from {@code offset} on, where a hole begins (the end of the file is one). */
  public long nextHole(long offset) throws ErrnoException {
    return Libc.lseek(fd, path, offset, Libc.SEEK_HOLE);
  }

  public Stat stat() throws ErrnoException {
    return Libc.fstat(fd, path);
  }

  public void truncate(long size) throws ErrnoException {
    Libc.ftruncate(fd, path, size);
  }

  /**
   * Makes this file share the other's blocks (FICLONE); EOPNOTSUPP or EXDEV where that can't be.
   */
  public void cloneFrom(OpenFile source) throws ErrnoException {
    Libc.ficlone(fd, path, source.fd);
  }

  /**
   * Makes a hole of a range, which reads as zeros then and takes no room; the file keeps its
   * length. EOPNOTSUPP where the file system cannot.
   */
  public void punch(long offset, long length) throws ErrnoException {
    Libc.punch(fd, path, offset, length);
  }

  /**
   * fallocate(2).
   *
   * @param mode its FALLOC_FL bits
   * @param offset from 0 on
   * @param length from 1 on
   */
  public void allocate(int mode, long offset, long length) throws ErrnoException {
    Libc.fallocate(fd, path, mode, offset, length);
  }

  /** fdatasync(2): the content, and of the metadata what is needed to read it again. */
  public void syncData() throws ErrnoException {
    Libc.fdatasync(fd, path);
  }

  /** fsync(2). */
  public void sync() throws ErrnoException {
    Libc.fsync(fd, path);
  }

  /** syncfs(2): writes back the whole file system that this file lies on. */
  public void syncFileSystem() throws ErrnoException {
    Libc.syncfs(fd, path);
  }

  /**
   * Takes flock(2)'s exclusive lock, until this file is closed; false when somebody has it. These
   * locks and those of Java's channels do not see each other.
   */
  public boolean tryLock() throws ErrnoException {
    return Libc.tryFlock(fd, path);
  }

  /** Sets the time of the last change of content; leaves the time of access alone. */
  public void setModified(Instant mtime) throws ErrnoException {
    Libc.futimens(fd, path, mtime);
  }

  @Override
  public synchronized void close() throws ErrnoException {
    if (!closed) {
      closed = true;
      Libc.close(fd, path);
    }
  }
}
