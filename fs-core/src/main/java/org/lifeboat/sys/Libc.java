package org.lifeboat.sys;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;
import java.lang.ref.Reference;
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

  // Linking a kind of call costs a JVM milliseconds, while a task waits for its start or stands
  // frozen. So all functions are called in one way: with five words, and a word comes back. Both
  // architectures pass the first arguments in registers, whether a function takes an int, a long or
  // a pointer, as a fixed or a variable argument, and it does not look at those that it does not
  // take. Of an int that comes back the upper half means nothing. Only what reads and writes the
  // segment of a caller has a type of its own, which keeps the segment alive meanwhile.

  private static final Linker LINKER = Linker.nativeLinker();
  private static final MethodHandle CALL =
      link(FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG));

  private static final MemorySegment OPEN = find("open");
  private static final MemorySegment CLOSE = find("close");
  private static final MemorySegment STATX = find("statx");
  private static final MemorySegment GETDENTS64 = find("getdents64");
  private static final MemorySegment REALPATH = find("realpath");
  private static final MemorySegment LSEEK = find("lseek");
  private static final MemorySegment STATFS = find("statfs");
  private static final MemorySegment READLINK = find("readlink");
  private static final MemorySegment LLISTXATTR = find("llistxattr");
  private static final MemorySegment LGETXATTR = find("lgetxattr");
  private static final MemorySegment GETEUID = find("geteuid");
  private static final MemorySegment FTRUNCATE = find("ftruncate");
  private static final MemorySegment FALLOCATE = find("fallocate");
  private static final MemorySegment FSYNC = find("fsync");
  private static final MemorySegment FLOCK = find("flock");
  private static final MemorySegment SYNCFS = find("syncfs");
  private static final MemorySegment IOCTL = find("ioctl");
  private static final MemorySegment MKDIR = find("mkdir");
  private static final MemorySegment RMDIR = find("rmdir");
  private static final MemorySegment UNLINK = find("unlink");
  private static final MemorySegment SYMLINK = find("symlink");
  private static final MemorySegment LINK = find("link");
  private static final MemorySegment RENAME = find("rename");
  private static final MemorySegment RENAMEAT2 = find("renameat2");
  private static final MemorySegment MKNOD = find("mknod");
  private static final MemorySegment CHMOD = find("chmod");
  private static final MemorySegment LCHOWN = find("lchown");
  private static final MemorySegment UTIMENSAT = find("utimensat");
  private static final MemorySegment FUTIMENS = find("futimens");
  private static final MemorySegment LSETXATTR = find("lsetxattr");
  private static final MemorySegment LREMOVEXATTR = find("lremovexattr");
  private static final MemorySegment MALLOC_TRIM = find("malloc_trim");

  /** What only a mount needs. */
  private static final class Mounting {
    static final MemorySegment READ = find("read");
    static final MemorySegment WRITE = find("write");
    static final MemorySegment MOUNT = find("mount");
    static final MemorySegment UMOUNT2 = find("umount2");
    static final MemorySegment ALIGNED_ALLOC = find("aligned_alloc");
    static final MemorySegment FREE = find("free");
    // pidfd_open and pidfd_getfd, for which glibc has functions only since 2.36
    static final MemorySegment SYSCALL = find("syscall");
    static final long PIDFD_OPEN = 434;
    static final long PIDFD_GETFD = 438;
  }

  /** Reads or writes a caller's segment. */
  private static final class Transfer {
    static final MethodHandle CALL =
        link(FunctionDescriptor.of(JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG, JAVA_LONG));
    static final MemorySegment PREAD = find("pread");
    static final MemorySegment PWRITE = find("pwrite");
  }

  private static final int FALLOC_FL_KEEP_SIZE = 1;
  private static final int FALLOC_FL_PUNCH_HOLE = 2;
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
  private static MethodHandle link(FunctionDescriptor type) {
    return LINKER.downcallHandle(type, Linker.Option.captureCallState("errno"));
  }

  private static MemorySegment find(String name) {
    return LINKER
        .defaultLookup()
        .find(name)
        .orElseThrow(() -> new UnsatisfiedLinkError("the C library has no " + name));
  }

  /** Links what walking folders needs, before somebody waits for that; true. */
  public static boolean prepare() {
    return CALL != null;
  }

  private static final int M_MMAP_THRESHOLD = -3;

  /**
   * From now on blocks of memory of at least this size go back to the system as soon as they are
   * freed. Without it glibc, once 8 MiB were freed, keeps all blocks up to that size in its heaps,
   * where they add up. Does nothing where the C library has no such setting.
   *
   * @param least in bytes, up to 32 MiB
   */
  @SuppressWarnings("restricted")
  public static void returnFreedBlocks(int least) {
    Linker linker = Linker.nativeLinker();
    Optional<MemorySegment> mallopt = linker.defaultLookup().find("mallopt");
    if (mallopt.isPresent()) {
      try {
        int done =
            (int)
                linker
                    .downcallHandle(
                        mallopt.get(), FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT))
                    .invokeExact(M_MMAP_THRESHOLD, least);
        if (done != 1) {
          throw new IllegalArgumentException("mallopt refuses " + least);
        }
      } catch (Throwable e) {
        throw impossible(e);
      }
    }
  }

  /** Links what reading files will need, before somebody waits for that; true. */
  public static boolean prepareReading() {
    return Transfer.CALL != null;
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

  private static long put(MemorySegment into, byte[] text, String call, Object object)
      throws ErrnoException {
    if (text.length >= PATH_MAX) {
      throw new ErrnoException(call, object.toString(), Errno.ENAMETOOLONG.number());
    }
    MemorySegment.copy(text, 0, into, JAVA_BYTE, 0, text.length);
    into.set(JAVA_BYTE, text.length, (byte) 0);
    return into.address();
  }

  private static long check(long result, Scratch scratch, String call, Object object)
      throws ErrnoException {
    if (result < 0) {
      throw new ErrnoException(call, object.toString(), scratch.errno());
    }
    return result;
  }

  private static long call(
      MemorySegment function, Scratch scratch, long a, long b, long c, long d, long e) {
    try {
      return (long) CALL.invokeExact(function, scratch.state, a, b, c, d, e);
    } catch (Throwable thrown) {
      throw impossible(thrown);
    } finally {
      Reference.reachabilityFence(scratch); // whose segments the words may point to
    }
  }

  /** A function that returns an int, -1 for failure. */
  private static int invoke(
      Scratch scratch, String name, Object object, MemorySegment function, long... words)
      throws ErrnoException {
    long[] w = Arrays.copyOf(words, 5);
    int result = (int) call(function, scratch, w[0], w[1], w[2], w[3], w[4]);
    check(result, scratch, name, object);
    return result;
  }

  static int open(BytePath path, int flags, int mode) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long name = put(s.path, path.raw(), "open", path);
    while (true) {
      int fd = (int) call(OPEN, s, name, flags, mode, 0, 0);
      if (fd >= 0) {
        return fd;
      }
      if (s.errno() != Errno.EINTR.number()) {
        throw new ErrnoException("open", path.toString(), s.errno());
      }
    }
  }

  static void close(int fd, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    invoke(s, "close", path, CLOSE, fd);
  }

  static int pread(int fd, BytePath path, MemorySegment into, long offset) throws ErrnoException {
    Scratch s = SCRATCH.get();
    while (true) {
      try {
        long n =
            (long)
                Transfer.CALL.invokeExact(
                    Transfer.PREAD, s.state, fd, into, into.byteSize(), offset);
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
        long n =
            (long)
                Transfer.CALL.invokeExact(
                    Transfer.PWRITE, s.state, fd, from, from.byteSize(), offset);
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
    long at = call(LSEEK, s, fd, offset, whence, 0, 0);
    if (at < 0 && s.errno() == Errno.ENXIO.number()) {
      return -1;
    }
    return check(at, s, "lseek", path);
  }

  static void ftruncate(int fd, BytePath path, long size) throws ErrnoException {
    Scratch s = SCRATCH.get();
    invoke(s, "ftruncate", path, FTRUNCATE, fd, size);
  }

  static void punch(int fd, BytePath path, long offset, long length) throws ErrnoException {
    Scratch s = SCRATCH.get();
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    invoke(s, "fallocate", path, FALLOCATE, fd, mode, offset, length);
  }

  static void fsync(int fd, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    invoke(s, "fsync", path, FSYNC, fd);
  }

  static void syncfs(int fd, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    invoke(s, "syncfs", path, SYNCFS, fd);
  }

  /** Takes flock(2)'s exclusive lock; false when another open file has it. */
  static boolean tryFlock(int fd, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    try {
      invoke(s, "flock", path, FLOCK, fd, LOCK_EX | LOCK_NB);
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
    invoke(s, "ioctl FICLONE", path, IOCTL, fd, FICLONE, source);
  }

  static Stat fstat(int fd, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    s.path.set(JAVA_BYTE, 0, (byte) 0);
    invoke(
        s,
        "statx",
        path,
        STATX,
        fd,
        s.path.address(),
        AT_EMPTY_PATH,
        STATX_BASIC_STATS_AND_MOUNT,
        s.struct.address());
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
    long name = put(s.path, path.raw(), "statx", path);
    invoke(
        s,
        "statx",
        path,
        STATX,
        AT_FDCWD,
        name,
        flags,
        STATX_BASIC_STATS_AND_MOUNT,
        s.struct.address());
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
    long name = put(s.path, path.raw(), "statfs", path);
    invoke(s, "statfs", path, STATFS, name, s.struct.address());
    long unit = s.struct.get(JAVA_LONG, 72);
    if (unit == 0) {
      unit = s.struct.get(JAVA_LONG, 8);
    }
    long blocks = s.struct.get(JAVA_LONG, geteuid() == 0 ? 24 : 32);
    return new FileSystemStat(
        s.struct.get(JAVA_LONG, 0) & 0xffffffffL,
        s.struct.get(JAVA_LONG, 16) * unit,
        s.struct.get(JAVA_LONG, 24) * unit,
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
        long n = call(GETDENTS64, s, open.fd(), s.buffer.address(), s.buffer.byteSize(), 0, 0);
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
    long name = put(s.path, path.raw(), "readlink", path);
    long n = call(READLINK, s, name, s.buffer.address(), s.buffer.byteSize(), 0, 0);
    return take(s.buffer, (int) check(n, s, "readlink", path));
  }

  /** The path without symbolic links; it must exist. */
  public static BytePath realpath(BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long name = put(s.path, path.raw(), "realpath", path);
    check(call(REALPATH, s, name, s.buffer.address(), 0, 0, 0) == 0 ? -1 : 0, s, "realpath", path);
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
    long name = put(s.path, path.raw(), "mkdir", path);
    invoke(s, "mkdir", path, MKDIR, name, mode);
  }

  public static void rmdir(BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long name = put(s.path, path.raw(), "rmdir", path);
    invoke(s, "rmdir", path, RMDIR, name);
  }

  public static void unlink(BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long name = put(s.path, path.raw(), "unlink", path);
    invoke(s, "unlink", path, UNLINK, name);
  }

  /** Makes {@code path} a symbolic link with that target. */
  public static void symlink(byte[] target, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long content = put(s.other, target, "symlink", path);
    long name = put(s.path, path.raw(), "symlink", path);
    invoke(s, "symlink", path, SYMLINK, content, name);
  }

  /** Gives {@code existing} a second name. */
  public static void link(BytePath existing, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long from = put(s.other, existing.raw(), "link", existing);
    long to = put(s.path, path.raw(), "link", path);
    invoke(s, "link", existing + " -> " + path, LINK, from, to);
  }

  /** Renames, replacing what is at {@code to}; does nothing if both are the same inode. */
  public static void rename(BytePath from, BytePath to) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long a = put(s.other, from.raw(), "rename", from);
    long b = put(s.path, to.raw(), "rename", to);
    invoke(s, "rename", from + " -> " + to, RENAME, a, b);
  }

  /** Renames; EEXIST if {@code to} is taken. EINVAL where the file system can't promise that. */
  public static void renameNoReplace(BytePath from, BytePath to) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long a = put(s.other, from.raw(), "rename", from);
    long b = put(s.path, to.raw(), "rename", to);
    invoke(s, "rename", from + " -> " + to, RENAMEAT2, AT_FDCWD, a, AT_FDCWD, b, RENAME_NOREPLACE);
  }

  /**
   * Makes a FIFO, a device node or a socket file.
   *
   * @param mode type and permission bits
   * @param rdev encoded as in {@link Stat#rdev()}; 0 where it means nothing
   */
  public static void mknod(BytePath path, int mode, long rdev) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long name = put(s.path, path.raw(), "mknod", path);
    long major = rdev >>> 32;
    long minor = rdev & 0xffffffffL;
    long encoded =
        (minor & 0xff)
            | ((major & 0xfff) << 8)
            | ((minor & ~0xffL) << 12)
            | ((major & ~0xfffL) << 32);
    invoke(s, "mknod", path, MKNOD, name, mode, encoded);
  }

  /** Sets the permission bits; follows symbolic links, which have none of their own. */
  public static void chmod(BytePath path, int permissions) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long name = put(s.path, path.raw(), "chmod", path);
    invoke(s, "chmod", path, CHMOD, name, permissions);
  }

  /** Sets owner and group; the kernel then clears setuid, setgid and file capabilities. */
  public static void lchown(BytePath path, int uid, int gid) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long name = put(s.path, path.raw(), "lchown", path);
    invoke(s, "lchown", path, LCHOWN, name, uid, gid);
  }

  /** Sets the time of the last change of content; leaves the time of access alone. */
  public static void setModified(BytePath path, Instant mtime) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long name = put(s.path, path.raw(), "utimensat", path);
    long times = times(s.struct, mtime);
    invoke(s, "utimensat", path, UTIMENSAT, AT_FDCWD, name, times, AT_SYMLINK_NOFOLLOW);
  }

  static void futimens(int fd, BytePath path, Instant mtime) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long times = times(s.struct, mtime);
    invoke(s, "futimens", path, FUTIMENS, fd, times);
  }

  private static long times(MemorySegment struct, Instant mtime) {
    struct.set(JAVA_LONG, 0, 0);
    struct.set(JAVA_LONG, 8, UTIME_OMIT);
    struct.set(JAVA_LONG, 16, mtime.getEpochSecond());
    struct.set(JAVA_LONG, 24, mtime.getNano());
    return struct.address();
  }

  /** Names of the extended attributes; empty where the file system has none. */
  public static List<byte[]> listXattrs(BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long name = put(s.path, path.raw(), "llistxattr", path);
    long n = call(LLISTXATTR, s, name, s.buffer.address(), s.buffer.byteSize(), 0, 0);
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
    long name = put(s.path, path.raw(), "lgetxattr", path);
    long key = put(s.other, attribute, "lgetxattr", path);
    long n = call(LGETXATTR, s, name, key, s.buffer.address(), s.buffer.byteSize(), 0);
    return take(s.buffer, (int) check(n, s, "lgetxattr", path));
  }

  /** Sets an extended attribute; the kernel takes values of at most 64 KiB. */
  public static void setXattr(BytePath path, byte[] attribute, byte[] value) throws ErrnoException {
    Scratch s = SCRATCH.get();
    if (value.length > s.buffer.byteSize()) {
      throw new ErrnoException("lsetxattr", path.toString(), Errno.ERANGE.number());
    }
    long name = put(s.path, path.raw(), "lsetxattr", path);
    long key = put(s.other, attribute, "lsetxattr", path);
    MemorySegment.copy(value, 0, s.buffer, JAVA_BYTE, 0, value.length);
    invoke(s, "lsetxattr", path, LSETXATTR, name, key, s.buffer.address(), value.length, 0);
  }

  public static void removeXattr(BytePath path, byte[] attribute) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long name = put(s.path, path.raw(), "lremovexattr", path);
    long key = put(s.other, attribute, "lremovexattr", path);
    invoke(s, "lremovexattr", path, LREMOVEXATTR, name, key);
  }

  /** One read(2): bytes read or the negated error number, also of EINTR. */
  static long read(int fd, MemorySegment into) {
    Scratch s = SCRATCH.get();
    try {
      long n =
          (long) Transfer.CALL.invokeExact(Mounting.READ, s.state, fd, into, into.byteSize(), 0L);
      return n < 0 ? -s.errno() : n;
    } catch (Throwable e) {
      throw impossible(e);
    }
  }

  /** One write(2): bytes written or the negated error number. */
  static long write(int fd, MemorySegment from) {
    Scratch s = SCRATCH.get();
    try {
      long n =
          (long) Transfer.CALL.invokeExact(Mounting.WRITE, s.state, fd, from, from.byteSize(), 0L);
      return n < 0 ? -s.errno() : n;
    } catch (Throwable e) {
      throw impossible(e);
    }
  }

  /** A duplicate, close-on-exec, of another process's descriptor; for messages it has a path. */
  static int duplicate(long pid, int theirs, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    int process =
        invoke(s, "pidfd_open " + pid, path, Mounting.SYSCALL, Mounting.PIDFD_OPEN, pid, 0);
    try {
      return invoke(
          s,
          "pidfd_getfd " + theirs,
          path,
          Mounting.SYSCALL,
          Mounting.PIDFD_GETFD,
          process,
          theirs,
          0);
    } finally {
      close(process, path);
    }
  }

  /** One ioctl(2) with a struct: its result or the negated error number. */
  static int ioctl(int fd, long request, MemorySegment argument) {
    Scratch s = SCRATCH.get();
    try {
      int result = (int) call(IOCTL, s, fd, request, argument.address(), 0, 0);
      return result < 0 ? -s.errno() : result;
    } finally {
      Reference.reachabilityFence(argument);
    }
  }

  /** In {@link #mount}: set-uid bits have no effect. */
  public static final int MS_NOSUID = 2;

  /** In {@link #mount}: device nodes can't be opened. */
  public static final int MS_NODEV = 4;

  /** In {@link #unmount}: aborts what is under way, where the file system can. */
  public static final int MNT_FORCE = 1;

  /** In {@link #unmount}: takes the mount out of the tree now; it ends with its last user. */
  public static final int MNT_DETACH = 2;

  /**
   * mount(2).
   *
   * @param source what /proc/mounts is to show as the device
   * @param type of the file system
   * @param flags MS constants
   * @param options of the file system, separated by commas
   */
  public static void mount(String source, BytePath target, String type, int flags, String options)
      throws ErrnoException {
    Scratch s = SCRATCH.get();
    long name = put(s.path, target.raw(), "mount", target);
    long device = put(s.other, source.getBytes(UTF_8), "mount", target);
    byte[] kind = type.getBytes(UTF_8);
    byte[] data = options.getBytes(UTF_8);
    if (kind.length + data.length + 2 > PATH_MAX) {
      throw new ErrnoException("mount", target.toString(), Errno.EINVAL.number());
    }
    MemorySegment.copy(kind, 0, s.buffer, JAVA_BYTE, 0, kind.length);
    s.buffer.set(JAVA_BYTE, kind.length, (byte) 0);
    long at = kind.length + 1L;
    MemorySegment.copy(data, 0, s.buffer, JAVA_BYTE, at, data.length);
    s.buffer.set(JAVA_BYTE, at + data.length, (byte) 0);
    long start = s.buffer.address();
    invoke(s, "mount", target, Mounting.MOUNT, device, name, start, flags, start + at);
  }

  /**
   * umount2(2); not of what a symbolic link at the end of the path leads to.
   *
   * @param flags MNT constants
   */
  public static void unmount(BytePath target, int flags) throws ErrnoException {
    Scratch s = SCRATCH.get();
    long name = put(s.path, target.raw(), "umount", target);
    int nofollow = 8;
    invoke(s, "umount", target, Mounting.UMOUNT2, name, flags | nofollow);
  }

  /**
   * Native memory that begins at a page. Unlike what {@link Arena#allocate} gives it is not
   * cleared: pages that nobody touches cost nothing where the block is a large one.
   *
   * @param bytes a multiple of 4096
   */
  @SuppressWarnings("restricted")
  public static MemorySegment pages(Arena arena, long bytes) {
    long address = call(Mounting.ALIGNED_ALLOC, SCRATCH.get(), 4096, bytes, 0, 0, 0);
    if (address == 0) {
      throw new OutOfMemoryError("no native memory for " + bytes + " bytes");
    }
    return MemorySegment.ofAddress(address)
        .reinterpret(
            bytes, arena, ignored -> call(Mounting.FREE, SCRATCH.get(), address, 0, 0, 0, 0));
  }

  /** Gives memory that the C library holds and nobody uses back to the kernel. */
  public static void trimMemory() {
    call(MALLOC_TRIM, SCRATCH.get(), 0, 0, 0, 0, 0);
  }

  /** The effective user id. */
  public static int geteuid() {
    return (int) call(GETEUID, SCRATCH.get(), 0, 0, 0, 0, 0);
  }

  // What the cache asks of an open file.

  /** Links fdatasync, which only a cache that is written to needs. */
  private static final class DataSync {
    static final MemorySegment FDATASYNC = find("fdatasync");
  }

  static void fdatasync(int fd, BytePath path) throws ErrnoException {
    Scratch s = SCRATCH.get();
    invoke(s, "fdatasync", path, DataSync.FDATASYNC, fd);
  }

  static void fallocate(int fd, BytePath path, int mode, long offset, long length)
      throws ErrnoException {
    Scratch s = SCRATCH.get();
    invoke(s, "fallocate", path, FALLOCATE, fd, mode, offset, length);
  }
}
