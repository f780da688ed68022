package org.lifeboat.vfs;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.sys.Stat;

/** A directory of this machine, by system calls. It can't exchange names. */
final class PosixReal implements Posix {

  private final BytePath top;
  private final Map<Integer, OpenFile> slots = new HashMap<>();

  PosixReal(BytePath top) {
    this.top = top;
  }

  private interface Call<T> {
    T run() throws ErrnoException;
  }

  private static <T> T call(Call<T> call) throws Failed {
    try {
      return call.run();
    } catch (ErrnoException e) {
      throw new Failed(e.errno());
    }
  }

  private interface Act {
    void run() throws ErrnoException;
  }

  private static void act(Act act) throws Failed {
    call(
        () -> {
          act.run();
          return null;
        });
  }

  private BytePath path(String path) {
    return path.isEmpty() ? top : top.resolve(path);
  }

  @Override
  public void create(int slot, String path) throws Failed {
    slots.put(slot, call(() -> OpenFile.create(path(path))));
  }

  @Override
  public void open(int slot, String path, boolean write) throws Failed {
    Stat stat = call(() -> Libc.lstat(path(path)));
    if (stat.type() == Stat.S_IFIFO) {
      throw new Failed(Errno.OTHER);
    }
    if (stat.isDirectory()) {
      throw new Failed(Errno.EISDIR); // as for writing
    }
    slots.put(slot, call(() -> write ? OpenFile.write(path(path)) : OpenFile.read(path(path))));
  }

  @Override
  public void close(int slot) throws Failed {
    OpenFile open = slots.remove(slot);
    act(open::close);
  }

  @Override
  public void write(int slot, long offset, byte[] bytes) throws Failed {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment from = arena.allocateFrom(ValueLayout.JAVA_BYTE, bytes);
      act(() -> slots.get(slot).write(from, offset));
    }
  }

  @Override
  public byte[] read(int slot, long offset, int length) throws Failed {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment into = arena.allocate(length);
      int n = call(() -> slots.get(slot).read(into, offset));
      return into.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE);
    }
  }

  @Override
  public void truncate(int slot, long size) throws Failed {
    act(() -> slots.get(slot).truncate(size));
  }

  @Override
  public long sizeOf(int slot) throws Failed {
    return call(() -> slots.get(slot).stat()).size();
  }

  @Override
  public void mkdir(String path, int mode) throws Failed {
    act(
        () -> {
          Libc.mkdir(path(path), mode);
          Libc.chmod(path(path), mode);
        });
  }

  @Override
  public void rmdir(String path) throws Failed {
    act(() -> Libc.rmdir(path(path)));
  }

  @Override
  public void unlink(String path) throws Failed {
    act(() -> Libc.unlink(path(path)));
  }

  @Override
  public void rename(String from, String to, int flags) throws Failed {
    act(
        () -> {
          if (flags == FileOperations.RENAME_NOREPLACE) {
            Libc.renameNoReplace(path(from), path(to));
          } else {
            Libc.rename(path(from), path(to));
          }
        });
  }

  @Override
  public void link(String from, String to) throws Failed {
    act(() -> Libc.link(path(from), path(to)));
  }

  @Override
  public void symlink(String target, String path) throws Failed {
    act(() -> Libc.symlink(target.getBytes(UTF_8), path(path)));
  }

  @Override
  public void mkfifo(String path, int mode) throws Failed {
    act(
        () -> {
          Libc.mknod(path(path), Stat.S_IFIFO | mode, 0);
          Libc.chmod(path(path), mode);
        });
  }

  @Override
  public String readlink(String path) throws Failed {
    return new String(call(() -> Libc.readlink(path(path))), UTF_8);
  }

  @Override
  public void chmod(String path, int mode) throws Failed {
    act(() -> Libc.chmod(path(path), mode));
  }

  @Override
  public void utimens(String path, long seconds) throws Failed {
    act(() -> Libc.setModified(path(path), Instant.ofEpochSecond(seconds)));
  }

  @Override
  public void setxattr(String path, String name, byte[] value) throws Failed {
    act(() -> Libc.setXattr(path(path), name.getBytes(UTF_8), value));
  }

  @Override
  public void removexattr(String path, String name) throws Failed {
    act(() -> Libc.removeXattr(path(path), name.getBytes(UTF_8)));
  }

  @Override
  public String stat(String path) throws Failed {
    Stat stat = call(() -> Libc.lstat(path(path)));
    Map<String, String> xattrs = new TreeMap<>();
    for (byte[] name : call(() -> Libc.listXattrs(path(path)))) {
      String text = new String(name, UTF_8);
      if (text.startsWith("user.")) {
        xattrs.put(text, new String(call(() -> Libc.getXattr(path(path), name)), UTF_8));
      }
    }
    return PosixTree.described(
        stat.mode(),
        stat.nlink(),
        stat.isDirectory() ? -1 : stat.size(),
        xattrs,
        stat.mtime().getEpochSecond());
  }

  @Override
  public String list(String path) throws Failed {
    Stat stat = call(() -> Libc.lstat(path(path)));
    if (!stat.isDirectory()) {
      throw new Failed(Errno.ENOTDIR);
    }
    List<byte[]> names = call(() -> Libc.list(path(path)));
    return names.stream().map(name -> new String(name, UTF_8)).sorted().toList().toString();
  }

  @Override
  public void restart() throws Failed {
    for (int slot : List.copyOf(slots.keySet())) {
      close(slot);
    }
  }
}
