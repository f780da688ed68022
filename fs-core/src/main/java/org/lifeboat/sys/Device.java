package org.lifeboat.sys;

import java.lang.foreign.MemorySegment;

/**
 * An open character device. Calls return what the kernel says, errors as negative numbers, since
 * with a device most of them are messages. Thread-safe, but whoever closes sees to it that nobody
 * calls any more.
 */
public final class Device implements AutoCloseable {

  private final int fd;
  private final BytePath path;
  private boolean closed;

  private Device(int fd, BytePath path) {
    this.fd = fd;
    this.path = path;
  }

  /** Opens it for reading and writing, close-on-exec. */
  public static Device open(BytePath path) throws ErrnoException {
    return new Device(Libc.open(path, Libc.O_RDWR | Libc.O_CLOEXEC, 0), path);
  }

  /**
   * A descriptor that this process was given.
   *
   * @param path for messages
   */
  public static Device adopt(int fd, BytePath path) {
    return new Device(fd, path);
  }

  /**
   * A duplicate of what another process has open, which lives on when that process ends
   * (pidfd_getfd(2), Linux 5.6).
   *
   * @param pid as this process sees it
   * @param descriptor its number there
   * @param path for messages
   * @throws ErrnoException EPERM without the right to trace that process (CAP_SYS_PTRACE), EBADF if
   *     it has no such descriptor, ESRCH if there is no such process
   */
  public static Device of(long pid, int descriptor, BytePath path) throws ErrnoException {
    return new Device(Libc.duplicate(pid, descriptor, path), path);
  }

  public int fd() {
    return fd;
  }

  public BytePath path() {
    return path;
  }

  /** One read(2): bytes read, or the negative error number; EINTR is not hidden. */
  public long read(MemorySegment into) {
    return Libc.read(fd, into);
  }

  /** One write(2): bytes written, or the negative error number. */
  public long write(MemorySegment from) {
    return Libc.write(fd, from);
  }

  /** One ioctl(2) on a struct in native memory: its result, or the negative error number. */
  public int ioctl(long request, MemorySegment argument) {
    return Libc.ioctl(fd, request, argument);
  }

  @Override
  public synchronized void close() throws ErrnoException {
    if (!closed) {
      closed = true;
      Libc.close(fd, path);
    }
  }
}
