package org.lifeboat.files;

import java.util.List;
import java.util.Optional;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.Stat;

/**
 * Visits every name in a scope, in path order, a directory before what is in it. Crosses mounts but
 * those of the kernel's own file systems. A name that vanishes under way counts as never there.
 */
final class Walk {

  /** What is done with a name. */
  interface Visitor {
    void visit(BytePath path, Stat stat) throws FilesException;
  }

  private final Scope scope;
  private final BytePath prefix;
  private final Mounts mounts;

  /**
   * @param prefix directory that stands for the root; visited paths do not have it
   */
  Walk(Scope scope, BytePath prefix, Mounts mounts) {
    this.scope = scope;
    this.prefix = prefix;
    this.mounts = mounts;
  }

  void run(Visitor visitor) throws FilesException {
    for (BytePath root : scope.roots()) {
      if (!scope.excludes(root)) {
        visit(root, visitor);
      }
    }
  }

  /** Only what is below one directory, which itself is visited first. */
  void visit(BytePath path, Visitor visitor) throws FilesException {
    BytePath host = prefix.rebase(path);
    Optional<Stat> stat;
    try {
      stat = Libc.find(host);
    } catch (ErrnoException e) {
      throw FilesException.of("scan", host, "", e);
    }
    if (stat.isEmpty()) {
      return;
    }
    visitor.visit(path, stat.get());
    if (stat.get().isDirectory() && !mounts.isKernel(host)) {
      List<byte[]> names;
      try {
        names = Libc.list(host);
      } catch (ErrnoException e) {
        if (e.isAbsent()) {
          return;
        }
        if (e.errno() == Errno.ESTALE) {
          throw FilesException.of("scan", host, "the file system went away: mount it again", e);
        }
        throw FilesException.of("scan", host, "", e);
      }
      for (byte[] name : names) {
        BytePath child = path.resolve(name);
        if (!scope.excludesChild(child, name)) {
          visit(child, visitor);
        }
      }
    }
  }
}
