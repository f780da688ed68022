package org.lifeboat.fuse;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.Libc;
import org.lifeboat.vfs.AttributeChange;
import org.lifeboat.vfs.Caller;
import org.lifeboat.vfs.Lock;
import org.lifeboat.vfs.Timespec;
import org.lifeboat.vfs.VfsException;

/**
 * One request as the kernel wrote it, in a buffer that is used for the next one afterwards. Every
 * access is checked against the length of the request: what is missing or makes no sense is EINVAL.
 * Numbers are little-endian (both architectures are). One thread at a time.
 *
 * <pre>
 *  0 len u32      whole request
 *  4 opcode u32
 *  8 unique u64   bit 0: an interrupt; bit 63: sent again after a take-over
 * 16 node u64
 * 24 uid u32
 * 28 gid u32
 * 32 pid u32
 * 36 extensions u16, in units of 8 bytes; 38 padding
 * 40 body, by opcode; offsets below count from here. name: bytes and a NUL
 *
 * LOOKUP, UNLINK, RMDIR, REMOVEXATTR   name 0
 * FORGET        count u64 0
 * BATCH_FORGET  n u32 0, then n times {node u64, count u64} from 8 on
 * GETATTR       flags u32 0 (1: handle counts)  handle u64 8
 * SETATTR       valid u32 0  handle u64 8  size u64 16  lock_owner u64 24  atime u64 32  mtime u64 40
 *               ctime u64 48  atimensec u32 56  mtimensec u32 60  ctimensec u32 64  mode u32 68
 *               uid u32 76  gid u32 80
 * SYMLINK       name 0, target after it
 * MKNOD         mode u32 0  rdev u32 4  umask u32 8  name 16
 * MKDIR         mode u32 0  umask u32 4  name 8
 * RENAME        directory u64 0  name 8, new name after it
 * RENAME2       directory u64 0  flags u32 8  name 16, new name after it
 * LINK          node u64 0  name 8
 * OPEN          flags u32 0  open_flags u32 4 (1: kill suid and sgid)
 * OPENDIR       the same
 * CREATE        flags u32 0  mode u32 4  umask u32 8  open_flags u32 12  name 16
 * TMPFILE       the same, the name means nothing
 * READ          handle u64 0  offset u64 8  size u32 16  read_flags u32 20  lock_owner u64 24  flags u32 32
 * READDIR, READDIRPLUS   the same
 * WRITE         the same, write_flags u32 20 (1: from the page cache, 4: kill suid and sgid), data 40
 * RELEASE       handle u64 0  flags u32 8  release_flags u32 12 (2: flock)  lock_owner u64 16
 * RELEASEDIR    the same
 * FLUSH         handle u64 0  lock_owner u64 16
 * FSYNC, FSYNCDIR   handle u64 0  flags u32 8 (1: data only)
 * SETXATTR      size u32 0  flags u32 4  name 8, value after it
 * GETXATTR      size u32 0  name 8
 * LISTXATTR     size u32 0
 * GETLK, SETLK, SETLKW   handle u64 0  owner u64 8  start u64 16  end u64 24  type u32 32  pid u32 36
 *               flags u32 40 (1: flock)
 * ACCESS        mask u32 0
 * INTERRUPT     unique u64 0
 * INIT          major u32 0  minor u32 4  max_readahead u32 8  flags u32 12  flags2 u32 16
 * FALLOCATE     handle u64 0  offset u64 8  length u64 16  mode u32 24
 * LSEEK         handle u64 0  offset u64 8  whence u32 16
 * COPY_FILE_RANGE   handle u64 0  offset u64 8  to_node u64 16  to_handle u64 24  to_offset u64 32
 *               length u64 40  flags u64 48
 * </pre>
 *
 * <p>Source: linux/fuse.h of Linux 6.18, and requests read on that kernel.
 */
final class Inbound {

  static final int HEADER = 40;

  /** Where the data of a WRITE begins, from the beginning of the request. */
  static final int DATA = HEADER + 40;

  /** The longest name that the kernel sends. */
  static final int LONGEST_NAME = 4095;

  private static final int PAGE = 4096;

  private final MemorySegment buffer;
  private int length;
  private int nul;

  /**
   * @param buffer begins 80 bytes before a page, so that the data of a WRITE begins at one
   */
  Inbound(MemorySegment buffer) {
    this.buffer = buffer;
  }

  /** A buffer for requests with up to {@code most} bytes of data, a multiple of 4096. */
  static Inbound allocate(Arena arena, int most) {
    return new Inbound(Libc.pages(arena, most + 3L * PAGE).asSlice(PAGE - DATA, most + 2L * PAGE));
  }

  MemorySegment buffer() {
    return buffer;
  }

  /** A request of that many bytes lies in the buffer now. Whether its header is whole. */
  boolean received(long bytes) {
    length = (int) bytes;
    return bytes >= HEADER;
  }

  /** EINVAL if the header contradicts what was read. */
  void checkLength() throws VfsException {
    if (buffer.get(JAVA_INT, 0) != length) {
      throw malformed();
    }
  }

  int length() {
    return length;
  }

  int opcode() {
    return buffer.get(JAVA_INT, 4);
  }

  long unique() {
    return buffer.get(JAVA_LONG, 8);
  }

  boolean resent() {
    return unique() < 0;
  }

  long node() {
    return buffer.get(JAVA_LONG, 16);
  }

  Caller caller(int umask) {
    return new Caller(
        buffer.get(JAVA_INT, 24),
        buffer.get(JAVA_INT, 28),
        buffer.get(JAVA_INT, 32),
        umask & 0777,
        resent());
  }

  Caller caller() {
    return caller(0);
  }

