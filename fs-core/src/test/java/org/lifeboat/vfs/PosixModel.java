package org.lifeboat.vfs;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.Stat;

/** What POSIX and Linux say, in as few words as possible. */
final class PosixModel implements Posix {

  private static final class Inode {
    int mode;
    int nlink;
    byte[] data = {};
    String target;
    long mtime = Long.MAX_VALUE;
    final Map<String, String> xattrs = new TreeMap<>();
    TreeMap<String, Inode> names;

    Inode(int mode) {
      this.mode = mode;
      if (type() == Stat.S_IFDIR) {
        names = new TreeMap<>();
      }
    }

    int type() {
      return mode & Stat.S_IFMT;
    }
  }

  private record Slot(Inode inode, boolean write) {}

  private final Inode root = new Inode(Stat.S_IFDIR | 0755);
  private final Map<Integer, Slot> slots = new HashMap<>();

  private Inode walk(String path) throws Failed {
    Inode at = root;
    for (String name : path.split("/", -1)) {
      if (name.isEmpty()) {
        continue;
      }
      if (at.type() == Stat.S_IFLNK) {
        throw new Failed(Errno.ENOENT);
      }
      if (at.names == null) {
        throw new Failed(Errno.ENOTDIR);
      }
      if (name.length() > 255) {
        throw new Failed(Errno.ENAMETOOLONG);
      }
      at = at.names.get(name);
      if (at == null) {
        throw new Failed(Errno.ENOENT);
      }
    }
    return at;
  }

  private record Place(Inode parent, String name) {
    Inode inode() {
      return parent.names.get(name);
    }
  }

  private Place place(String path) throws Failed {
    int slash = path.lastIndexOf('/');
    Inode parent = walk(slash < 0 ? "" : path.substring(0, slash));
    if (parent.type() == Stat.S_IFLNK) {
      throw new Failed(Errno.ENOENT);
    }
    if (parent.names == null) {
      throw new Failed(Errno.ENOTDIR);
    }
    if (path.length() - slash - 1 > 255) {
      throw new Failed(Errno.ENAMETOOLONG);
    }
    return new Place(parent, path.substring(slash + 1));
  }

  private Inode make(String path, int mode) throws Failed {
    Place at = place(path);
    if (at.inode() != null) {
      throw new Failed(Errno.EEXIST);
    }
    Inode made = new Inode(mode);
    made.nlink = 1;
    at.parent().names.put(at.name(), made);
    at.parent().mtime = Long.MAX_VALUE;
    return made;
  }

  /** Puts what is there from the beginning. */
  void put(String path, byte[] data) throws Failed {
    int slash = path.indexOf('/');
    while (slash >= 0) {
      String directory = path.substring(0, slash);
      if (place(directory).inode() == null) {
        make(directory, Stat.S_IFDIR | 0755);
      }
      slash = path.indexOf('/', slash + 1);
    }
    make(path, Stat.S_IFREG | 0644).data = data;
  }

  @Override
  public void create(int slot, String path) throws Failed {
    slots.put(slot, new Slot(make(path, Stat.S_IFREG | 0600), true));
  }

  @Override
  public void open(int slot, String path, boolean write) throws Failed {
    Inode inode = walk(path);
    switch (inode.type()) {
      case Stat.S_IFLNK -> throw new Failed(Errno.ELOOP);
      case Stat.S_IFDIR -> throw new Failed(Errno.EISDIR);
      case Stat.S_IFIFO -> throw new Failed(Errno.OTHER);
      default -> slots.put(slot, new Slot(inode, write));
    }
  }

  @Override
  public void close(int slot) {
    slots.remove(slot);
  }

  @Override
  public void write(int slot, long offset, byte[] bytes) {
    Inode inode = slots.get(slot).inode();
    int end = (int) offset + bytes.length;
    if (bytes.length > 0 && inode.data.length < end) {
      inode.data = Arrays.copyOf(inode.data, end);
    }
    System.arraycopy(bytes, 0, inode.data, (int) offset, bytes.length);
    if (bytes.length > 0) {
      inode.mtime = Long.MAX_VALUE;
    }
  }

  @Override
  public byte[] read(int slot, long offset, int length) {
    byte[] data = slots.get(slot).inode().data;
    int from = (int) Math.min(offset, data.length);
    return Arrays.copyOfRange(data, from, (int) Math.min(data.length, offset + length));
  }

  @Override
  public void truncate(int slot, long size) {
    Inode inode = slots.get(slot).inode();
    inode.data = Arrays.copyOf(inode.data, (int) size);
    inode.mtime = Long.MAX_VALUE;
  }

  @Override
  public long sizeOf(int slot) {
    return slots.get(slot).inode().data.length;
  }

  @Override
  public void mkdir(String path, int mode) throws Failed {
    make(path, Stat.S_IFDIR | mode);
  }

