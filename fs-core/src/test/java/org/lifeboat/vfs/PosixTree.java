package org.lifeboat.vfs;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.TreeMap;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.Stat;

/** Drives {@link FileOperations} as the kernel would, from a directory on. */
final class PosixTree implements Posix {

  private static final int O_RDWR = 2;
  private static final int O_EXCL = 0200;
  private static final int O_CREAT = 0100;

  /** Gives the file system after a restart. */
  interface Restarts {
    FileOperations restart() throws Exception;
  }

  private record Slot(long node, long handle) {}

  private final Caller caller;
  private final String top;
  private final Restarts restarts;
  private final Map<Integer, Slot> slots = new HashMap<>();
  private final Map<Long, Long> references = new HashMap<>();
  private FileOperations fs;
  private int lists;

  PosixTree(FileOperations fs, String top, Caller caller, Restarts restarts) {
    this.fs = fs;
    this.top = top;
    this.caller = caller;
    this.restarts = restarts;
  }

  FileOperations operations() {
    return fs;
  }

  private interface Call<T> {
    T run() throws VfsException;
  }

  private static <T> T call(Call<T> call) throws Failed {
    try {
      return call.run();
    } catch (VfsException e) {
      throw new Failed(e.errno());
    }
  }

  private interface Act {
    void run() throws VfsException;
  }

  private static void act(Act act) throws Failed {
    call(
        () -> {
          act.run();
          return null;
        });
  }

  private Entry held(Entry entry) {
    if (!entry.isNegative()) {
      references.merge(entry.node(), 1L, Long::sum);
    }
    return entry;
  }

  /** As the kernel does when memory is short: gives all references back but the top's. */
  void forgetAll() {
    Map<Long, Long> all = new HashMap<>(references);
    references.clear();
    all.forEach(fs::forget);
  }

  private Entry find(long parent, byte[] name) throws Failed {
    return held(call(() -> fs.lookup(caller, parent, name)));
  }

  private Entry walk(String path) throws Failed {
    Entry at = new Entry(FileOperations.ROOT, null, 0, 0);
    Attributes attributes =
        call(() -> fs.getattr(FileOperations.ROOT, OptionalLong.empty())).attributes();
    for (String name : (top + "/" + path).split("/", -1)) {
      if (name.isEmpty()) {
        continue;
      }
      if ((attributes.mode() & Stat.S_IFMT) == Stat.S_IFLNK) {
        throw new Failed(Errno.ENOENT); // links lead nowhere here
      }
      if ((attributes.mode() & Stat.S_IFMT) != Stat.S_IFDIR) {
        throw new Failed(Errno.ENOTDIR);
      }
      at = find(at.node(), name.getBytes(UTF_8));
      if (at.isNegative()) {
        throw new Failed(Errno.ENOENT);
      }
      attributes = at.attributes();
    }
    return new Entry(at.node(), attributes, 0, 0);
  }

  @SuppressWarnings("ArrayRecordComponent")
  private record Place(long parent, byte[] name) {}

  private Place place(String path) throws Failed {
    int slash = path.lastIndexOf('/');
    Entry parent = walk(slash < 0 ? "" : path.substring(0, slash));
    int type = parent.attributes().mode() & Stat.S_IFMT;
    if (type == Stat.S_IFLNK) {
      throw new Failed(Errno.ENOENT);
    }
    if (type != Stat.S_IFDIR) {
      throw new Failed(Errno.ENOTDIR);
    }
    byte[] name = path.substring(slash + 1).getBytes(UTF_8);
    if (name.length > 255) {
      throw new Failed(Errno.ENAMETOOLONG);
    }
    return new Place(parent.node(), name);
  }

  /** The node of a path, whose number must not change. */
  long node(String path) throws Failed {
    return walk(path).node();
  }

  Attributes attributes(String path) throws Failed {
    long node = node(path);
    return call(() -> fs.getattr(node, OptionalLong.empty())).attributes();
  }

  @Override
  public void create(int slot, String path) throws Failed {
    Place at = place(path);
    Created made =
        call(
            () ->
                fs.create(
                    caller,
                    at.parent(),
                    at.name(),
                    Stat.S_IFREG | 0600,
                    O_RDWR | O_CREAT | O_EXCL));
    held(made.entry());
    slots.put(slot, new Slot(made.entry().node(), made.opened().handle()));
  }

