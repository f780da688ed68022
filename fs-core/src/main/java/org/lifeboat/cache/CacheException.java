package org.lifeboat.cache;

import java.io.IOException;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;

/**
 * The one failure of the cache: what was tried, on what, why it failed, and what to do about it,
 * with the error number that a system call of the file's user should fail with.
 */
public final class CacheException extends IOException {

  private static final long serialVersionUID = 1L;

  private final int number;
  private final String operation;
  private final String path;
  private final String detail;
  private final String remedy;

  /**
   * @param number the kernel's error number
   * @param operation what was tried, as a verb
   * @param path the file of the cache, or the object it is a copy of
   * @param detail what went wrong, in words; without secrets
   * @param remedy what the reader can do; empty when there is nothing but trying again
   */
  CacheException(
      int number, String operation, String path, String detail, String remedy, Throwable cause) {
    super(
        operation + " " + path + ": " + detail + (remedy.isEmpty() ? "" : " (" + remedy + ")"),
        cause);
    this.number = number;
    this.operation = operation;
    this.path = path;
    this.detail = detail;
    this.remedy = remedy;
  }

  CacheException(Errno errno, String operation, Object path, String detail, String remedy) {
    this(errno.number(), operation, path.toString(), detail, remedy, null);
  }

  /** A system call on a file of the cache failed. */
  static CacheException of(String operation, ErrnoException e) {
    String remedy =
        switch (e.errno()) {
          case ENOSPC, EDQUOT -> "make room on the file system of the cache";
          case EMFILE -> "raise the limit of open files, ulimit -n";
          case EACCES, EPERM -> "the cache must belong to the user that runs this";
          case EROFS -> "put the cache on a file system that can be written to";
          case EIO -> "the disk of the cache fails: see the kernel's log";
          default -> "";
        };
    return new CacheException(e.number(), operation, e.object(), e.getMessage(), remedy, e);
  }

  /** The same failure, as one of another thread that waited for it; that one is the cause. */
  static CacheException again(CacheException e) {
    return new CacheException(e.number, e.operation, e.path, e.detail, e.remedy, e);
  }

  public Errno errno() {
    return Errno.of(number);
  }

  /** The kernel's number, also where {@link #errno()} has no name for it. */
  public int number() {
    return number;
  }

  public String operation() {
    return operation;
  }

  public String path() {
    return path;
  }

  public String detail() {
    return detail;
  }

  public String remedy() {
    return remedy;
  }

  boolean isNoSpace() {
    return errno() == Errno.ENOSPC || errno() == Errno.EDQUOT;
  }
}
