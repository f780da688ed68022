package org.lifeboat.sys;

import java.io.IOException;

/** A system call failed: which, on what, and the kernel's reason. */
public final class ErrnoException extends IOException {

  private static final long serialVersionUID = 1L;

  private final String call;
  private final String object;
  private final int number;

  /**
   * @param call the system call's name
   * @param object the path or descriptor it was made on, fit for a message
   * @param number the kernel's error number
   */
  public ErrnoException(String call, String object, int number) {
    super(call + " " + object + ": " + text(number));
    this.call = call;
    this.object = object;
    this.number = number;
  }

  private static String text(int number) {
    Errno errno = Errno.of(number);
    return errno == Errno.OTHER ? "errno " + number : errno.name();
  }

  public String call() {
    return call;
  }

  public String object() {
    return object;
  }

  public Errno errno() {
    return Errno.of(number);
  }

  /** The kernel's number, also where {@link #errno()} has no name for it. */
  public int number() {
    return number;
  }

  /** Whether the name, or a directory on the way to it, does not exist. */
  public boolean isAbsent() {
    return errno() == Errno.ENOENT || errno() == Errno.ENOTDIR;
  }
}
