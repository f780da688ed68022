package org.lifeboat.files;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.Stat;

/**
 * Puts metadata back, in the order in which the kernel does not undo it: the owner first (that
 * clears setuid and capabilities), then the permissions, then attributes (an access list carries
 * the permissions with it), the time last.
 *
 * <p>What this host or this user can't have (another owner without privilege, an attribute that the
 * file system lacks) is a warning, not a failure: a snapshot must restore.
 */
final class Metadata {

  private final List<String> warnings;

  Metadata(List<String> warnings) {
    this.warnings = warnings;
  }

  /** Sets only what differs, so that unprivileged users don't fail on what is right already. */
  void apply(BytePath host, Entry.Meta meta) throws ErrnoException {
    Stat now = Libc.lstat(host);
    if (now.uid() != meta.uid() || now.gid() != meta.gid()) {
      try {
        Libc.lchown(host, meta.uid(), meta.gid());
      } catch (ErrnoException e) {
        tolerate(e, host + " keeps its owner " + now.uid() + ":" + now.gid());
      }
      now = Libc.lstat(host);
    }
    int wanted = meta.mode() & 07777;
    if (!now.isSymlink() && now.permissions() != wanted) {
      try {
        Libc.chmod(host, wanted);
      } catch (ErrnoException e) {
        tolerate(e, String.format("%s keeps its mode %o", host, now.permissions()));
      }
    }
    attributes(host, meta);
    if (!now.mtime().equals(meta.mtime())) {
      time(host, meta);
    }
  }

  void time(BytePath host, Entry.Meta meta) throws ErrnoException {
    try {
      Libc.setModified(host, meta.mtime());
    } catch (ErrnoException e) {
      tolerate(e, host + " keeps its time");
    }
  }

  private void tolerate(ErrnoException e, String warning) throws ErrnoException {
    if (e.errno() != Errno.EPERM && e.errno() != Errno.EOPNOTSUPP) {
      throw e;
    }
    warnings.add(warning + ": " + e.getMessage());
  }

  private void attributes(BytePath host, Entry.Meta meta) throws ErrnoException {
    Map<Bytes, Bytes> wanted = new HashMap<>();
    for (Entry.Xattr xattr : meta.xattrs()) {
      wanted.put(xattr.name(), xattr.value());
    }
    for (byte[] name : Libc.listXattrs(host)) {
      if (!wanted.containsKey(Bytes.of(name)) && isOurs(name)) {
        try {
          Libc.removeXattr(host, name);
        } catch (ErrnoException e) {
          if (e.errno() != Errno.ENODATA) {
            tolerate(e, host + " keeps the attribute " + BytePath.printable(name, 0));
          }
        }
      }
    }
    for (Map.Entry<Bytes, Bytes> xattr : wanted.entrySet()) {
      byte[] name = xattr.getKey().toArray();
      if (!Objects.equals(current(host, name), xattr.getValue())) {
        try {
          Libc.setXattr(host, name, xattr.getValue().toArray());
        } catch (ErrnoException e) {
          tolerate(e, host + " lacks the attribute " + xattr.getKey());
        }
      }
    }
  }

  private static Bytes current(BytePath host, byte[] name) throws ErrnoException {
    try {
      return Bytes.of(Libc.getXattr(host, name));
    } catch (ErrnoException e) {
      if (e.errno() == Errno.ENODATA || e.errno() == Errno.EOPNOTSUPP) {
        return null;
      }
      throw e;
    }
  }

  /** What a new file may have got from its directory; not labels that the system gives. */
  private static boolean isOurs(byte[] name) {
    String text = new String(name, ISO_8859_1);
    return text.startsWith("user.")
        || text.startsWith("trusted.")
        || text.startsWith("system.posix_acl_")
        || text.equals("security.capability");
  }
}
