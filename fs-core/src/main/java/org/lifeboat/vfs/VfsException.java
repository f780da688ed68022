package org.lifeboat.vfs;

import static java.util.Objects.requireNonNull;

import java.io.IOException;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;

/**
 * The one failure of a {@link FileOperations}, and of a mount: what was tried, on what, the number
 * that the program gets, and for people why and what to do. Many are ordinary answers (ENOENT,
 * ENOTEMPTY); those that are not (EIO above all) are logged by the transport.
 */
public final class VfsException extends IOException {

  private static final long serialVersionUID = 1L;

  private final int number;
  private final String operation;
  private final String path;
  private final String remedy;

  /**
   * @param operation what was tried: {@code read}, {@code rename}
   * @param path what it was tried on, fit for a message; may be empty where nobody asks
   * @param detail what went wrong in words; may be empty where the number says it all
   * @param remedy what the reader can do; may be empty
   * @param cause may be null
   */
  public VfsException(
      Errno errno, String operation, String path, String detail, String remedy, Throwable cause) {
    this(number(errno), errno.name(), operation, path, detail, remedy, cause);
  }

  private VfsException(
      int number,
      String text,
      String operation,
      String path,
      String detail,
      String remedy,
      Throwable cause) {
    super(
        operation
            + (path.isEmpty() ? "" : " " + path)
            + ": "
            + (detail.isEmpty() ? text : detail)
            + (remedy.isEmpty() ? "" : " (" + remedy + ")"),
        cause);
    this.number = number;
    this.operation = operation;
    this.path = path;
    this.remedy = requireNonNull(remedy, "remedy is null");
  }

  /** An ordinary answer. */
  public VfsException(Errno errno, String operation, String path) {
    this(errno, operation, path, "", "", null);
  }

  /** A system call on a local file failed, and the program is to get the same number. */
  public static VfsException of(ErrnoException e, String operation, String path) {
    return of(e, operation, path, "");
  }

  /** The same, with what the reader can do. */
  public static VfsException of(ErrnoException e, String operation, String path, String remedy) {
    boolean same = operation.equals(e.call()) && path.equals(e.object());
    String errno = e.errno() == Errno.OTHER ? "errno " + e.number() : e.errno().name();
    return new VfsException(
        e.number(), errno, operation, path, same ? errno : e.getMessage(), remedy, e);
  }

  private static int number(Errno errno) {
    if (errno == Errno.OTHER) {
      throw new IllegalArgumentException("no number");
    }
    return errno.number();
  }

  /** One of the numbers, {@link Errno#OTHER} where it is not in that list. */
  public Errno errno() {
    return Errno.of(number);
  }

  /** The kernel's number; positive. */
  public int number() {
    return number;
  }

  public String operation() {
    return operation;
  }

  public String path() {
    return path;
  }

  public String remedy() {
    return remedy;
  }
}