  private void need(int at, long bytes) throws VfsException {
    if (bytes < 0 || HEADER + at + bytes > length) {
      throw malformed();
    }
  }

  /** At an offset from the body's beginning, as everything below. */
  int u32(int at) throws VfsException {
    need(at, 4);
    return buffer.get(JAVA_INT, HEADER + at);
  }

  long u64(int at) throws VfsException {
    need(at, 8);
    return buffer.get(JAVA_LONG, HEADER + at);
  }

  /** An offset in a file: not negative. */
  long offset(int at) throws VfsException {
    long offset = u64(at);
    if (offset < 0) {
      throw malformed();
    }
    return offset;
  }

  /** How many bytes to read or write: not more than was agreed on. */
  int size(int at, int most) throws VfsException {
    int size = u32(at);
    if (size < 0 || size > most) {
      throw malformed();
    }
    return size;
  }

  /** A text up to its NUL; {@link #next()} is what follows it. */
  byte[] text(int at) throws VfsException {
    need(at, 1);
    int end = HEADER + at;
    while (buffer.get(JAVA_BYTE, end) != 0) {
      if (++end == length) {
        throw malformed();
      }
    }
    nul = end - HEADER;
    byte[] text = new byte[nul - at];
    MemorySegment.copy(buffer, JAVA_BYTE, HEADER + at, text, 0, text.length);
    return text;
  }

  /** What follows the text that was read last. */
  int next() {
    return nul + 1;
  }

  /** A name in a directory. */
  byte[] name(int at) throws VfsException {
    byte[] name = text(at);
    boolean dots =
        (name.length == 1 && name[0] == '.')
            || (name.length == 2 && name[0] == '.' && name[1] == '.');
    if (name.length == 0 || dots) {
      throw malformed();
    }
    if (name.length > LONGEST_NAME) {
      throw new VfsException(Errno.ENAMETOOLONG, "request", "");
    }
    for (byte b : name) {
      if (b == '/') {
        throw malformed();
      }
    }
    return name;
  }

  byte[] bytes(int at, int size) throws VfsException {
    if (size < 0) {
      throw malformed();
    }
    need(at, size);
    byte[] bytes = new byte[size];
    MemorySegment.copy(buffer, JAVA_BYTE, HEADER + at, bytes, 0, size);
    return bytes;
  }

  /** What a WRITE brings; at the beginning of a page. */
  MemorySegment data(int size) throws VfsException {
    need(DATA - HEADER, size);
    return buffer.asSlice(DATA, size);
  }

  private static final int FATTR_MODE = 1;
  private static final int FATTR_UID = 1 << 1;
  private static final int FATTR_GID = 1 << 2;
  private static final int FATTR_SIZE = 1 << 3;
  private static final int FATTR_ATIME = 1 << 4;
  private static final int FATTR_MTIME = 1 << 5;
  private static final int FATTR_FH = 1 << 6;
  private static final int FATTR_ATIME_NOW = 1 << 7;
  private static final int FATTR_MTIME_NOW = 1 << 8;
  private static final int FATTR_CTIME = 1 << 10;
  private static final int FATTR_KILL_SUIDGID = 1 << 11;

  /** Of a SETATTR. */
  OptionalLong changedHandle() throws VfsException {
    return (u32(0) & FATTR_FH) != 0 ? OptionalLong.of(u64(8)) : OptionalLong.empty();
  }

  /** Of a SETATTR. */
  AttributeChange change() throws VfsException {
    int valid = u32(0);
    need(0, 88);
    return new AttributeChange(
        (valid & FATTR_MODE) != 0 ? OptionalInt.of(u32(68)) : OptionalInt.empty(),
        (valid & FATTR_UID) != 0 ? OptionalInt.of(u32(76)) : OptionalInt.empty(),
        (valid & FATTR_GID) != 0 ? OptionalInt.of(u32(80)) : OptionalInt.empty(),
        (valid & FATTR_SIZE) != 0 ? OptionalLong.of(offset(16)) : OptionalLong.empty(),
        time(valid, FATTR_ATIME, FATTR_ATIME_NOW, 32, 56),
        time(valid, FATTR_MTIME, FATTR_MTIME_NOW, 40, 60),
        time(valid, FATTR_CTIME, 0, 48, 64),
        (valid & FATTR_KILL_SUIDGID) != 0);
  }

  private Optional<Timespec> time(int valid, int bit, int now, int seconds, int nanos)
      throws VfsException {
    if ((valid & now) != 0) {
      return Optional.of(Timespec.NOW);
    }
    if ((valid & bit) == 0) {
      return Optional.empty();
    }
    int part = u32(nanos);
    if (part < 0 || part >= 1_000_000_000) {
      throw malformed();
    }
    return Optional.of(new Timespec(u64(seconds), part));
  }

  /** Of a GETLK, SETLK or SETLKW. */
  Lock lock() throws VfsException {
    Lock.Type type =
        switch (u32(32)) {
          case 0 -> Lock.Type.READ;
          case 1 -> Lock.Type.WRITE;
          case 2 -> Lock.Type.UNLOCK;
          default -> throw malformed();
        };
    long start = offset(16);
    long end = offset(24);
    if (end < start) {
      throw malformed();
    }
    return new Lock(type, start, end, u32(36));
  }

  /** Of a MKNOD: the kernel's 32 bits as {@code major << 32 | minor}. */
  long rdev() throws VfsException {
    int encoded = u32(4);
    int major = (encoded >>> 8) & 0xfff;
    int minor = (encoded & 0xff) | ((encoded >>> 12) & 0xfff00);
    return ((long) major << 32) | minor;
  }

  static VfsException malformed() {
    return new VfsException(
        Errno.EINVAL, "request", "", "a malformed request from the kernel", "", null);
  }
}