  @Override
  public void rmdir(String path) throws Failed {
    Place at = place(path);
    Inode inode = at.inode();
    if (inode == null) {
      throw new Failed(Errno.ENOENT);
    }
    if (inode.names == null) {
      throw new Failed(Errno.ENOTDIR);
    }
    if (!inode.names.isEmpty()) {
      throw new Failed(Errno.ENOTEMPTY);
    }
    cut(at);
  }

  private static void cut(Place at) {
    at.inode().nlink--;
    at.parent().names.remove(at.name());
    at.parent().mtime = Long.MAX_VALUE;
  }

  private static void add(Place at, Inode inode) {
    inode.nlink++;
    at.parent().names.put(at.name(), inode);
    at.parent().mtime = Long.MAX_VALUE;
  }

  @Override
  public void unlink(String path) throws Failed {
    Place at = place(path);
    Inode inode = at.inode();
    if (inode == null) {
      throw new Failed(Errno.ENOENT);
    }
    if (inode.names != null) {
      throw new Failed(Errno.EISDIR);
    }
    cut(at);
  }

  private static boolean holds(Inode inode, Inode other) {
    if (inode == other) {
      return true;
    }
    return inode.names != null && inode.names.values().stream().anyMatch(n -> holds(n, other));
  }

  @Override
  public void rename(String from, String to, int flags) throws Failed {
    Place here = place(from);
    Place there = place(to);
    boolean exchange = flags == FileOperations.RENAME_EXCHANGE;
    if (here.inode() == null) {
      throw new Failed(Errno.ENOENT);
    }
    Inode source = here.inode();
    Inode target = there.inode();
    if (flags == FileOperations.RENAME_NOREPLACE && target != null) {
      throw new Failed(Errno.EEXIST);
    }
    if (exchange && target == null) {
      throw new Failed(Errno.ENOENT);
    }
    if (source.names != null && holds(source, there.parent())) {
      throw new Failed(Errno.EINVAL);
    }
    if (target != null && target.names != null && holds(target, here.parent())) {
      throw new Failed(exchange ? Errno.EINVAL : Errno.ENOTEMPTY);
    }
    if (source == target) {
      return;
    }
    if (exchange) {
      cut(here);
      cut(there);
      add(here, target);
      add(there, source);
      return;
    }
    if (target != null) {
      if (source.names != null && target.names == null) {
        throw new Failed(Errno.ENOTDIR);
      }
      if (source.names == null && target.names != null) {
        throw new Failed(Errno.EISDIR);
      }
      if (target.names != null && !target.names.isEmpty()) {
        throw new Failed(Errno.ENOTEMPTY);
      }
      cut(there);
    }
    cut(here);
    add(there, source);
  }

  @Override
  public void link(String from, String to) throws Failed {
    Inode inode = walk(from);
    Place at = place(to);
    if (at.inode() != null) {
      throw new Failed(Errno.EEXIST);
    }
    if (inode.names != null) {
      throw new Failed(Errno.EPERM);
    }
    add(at, inode);
  }

  @Override
  public void symlink(String target, String path) throws Failed {
    make(path, Stat.S_IFLNK | 0777).target = target;
  }

  @Override
  public void mkfifo(String path, int mode) throws Failed {
    make(path, Stat.S_IFIFO | mode);
  }

  @Override
  public String readlink(String path) throws Failed {
    Inode inode = walk(path);
    if (inode.target == null) {
      throw new Failed(Errno.EINVAL);
    }
    return inode.target;
  }

  @Override
  public void chmod(String path, int mode) throws Failed {
    Inode inode = walk(path);
    if (inode.type() == Stat.S_IFLNK) {
      throw new Failed(Errno.ENOENT);
    }
    inode.mode = inode.type() | mode;
  }

  @Override
  public void utimens(String path, long seconds) throws Failed {
    walk(path).mtime = seconds;
  }

  private Inode forXattr(String path) throws Failed {
    Inode inode = walk(path);
    if (inode.type() != Stat.S_IFREG && inode.type() != Stat.S_IFDIR) {
      throw new Failed(Errno.EPERM);
    }
    return inode;
  }

  @Override
  public void setxattr(String path, String name, byte[] value) throws Failed {
    forXattr(path).xattrs.put(name, new String(value, java.nio.charset.StandardCharsets.UTF_8));
  }

  @Override
  public void removexattr(String path, String name) throws Failed {
    if (forXattr(path).xattrs.remove(name) == null) {
      throw new Failed(Errno.ENODATA);
    }
  }

  @Override
  public String stat(String path) throws Failed {
    Inode inode = walk(path);
    long size = inode.data.length;
    int nlink = inode.nlink;
    if (inode.names != null) {
      size = -1;
      nlink = 2 + (int) inode.names.values().stream().filter(n -> n.names != null).count();
    } else if (inode.target != null) {
      size = inode.target.length();
    }
    return PosixTree.described(inode.mode, nlink, size, inode.xattrs, inode.mtime);
  }

  @Override
  public String list(String path) throws Failed {
    Inode inode = walk(path);
    if (inode.names == null) {
      throw new Failed(Errno.ENOTDIR);
    }
    return inode.names.keySet().toString();
  }

  @Override
  public void restart() {
    slots.clear();
  }
}
