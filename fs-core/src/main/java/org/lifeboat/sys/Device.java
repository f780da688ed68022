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
