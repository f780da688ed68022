package org.lifeboat.vfs;

import java.io.IOException;
import org.lifeboat.cache.CacheException;
import org.lifeboat.store.StoreException;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;

/** What a program is told of what went wrong below. */
final class Failures {

  private Failures() {}

  static Errno errno(StoreException e) {
    return switch (e.kind()) {
      case NOT_FOUND, NO_STORE -> Errno.ENOENT;
      case DENIED -> Errno.EACCES;
      case NO_SPACE -> Errno.ENOSPC;
      case INTERRUPTED -> Errno.EINTR;
      case PRECONDITION_FAILED,
          CONFLICT,
          UNKNOWN_OUTCOME,
          UNREACHABLE,
          THROTTLED,
          CORRUPT,
          INVALID,
          OTHER ->
          Errno.EIO;
    };
  }

  static VfsException of(IOException e, String operation, String path) {
    return switch (e) {
      case VfsException vfs -> vfs;
      case ErrnoException errno -> VfsException.of(errno, operation, path);
      case StoreException store ->
          new VfsException(
              errno(store), operation, path, path + ": " + store.getMessage(), "", store);
      case CacheException cache ->
          new VfsException(errno(cache), operation, path, path + ": " + e.getMessage(), "", e);
      default -> new VfsException(Errno.EIO, operation, path, path + ": " + e.getMessage(), "", e);
    };
  }

  /** The cache's own, or that of the store behind it. */
  private static Errno errno(CacheException e) {
    Errno own = e.errno() == Errno.OTHER ? Errno.EIO : e.errno();
    if (own == Errno.EIO) {
      for (Throwable cause = e.getCause(); cause != null; cause = cause.getCause()) {
        if (cause instanceof StoreException store) {
          return errno(store);
        }
      }
    }
    return own;
  }
}
