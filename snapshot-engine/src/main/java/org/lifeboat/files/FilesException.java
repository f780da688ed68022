package org.lifeboat.files;

import java.io.IOException;
import java.util.Optional;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;

/**
 * The one failure of capture and roll-back: what was tried, on which path, why it failed, the
 * kernel's error number where there is one, and what to do about it.
 */
public final class FilesException extends IOException {

  private static final long serialVersionUID = 1L;

  private final String operation;
  private final String path;
  private final Errno errno;
  private final String remedy;

  FilesException(
      String operation, Object path, String detail, Errno errno, String remedy, Throwable cause) {
    super(
        operation + " " + path + ": " + detail + (remedy.isEmpty() ? "" : " (" + remedy + ")"),
        cause);
    this.operation = operation;
    this.path = path.toString();
    this.errno = errno;
    this.remedy = remedy;
  }

  FilesException(String operation, Object path, String detail, String remedy) {
    this(operation, path, detail, null, remedy, null);
  }

  static FilesException of(String operation, Object path, String remedy, IOException cause) {
    Errno errno = cause instanceof ErrnoException e ? e.errno() : null;
    String advice = remedy;
    if (advice.isEmpty() && errno != null) {
      advice =
          switch (errno) {
            case EACCES, EPERM ->
                "run as root, or as the file's owner with CAP_DAC_READ_SEARCH, or leave its"
                    + " directory out of the preserved paths";
            case ENOSPC, EDQUOT -> "free some space there";
            case EROFS -> "the file system is read-only: mount it writable";
            case EMFILE -> "raise the limit of open files (ulimit -n)";
            case ENAMETOOLONG -> "paths of more than 4095 bytes can't be captured";
            default -> "";
          };
    }
    return new FilesException(
        operation, path, String.valueOf(cause.getMessage()), errno, advice, cause);
  }

  /** What was tried, as a verb. */
  public String operation() {
    return operation;
  }

  /** The path it was tried on, fit for a message. */
  public String path() {
    return path;
  }

  /** The kernel's reason, where there is one. */
  public Optional<Errno> errno() {
    return Optional.ofNullable(errno);
  }

  /** What the reader can do; empty when nothing general can be said. */
  public String remedy() {
    return remedy;
  }
}