  @Override
  public void open(int slot, String path, boolean write) throws Failed {
    Entry entry = walk(path);
    switch (entry.attributes().mode() & Stat.S_IFMT) {
      case Stat.S_IFLNK -> throw new Failed(Errno.ELOOP);
      case Stat.S_IFDIR -> throw new Failed(Errno.EISDIR);
      case Stat.S_IFIFO -> throw new Failed(Errno.OTHER);
      default -> {}
    }
    Opened opened = call(() -> fs.open(caller, entry.node(), write ? O_RDWR : 0, false));
    slots.put(slot, new Slot(entry.node(), opened.handle()));
  }

  @Override
  public void close(int slot) throws Failed {
    Slot open = slots.remove(slot);
    act(() -> fs.flush(open.node(), open.handle(), 0));
    act(() -> fs.release(open.node(), open.handle(), OptionalLong.empty()));
  }

  @Override
  public void write(int slot, long offset, byte[] bytes) throws Failed {
    Slot open = slots.get(slot);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment memory = arena.allocate(Math.max(1, bytes.length), 4096);
      MemorySegment.copy(bytes, 0, memory, ValueLayout.JAVA_BYTE, 0, bytes.length);
      MemorySegment from = memory.asSlice(0, bytes.length);
      call(() -> fs.write(open.node(), open.handle(), offset, from, false, false));
    }
  }

  @Override
  public byte[] read(int slot, long offset, int length) throws Failed {
    Slot open = slots.get(slot);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment into = arena.allocate(length, 4096);
      int n = call(() -> fs.read(open.node(), open.handle(), offset, into));
      return into.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE);
    }
  }

  static AttributeChange size(long size) {
    return new AttributeChange(
        OptionalInt.empty(),
        OptionalInt.empty(),
        OptionalInt.empty(),
        OptionalLong.of(size),
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        false);
  }

  private static AttributeChange mode(int mode) {
    return new AttributeChange(
        OptionalInt.of(mode),
        OptionalInt.empty(),
        OptionalInt.empty(),
        OptionalLong.empty(),
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        false);
  }

  private static AttributeChange mtime(long seconds) {
    return new AttributeChange(
        OptionalInt.empty(),
        OptionalInt.empty(),
        OptionalInt.empty(),
        OptionalLong.empty(),
        Optional.empty(),
        Optional.of(new Timespec(seconds, 0)),
        Optional.empty(),
        false);
  }

  @Override
  public void truncate(int slot, long size) throws Failed {
    Slot open = slots.get(slot);
    call(() -> fs.setattr(caller, open.node(), OptionalLong.of(open.handle()), size(size)));
  }

  @Override
  public long sizeOf(int slot) throws Failed {
    Slot open = slots.get(slot);
    return call(() -> fs.getattr(open.node(), OptionalLong.of(open.handle()))).attributes().size();
  }

  @Override
  public void mkdir(String path, int mode) throws Failed {
    Place at = place(path);
    held(call(() -> fs.mkdir(caller, at.parent(), at.name(), mode)));
  }

  @Override
  public void rmdir(String path) throws Failed {
    Place at = place(path);
    act(() -> fs.rmdir(caller, at.parent(), at.name()));
  }

  @Override
  public void unlink(String path) throws Failed {
    Place at = place(path);
    act(() -> fs.unlink(caller, at.parent(), at.name()));
  }

  @Override
  public void rename(String from, String to, int flags) throws Failed {
    Place here = place(from);
    Place there = place(to);
    act(() -> fs.rename(caller, here.parent(), here.name(), there.parent(), there.name(), flags));
  }

  @Override
  public void link(String from, String to) throws Failed {
    Entry entry = walk(from);
    Place at = place(to);
    held(call(() -> fs.link(caller, entry.node(), at.parent(), at.name())));
  }

  @Override
  public void symlink(String target, String path) throws Failed {
    Place at = place(path);
    held(call(() -> fs.symlink(caller, at.parent(), at.name(), target.getBytes(UTF_8))));
  }

  @Override
  public void mkfifo(String path, int mode) throws Failed {
    Place at = place(path);
    held(call(() -> fs.mknod(caller, at.parent(), at.name(), Stat.S_IFIFO | mode, 0)));
  }

  @Override
  public String readlink(String path) throws Failed {
    Entry entry = walk(path);
    return new String(call(() -> fs.readlink(entry.node())), UTF_8);
  }

  @Override
  public void chmod(String path, int mode) throws Failed {
    Entry entry = walk(path);
    if ((entry.attributes().mode() & Stat.S_IFMT) == Stat.S_IFLNK) {
      throw new Failed(Errno.ENOENT); // it is followed
    }
    call(() -> fs.setattr(caller, entry.node(), OptionalLong.empty(), mode(mode)));
  }

  @Override
  public void utimens(String path, long seconds) throws Failed {
    Entry entry = walk(path);
    call(() -> fs.setattr(caller, entry.node(), OptionalLong.empty(), mtime(seconds)));
  }

  private Entry forXattr(String path) throws Failed {
    Entry entry = walk(path);
    int type = entry.attributes().mode() & Stat.S_IFMT;
    if (type != Stat.S_IFREG && type != Stat.S_IFDIR) {
      throw new Failed(Errno.EPERM);
    }
    return entry;
  }

  @Override
  public void setxattr(String path, String name, byte[] value) throws Failed {
    Entry entry = forXattr(path);
    act(() -> fs.setxattr(caller, entry.node(), name.getBytes(UTF_8), value, 0));
  }

  @Override
  public void removexattr(String path, String name) throws Failed {
    Entry entry = forXattr(path);
    act(() -> fs.removexattr(caller, entry.node(), name.getBytes(UTF_8)));
  }

  @Override
  public String stat(String path) throws Failed {
    Entry entry = walk(path);
    Attributes a = call(() -> fs.getattr(entry.node(), OptionalLong.empty())).attributes();
    boolean directory = (a.mode() & Stat.S_IFMT) == Stat.S_IFDIR;
    Map<String, String> xattrs = new TreeMap<>();
    for (byte[] name : call(() -> fs.listxattr(entry.node()))) {
      byte[] value = call(() -> fs.getxattr(entry.node(), name)).orElseThrow();
      xattrs.put(new String(name, UTF_8), new String(value, UTF_8));
    }
    return described(a.mode(), a.nlink(), directory ? -1 : a.size(), xattrs, a.mtime().seconds());
  }

  /** One line of what a file is; times of files that were set in the first day of 1970 only. */
  static String described(int mode, int nlink, long size, Map<String, String> xattrs, long mtime) {
    String time = mtime < 86_400 ? " mtime " + mtime : "";
    return Integer.toOctalString(mode) + " links " + nlink + " size " + size + " " + xattrs + time;
  }

  @Override
  public String list(String path) throws Failed {
    Entry entry = walk(path);
    if ((entry.attributes().mode() & Stat.S_IFMT) != Stat.S_IFDIR) {
      throw new Failed(Errno.ENOTDIR);
    }
    Opened opened = call(() -> fs.opendir(caller, entry.node()));
    List<String> names = new ArrayList<>();
    boolean plus = lists++ % 2 == 0;
    long[] cookie = {0};
    int[] room = new int[1];
    boolean more = true;
    while (more) {
      room[0] = 3;
      long before = cookie[0];
      DirectorySink sink =
          new DirectorySink() {
            @Override
            public boolean add(byte[] name, long inode, int type, long next) {
              return add(name, next);
            }

            @Override
            public boolean add(byte[] name, Entry child, long next) {
              if (!add(name, next)) {
                return false;
              }
              String text = new String(name, UTF_8);
              if (!text.equals(".") && !text.equals("..")) {
                held(child);
              }
              return true;
            }

            private boolean add(byte[] name, long next) {
              if (room[0]-- == 0) {
                return false;
              }
              names.add(new String(name, UTF_8));
              cookie[0] = next;
              return true;
            }
          };
      act(() -> fs.readdir(entry.node(), opened.handle(), cookie[0], sink, plus));
      more = cookie[0] != before;
    }
    act(() -> fs.releasedir(entry.node(), opened.handle()));
    names.remove(".");
    names.remove("..");
    names.sort(null);
    return names.toString();
  }

  @Override
  public void restart() throws Exception {
    slots.clear();
    references.clear();
    fs = restarts.restart();
  }
}
