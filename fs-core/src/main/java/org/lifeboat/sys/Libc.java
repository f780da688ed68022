package org.lifeboat.sys;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * System calls on paths, one method each, named as in the manual's section 2. None follows a
 * symbolic link at the end of its path but {@link #stat} and {@link #statfs}. Safe for any thread;
 * each thread that calls keeps about 150 KiB of native scratch memory.
 *
 * <p>Layouts and constants are those of x86-64 and aarch64, which differ only in two open flags.
 * glibc 2.33 or newer (mknod is a symbol since then).
 */
public final class Libc {

  static final int O_RDONLY = 0;
  static final int O_RDWR = 2;
  static final int O_CREAT = 0100;
  static final int O_EXCL = 0200;
  static final int O_NONBLOCK = 04000;
  static final int O_NOATIME = 01000000;
  static final int O_CLOEXEC = 02000000;
  private static final boolean ARM = System.getProperty("os.arch").equals("aarch64");
  static final int O_DIRECTORY = ARM ? 040000 : 0200000;
  static final int O_NOFOLLOW = ARM ? 0100000 : 0400000;

  static final int SEEK_DATA = 3;
  static final int SEEK_HOLE = 4;

  private static final int AT_FDCWD = -100;
  private static final int AT_SYMLINK_NOFOLLOW = 0x100;
  private static final int AT_EMPTY_PATH = 0x1000;
  private static final int STATX_BASIC_STATS_AND_MOUNT = 0x7ff | 0x1000;
  private static final int RENAME_NOREPLACE = 1;
  private static final long UTIME_OMIT = (1L << 30) - 2;
  private static final long FICLONE = 0x40049409L;
  private static final int PATH_MAX = 4096;
  private static final int BUFFER = 128 << 10;

  private static final StructLayout STATE = Linker.Option.captureStateLayout();
  private static final VarHandle ERRNO = STATE.varHandle(PathElement.groupElement("errno"));

  // Linking a call costs a JVM milliseconds, so it is done in three steps, when first needed: what
  // a
  // walk calls, which every task's start waits for; what reading files calls; what changes them.

  private static final class Walking {
    static final MethodHandle OPEN =
        variadic("open", 2, FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT));
    static final MethodHandle CLOSE = call("close", FunctionDescriptor.of(JAVA_INT, JAVA_INT));
    static final MethodHandle STATX =
        call(
            "statx",
            FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT, ADDRESS));
    static final MethodHandle GETDENTS =
        call("getdents64", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG));
    static final MethodHandle REALPATH =
        call("realpath", FunctionDescriptor.of(ADDRESS, ADDRESS, ADDRESS));
  }

  private static final class Reading {
    static final MethodHandle PREAD =
        call("pread", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG, JAVA_LONG));
    static final MethodHandle LSEEK =
        call("lseek", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT));
    static final MethodHandle STATFS =
        call("statfs", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS));
    static final MethodHandle READLINK =
        call("readlink", FunctionDescriptor.of(JAVA_LONG, ADDRESS, ADDRESS, JAVA_LONG));
    static final MethodHandle LLISTXATTR =
        call("llistxattr", FunctionDescriptor.of(JAVA_LONG, ADDRESS, ADDRESS, JAVA_LONG));
    static final MethodHandle LGETXATTR =
        call("lgetxattr", FunctionDescriptor.of(JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG));
    static final MethodHandle GETEUID = plain("geteuid", FunctionDescriptor.of(JAVA_INT));
  }

  private static final class Changing {
    static final MethodHandle PWRITE =
        call("pwrite", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG, JAVA_LONG));
    static final MethodHandle FTRUNCATE =
        call("ftruncate", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG));
    static final MethodHandle FSYNC = call("fsync", FunctionDescriptor.of(JAVA_INT, JAVA_INT));
    static final MethodHandle FLOCK =
        call("flock", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT));
    static final MethodHandle SYNCFS = call("syncfs", FunctionDescriptor.of(JAVA_INT, JAVA_INT));
    static final MethodHandle IOCTL =
        variadic("ioctl", 2, FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG));
    static final MethodHandle MKDIR =
        call("mkdir", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT));
    static final MethodHandle RMDIR = call("rmdir", FunctionDescriptor.of(JAVA_INT, ADDRESS));
    static final MethodHandle UNLINK = call("unlink", FunctionDescriptor.of(JAVA_INT, ADDRESS));
    static final MethodHandle SYMLINK =
        call("symlink", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS));
    static final MethodHandle LINK =
        call("link", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS));
    static final MethodHandle RENAME =
        call("rename", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS));
    static final MethodHandle RENAMEAT2 =
        call(
            "renameat2",
            FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS, JAVA_INT, ADDRESS, JAVA_INT));
    static final MethodHandle MKNOD =
        call("mknod", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, JAVA_LONG));
    static final MethodHandle CHMOD =
        call("chmod", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT));
    static final MethodHandle LCHOWN =
        call("lchown", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT));
    static final MethodHandle UTIMENSAT =
        call("utimensat", FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS, ADDRESS, JAVA_INT));
    static final MethodHandle FUTIMENS =
        call("futimens", FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS));
    static final MethodHandle LSETXATTR =
        call(
            "lsetxattr",
            FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, JAVA_INT));
    static final MethodHandle LREMOVEXATTR =
        call("lremovexattr", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS));
  }

  private static final int LOCK_EX = 2;
  private static final int LOCK_NB = 4;

  private static final ThreadLocal<Scratch> SCRATCH = ThreadLocal.withInitial(Scratch::new);

  private Libc() {}

  private static final class Scratch {
    final MemorySegment state;
    final MemorySegment path;
    final MemorySegment other;
    final MemorySegment struct;
    final MemorySegment buffer;

    Scratch() {
      Arena arena = Arena.ofAuto();
      state = arena.allocate(STATE);
      path = arena.allocate(PATH_MAX);
      other = arena.allocate(PATH_MAX);
      struct = arena.allocate(256, 8);
      buffer = arena.allocate(BUFFER, 8);
    }

    int errno() {
      return (int) ERRNO.get(state, 0L);
    }
  }

  @SuppressWarnings("restricted")
  private static MethodHandle link(String name, FunctionDescriptor type, Linker.Option... options) {
    Linker linker = Linker.nativeLinker();
    MemorySegment symbol =
        linker
            .defaultLookup()
            .find(name)
            .orElseThrow(() -> new UnsatisfiedLinkError("the C library has no " + name));
    return linker.downcallHandle(symbol, type, options);
  }

  private static MethodHandle call(String name, FunctionDescriptor type) {
    return link(name, type, Linker.Option.captureCallState("errno"));
  }

  private static MethodHandle plain(String name, FunctionDescriptor type) {
    return link(name, type);
  }

  private static MethodHandle variadic(String name, int first, FunctionDescriptor type) {
    return link(
        name, type, Linker.Option.captureCallState("errno"), Linker.Option.firstVariadicArg(first));
  }

  /** Links what reading files will need, before somebody waits for that; true. */
  public static boolean prepareReading() {
    return Reading.PREAD != null;
  }

  private static RuntimeException impossible(Throwable thrown) {
    if (thrown instanceof Error error) {
      throw error;
    }
    if (thrown instanceof RuntimeException unchecked) {
      throw unchecked;
    }
    throw new IllegalStateException("a native call threw", thrown);
  }

  private static MemorySegment put(MemorySegment into, byte[] text, String call, Object object)
      throws ErrnoException {
    if (text.length >= PATH_MAX) {
      throw new ErrnoException(call, object.toString(), Errno.ENAMETOOLONG.number());
    }
    MemorySegment.copy(text, 0, into, JAVA_BYTE, 0, text.length);
    into.set(JAVA_BYTE, text.length, (byte) 0);
    return into;
  }

  private static long check(long result, Scratch scratch, String call, Object object)
      throws ErrnoException {
    if (result < 0) {
      throw new ErrnoException(call, object.toString(), scratch.errno());
    }
    return result;
  }

  private interface Call {
    int invoke() throws Throwable;
  }

  private static void invoke(Scratch scratch, String call, Object object, Call made)
      throws ErrnoException {
    int result;
    try {
      result = made.invoke();
    } catch (Throwable e) {
      throw impossible(e);
    }
    check(result, scratch, call, object);
  }

  static int open(BytePath path, int flags, int mode) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "open", path);
    while (true) {
      try {
        int fd = (int) Walking.OPEN.invokeExact(s.state, name, flags, mode);
        if (fd >= 0) {
          return fd;
        }
      } catch (Throwable e) {
        throw impossible(e);
      }
      if (s.errno() != Errno.EINTR.number()) {
        throw new ErrnoException("open", path.toString(), s.errno());
      }
    }
  }

  static void close(int fd, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    invoke(s, "close", path, () -> (int) Walking.CLOSE.invokeExact(s.state, fd));
  }

  static int pread(int fd, BytePath path, MemorySegment into, long offset) throws ErrnoException {
    Scratch s = SCRATCH.get();
    while (true) {
      try {
        long n = (long) Reading.PREAD.invokeExact(s.state, fd, into, into.byteSize(), offset);
        if (n >= 0) {
          return (int) n;
        }
      } catch (Throwable e) {
        throw impossible(e);
      }
      if (s.errno() != Errno.EINTR.number()) {
        throw new ErrnoException("read", path.toString(), s.errno());
      }
    }
  }

  static long pwrite(int fd, BytePath path, MemorySegment from, long offset) throws ErrnoException {
    Scratch s = SCRATCH.get();
    while (true) {
      try {
        long n = (long) Changing.PWRITE.invokeExact(s.state, fd, from, from.byteSize(), offset);
        if (n >= 0) {
          return n;
        }
      } catch (Throwable e) {
        throw impossible(e);
      }
      if (s.errno() != Errno.EINTR.number()) {
        throw new ErrnoException("write", path.toString(), s.errno());
      }
    }
  }

  /** The offset found; -1 for ENXIO, which means that there is nothing of the kind any more. */
  static long lseek(int fd, BytePath path, long offset, int whence) throws ErrnoException {
    Scratch s = SCRATCH.get();
    try {
      long at = (long) Reading.LSEEK.invokeExact(s.state, fd, offset, whence);
      if (at < 0 && s.errno() == Errno.ENXIO.number()) {
        return -1;
      }
      return check(at, s, "lseek", path);
    } catch (ErrnoException e) {
      throw e;
    } catch (Throwable e) {
      throw impossible(e);
    }
  }

  static void ftruncate(int fd, BytePath path, long size) throws ErrnoException {
    Scratch s = SCRATCH.get();
    invoke(s, "ftruncate", path, () -> (int) Changing.FTRUNCATE.invokeExact(s.state, fd, size));
  }

  static void fsync(int fd, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    invoke(s, "fsync", path, () -> (int) Changing.FSYNC.invokeExact(s.state, fd));
  }

  static void syncfs(int fd, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    invoke(s, "syncfs", path, () -> (int) Changing.SYNCFS.invokeExact(s.state, fd));
  }

  /** Takes flock(2)'s exclusive lock; false when another open file has it. */
  static boolean tryFlock(int fd, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    try {
      invoke(
          s, "flock", path, () -> (int) Changing.FLOCK.invokeExact(s.state, fd, LOCK_EX | LOCK_NB));
      return true;
    } catch (ErrnoException e) {
      if (e.errno() == Errno.EAGAIN) {
        return false;
      }
      throw e;
    }
  }

  static void ficlone(int fd, BytePath path, int source) throws ErrnoException {
    Scratch s = SCRATCH.get();
    invoke(
        s,
        "ioctl FICLONE",
        path,
        () -> (int) Changing.IOCTL.invokeExact(s.state, fd, FICLONE, (long) source));
  }

  static Stat fstat(int fd, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    s.path.set(JAVA_BYTE, 0, (byte) 0);
    invoke(
        s,
        "statx",
        path,
        () ->
            (int)
                Walking.STATX.invokeExact(
                    s.state, fd, s.path, AT_EMPTY_PATH, STATX_BASIC_STATS_AND_MOUNT, s.struct));
    return statOf(s.struct);
  }

  /** The file itself, also where it is a symbolic link. */
  public static Stat lstat(BytePath path) throws ErrnoException {
    return statx(path, AT_SYMLINK_NOFOLLOW);
  }

  /** What the path leads to, through symbolic links. */
  public static Stat stat(BytePath path) throws ErrnoException {
    return statx(path, 0);
  }

  /** As {@link #lstat}; empty if there is no such name. */
  public static Optional<Stat> find(BytePath path) throws ErrnoException {
    try {
      return Optional.of(lstat(path));
    } catch (ErrnoException e) {
      if (e.isAbsent()) {
        return Optional.empty();
      }
      throw e;
    }
  }

  private static Stat statx(BytePath path, int flags) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "statx", path);
    invoke(
        s,
        "statx",
        path,
        () ->
            (int)
                Walking.STATX.invokeExact(
                    s.state, AT_FDCWD, name, flags, STATX_BASIC_STATS_AND_MOUNT, s.struct));
    return statOf(s.struct);
  }

  /** struct statx of linux/stat.h, the same on every architecture. */
  private static Stat statOf(MemorySegment x) {
    boolean mount = (x.get(JAVA_INT, 0) & 0x1000) != 0;
    return new Stat(
        device(x.get(JAVA_INT, 136), x.get(JAVA_INT, 140)),
        x.get(JAVA_LONG, 32),
        mount ? x.get(JAVA_LONG, 144) : 0,
        x.get(JAVA_SHORT, 28) & 0xffff,
        x.get(JAVA_INT, 16),
        x.get(JAVA_INT, 20),
        x.get(JAVA_INT, 24),
        device(x.get(JAVA_INT, 128), x.get(JAVA_INT, 132)),
        x.get(JAVA_LONG, 40),
        x.get(JAVA_LONG, 48),
        instant(x.get(JAVA_LONG, 112), x.get(JAVA_INT, 120)),
        instant(x.get(JAVA_LONG, 96), x.get(JAVA_INT, 104)));
  }

  private static long device(int major, int minor) {
    return ((long) major << 32) | (minor & 0xffffffffL);
  }

  private static Instant instant(long seconds, int nanos) {
    long clamped = Math.clamp(seconds, Instant.MIN.getEpochSecond(), Instant.MAX.getEpochSecond());
    return Instant.ofEpochSecond(clamped, nanos);
  }

  /** The file system that the path leads to. */
  public static FileSystemStat statfs(BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "statfs", path);
    invoke(s, "statfs", path, () -> (int) Reading.STATFS.invokeExact(s.state, name, s.struct));
    long unit = s.struct.get(JAVA_LONG, 72);
    if (unit == 0) {
      unit = s.struct.get(JAVA_LONG, 8);
    }
    long blocks = s.struct.get(JAVA_LONG, geteuid() == 0 ? 24 : 32);
    return new FileSystemStat(
        s.struct.get(JAVA_LONG, 0) & 0xffffffffL,
        blocks * unit,
        s.struct.get(JAVA_LONG, 40),
        s.struct.get(JAVA_LONG, 48));
  }

  /** The names in a directory, sorted by bytes, without {@code .} and {@code ..}. */
  public static List<byte[]> list(BytePath directory) throws ErrnoException {
    List<byte[]> names = new ArrayList<>();
    Scratch s = SCRATCH.get();
    try (OpenFile open = OpenFile.directory(directory)) {
      while (true) {
        long n;
        try {
          n =
              (long)
                  Walking.GETDENTS.invokeExact(s.state, open.fd(), s.buffer, s.buffer.byteSize());
        } catch (Throwable e) {
          throw impossible(e);
        }
        if (check(n, s, "getdents64", directory) == 0) {
          break;
        }
        for (long at = 0; at < n; at += s.buffer.get(JAVA_SHORT, at + 16) & 0xffff) {
          int length = 0;
          while (s.buffer.get(JAVA_BYTE, at + 19 + length) != 0) {
            length++;
          }
          byte[] name = new byte[length];
          MemorySegment.copy(s.buffer, JAVA_BYTE, at + 19, name, 0, length);
          boolean self = length == 1 && name[0] == '.';
          boolean up = length == 2 && name[0] == '.' && name[1] == '.';
          if (!self && !up) {
            names.add(name);
          }
        }
      }
    }
    names.sort(Arrays::compareUnsigned);
    return names;
  }

  /** A symbolic link's target, as bytes. */
  public static byte[] readlink(BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "readlink", path);
    long n;
    try {
      n = (long) Reading.READLINK.invokeExact(s.state, name, s.buffer, s.buffer.byteSize());
    } catch (Throwable e) {
      throw impossible(e);
    }
    return take(s.buffer, (int) check(n, s, "readlink", path));
  }

  /** The path without symbolic links; it must exist. */
  public static BytePath realpath(BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "realpath", path);
    try {
      MemorySegment result = (MemorySegment) Walking.REALPATH.invokeExact(s.state, name, s.buffer);
      check(result.address() == 0 ? -1 : 0, s, "realpath", path);
    } catch (ErrnoException e) {
      throw e;
    } catch (Throwable e) {
      throw impossible(e);
    }
    int length = 0;
    while (s.buffer.get(JAVA_BYTE, length) != 0) {
      length++;
    }
    return BytePath.of(take(s.buffer, length));
  }

  private static byte[] take(MemorySegment from, int length) {
    byte[] bytes = new byte[length];
    MemorySegment.copy(from, JAVA_BYTE, 0, bytes, 0, length);
    return bytes;
  }

  public static void mkdir(BytePath path, int mode) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "mkdir", path);
    invoke(s, "mkdir", path, () -> (int) Changing.MKDIR.invokeExact(s.state, name, mode));
  }

  public static void rmdir(BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "rmdir", path);
    invoke(s, "rmdir", path, () -> (int) Changing.RMDIR.invokeExact(s.state, name));
  }

  public static void unlink(BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "unlink", path);
    invoke(s, "unlink", path, () -> (int) Changing.UNLINK.invokeExact(s.state, name));
  }

  /** Makes {@code path} a symbolic link with that target. */
  public static void symlink(byte[] target, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment content = put(s.other, target, "symlink", path);
    MemorySegment name = put(s.path, path.raw(), "symlink", path);
    invoke(s, "symlink", path, () -> (int) Changing.SYMLINK.invokeExact(s.state, content, name));
  }

  /** Gives {@code existing} a second name. */
  public static void link(BytePath existing, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment from = put(s.other, existing.raw(), "link", existing);
    MemorySegment to = put(s.path, path.raw(), "link", path);
    invoke(
        s,
        "link",
        existing + " -> " + path,
        () -> (int) Changing.LINK.invokeExact(s.state, from, to));
  }

  /** Renames, replacing what is at {@code to}; does nothing if both are the same inode. */
  public static void rename(BytePath from, BytePath to) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment a = put(s.other, from.raw(), "rename", from);
    MemorySegment b = put(s.path, to.raw(), "rename", to);
    invoke(s, "rename", from + " -> " + to, () -> (int) Changing.RENAME.invokeExact(s.state, a, b));
  }

  /** Renames; EEXIST if {@code to} is taken. EINVAL where the file system can't promise that. */
  public static void renameNoReplace(BytePath from, BytePath to) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment a = put(s.other, from.raw(), "rename", from);
    MemorySegment b = put(s.path, to.raw(), "rename", to);
    invoke(
        s,
        "rename",
        from + " -> " + to,
        () ->
            (int)
                Changing.RENAMEAT2.invokeExact(
                    s.state, AT_FDCWD, a, AT_FDCWD, b, RENAME_NOREPLACE));
  }

  /**
   * Makes a FIFO, a device node or a socket file.
   *
   * @param mode type and permission bits
   * @param rdev encoded as in {@link Stat#rdev()}; 0 where it means nothing
   */
  public static void mknod(BytePath path, int mode, long rdev) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "mknod", path);
    long major = rdev >>> 32;
    long minor = rdev & 0xffffffffL;
    long encoded =
        (minor & 0xff)
            | ((major & 0xfff) << 8)
            | ((minor & ~0xffL) << 12)
            | ((major & ~0xfffL) << 32);
    invoke(s, "mknod", path, () -> (int) Changing.MKNOD.invokeExact(s.state, name, mode, encoded));
  }

  /** Sets the permission bits; follows symbolic links, which have none of their own. */
  public static void chmod(BytePath path, int permissions) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "chmod", path);
    invoke(s, "chmod", path, () -> (int) Changing.CHMOD.invokeExact(s.state, name, permissions));
  }

  /** Sets owner and group; the kernel then clears setuid, setgid and file capabilities. */
  public static void lchown(BytePath path, int uid, int gid) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "lchown", path);
    invoke(s, "lchown", path, () -> (int) Changing.LCHOWN.invokeExact(s.state, name, uid, gid));
  }

  /** Sets the time of the last change of content; leaves the time of access alone. */
  public static void setModified(BytePath path, Instant mtime) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "utimensat", path);
    MemorySegment times = times(s.struct, mtime);
    invoke(
        s,
        "utimensat",
        path,
        () ->
            (int)
                Changing.UTIMENSAT.invokeExact(
                    s.state, AT_FDCWD, name, times, AT_SYMLINK_NOFOLLOW));
  }

  static void futimens(int fd, BytePath path, Instant mtime) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment times = times(s.struct, mtime);
    invoke(s, "futimens", path, () -> (int) Changing.FUTIMENS.invokeExact(s.state, fd, times));
  }

  private static MemorySegment times(MemorySegment struct, Instant mtime) {
    struct.set(JAVA_LONG, 0, 0);
    struct.set(JAVA_LONG, 8, UTIME_OMIT);
    struct.set(JAVA_LONG, 16, mtime.getEpochSecond());
    struct.set(JAVA_LONG, 24, mtime.getNano());
    return struct;
  }

  /** Names of the extended attributes; empty where the file system has none. */
  public static List<byte[]> listXattrs(BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "llistxattr", path);
    long n;
    try {
      n = (long) Reading.LLISTXATTR.invokeExact(s.state, name, s.buffer, s.buffer.byteSize());
    } catch (Throwable e) {
      throw impossible(e);
    }
    if (n < 0 && s.errno() == Errno.EOPNOTSUPP.number()) {
      return List.of();
    }
    byte[] all = take(s.buffer, (int) check(n, s, "llistxattr", path));
    List<byte[]> names = new ArrayList<>();
    int start = 0;
    for (int i = 0; i < all.length; i++) {
      if (all[i] == 0) {
        names.add(Arrays.copyOfRange(all, start, i));
        start = i + 1;
      }
    }
    return names;
  }

  /** An extended attribute's value; ENODATA if there is none of that name. */
  public static byte[] getXattr(BytePath path, byte[] attribute) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "lgetxattr", path);
    MemorySegment key = put(s.other, attribute, "lgetxattr", path);
    long n;
    try {
      n = (long) Reading.LGETXATTR.invokeExact(s.state, name, key, s.buffer, s.buffer.byteSize());
    } catch (Throwable e) {
      throw impossible(e);
    }
    return take(s.buffer, (int) check(n, s, "lgetxattr", path));
  }

  /** Sets an extended attribute; the kernel takes values of at most 64 KiB. */
  public static void setXattr(BytePath path, byte[] attribute, byte[] value) throws ErrnoException {
    Scratch s = SCRATCH.get();
    if (value.length > s.buffer.byteSize()) {
      throw new ErrnoException("lsetxattr", path.toString(), Errno.ERANGE.number());
    }
    MemorySegment name = put(s.path, path.raw(), "lsetxattr", path);
    MemorySegment key = put(s.other, attribute, "lsetxattr", path);
    MemorySegment.copy(value, 0, s.buffer, JAVA_BYTE, 0, value.length);
    invoke(
        s,
        "lsetxattr",
        path,
        () ->
            (int)
                Changing.LSETXATTR.invokeExact(
                    s.state, name, key, s.buffer, (long) value.length, 0));
  }

  public static void removeXattr(BytePath path, byte[] attribute) throws ErrnoException {
    Scratch s = SCRATCH.get();
    MemorySegment name = put(s.path, path.raw(), "lremovexattr", path);
    MemorySegment key = put(s.other, attribute, "lremovexattr", path);
    invoke(
        s, "lremovexattr", path, () -> (int) Changing.LREMOVEXATTR.invokeExact(s.state, name, key));
  }

  /** The effective user id. */
  public static int geteuid() {
    try {
      return (int) Reading.GETEUID.invokeExact();
    } catch (Throwable e) {
      throw impossible(e);
    }
  }
}
