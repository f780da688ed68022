package org.lifeboat.fuse;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.Stat;
import org.lifeboat.vfs.Attributes;
import org.lifeboat.vfs.DirectorySink;
import org.lifeboat.vfs.Entry;
import org.lifeboat.vfs.Lock;
import org.lifeboat.vfs.Timespec;
import org.lifeboat.vfs.ValidAttributes;
import org.lifeboat.vfs.VfsException;
import org.lifeboat.vfs.VolumeStat;

/**
 * One reply, made in a buffer. Methods write at offsets from the payload's beginning and return how
 * many bytes they wrote. One thread at a time.
 *
 * <pre>
 *  0 len u32, error i32 (0 or a negative errno; then there is no payload), unique u64 of the request
 * 16 payload
 *
 * attributes 88: ino u64 0  size u64 8  blocks u64 16  atime u64 24  mtime u64 32  ctime u64 40
 *     atimensec u32 48  mtimensec u32 52  ctimensec u32 56  mode u32 60  nlink u32 64  uid u32 68
 *     gid u32 72  rdev u32 76  blksize u32 80  flags u32 84
 * entry 128: node u64 0  generation u64 8  entry_valid u64 16  attr_valid u64 24  entry_valid_nsec u32 32
 *     attr_valid_nsec u32 36  attributes 40.   node 0: no such name, for so long
 * valid attributes 104: valid u64 0  nsec u32 8  pad u32  attributes 16
 * open 16: handle u64 0  flags u32 8  backing_id u32 12.   CREATE, TMPFILE: entry, then open
 * written 8: size u32 0
 * statfs 80: blocks u64 0  bfree u64 8  bavail u64 16  files u64 24  ffree u64 32  bsize u32 40
 *     namelen u32 44  frsize u32 48
 * xattr size 8: size u32 0
 * lock 24: start u64 0  end u64 8  type u32 16  pid u32 20
 * offset 8: offset u64 0
 * directory: ino u64 0  off u64 8  namelen u32 16  type u32 20  name 24, zeros up to a multiple of 8;
 *     with attributes an entry before each; that of . and .. has node 0
 * init 64: major u32 0  minor u32 4  max_readahead u32 8  flags u32 12  max_background u16 16
 *     congestion_threshold u16 18  max_write u32 20  time_gran u32 24  max_pages u16 28
 *     flags2 u32 32  max_stack_depth u32 36
 * </pre>
 */
final class Outbound {

  static final int HEADER = 16;
  static final int ENTRY = 128;
  static final int ATTRIBUTES = 88;
  private static final int DIRENT = 24;
  private static final int PAGE = 4096;
  private static final long SECOND = 1_000_000_000L;

  private final MemorySegment buffer;

  /**
   * @param buffer begins 16 bytes before a page, so that what a READ returns begins at one
   */
  Outbound(MemorySegment buffer) {
    this.buffer = buffer;
  }

  /** A buffer for replies with up to {@code most} bytes of payload, a multiple of 4096. */
  static Outbound allocate(Arena arena, int most) {
    return new Outbound(
        Libc.pages(arena, most + 2L * PAGE).asSlice(PAGE - HEADER, most + (long) PAGE));
  }

  /** Writes the header; the reply to be written to the device. */
  MemorySegment finish(long unique, int payload) {
    header(HEADER + payload, 0, unique);
    return buffer.asSlice(0, HEADER + payload);
  }

  /**
   * @param error the positive number
   */
  MemorySegment fail(long unique, int error) {
    header(HEADER, -error, unique);
    return buffer.asSlice(0, HEADER);
  }

  private void header(int length, int error, long unique) {
    buffer.set(JAVA_INT, 0, length);
    buffer.set(JAVA_INT, 4, error);
    buffer.set(JAVA_LONG, 8, unique);
  }

  /** The room for payload, at the beginning of a page. */
  MemorySegment payload(int size) {
    return buffer.asSlice(HEADER, size);
  }

  private void u32(int at, int value) {
    buffer.set(JAVA_INT, HEADER + at, value);
  }

  private void u64(int at, long value) {
    buffer.set(JAVA_LONG, HEADER + at, value);
  }

  private void u16(int at, int value) {
    buffer.set(JAVA_SHORT, HEADER + at, (short) value);
  }

  private void clear(int at, int size) {
    buffer.asSlice(HEADER + at, size).fill((byte) 0);
  }

  int bytes(byte[] bytes) throws VfsException {
    if (bytes.length > buffer.byteSize() - HEADER) {
      throw new VfsException(Errno.ERANGE, "reply", "");
    }
    MemorySegment.copy(bytes, 0, buffer, JAVA_BYTE, HEADER, bytes.length);
    return bytes.length;
  }

  /** One number: what was written, or a size. */
  int size(long size) {
    u32(0, (int) size);
    u32(4, 0);
    return 8;
  }

  int offset(long offset) {
    u64(0, offset);
    return 8;
  }

  /** {@code major << 32 | minor} as the kernel's 32 bits. */
  static int rdev(long rdev) {
    int major = (int) (rdev >>> 32);
    int minor = (int) rdev;
    return (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12);
  }

  private int attributes(int at, Attributes a) {
    u64(at, a.inode());
    u64(at + 8, a.size());
    u64(at + 16, a.blocks());
    time(at + 24, at + 48, a.atime());
    time(at + 32, at + 52, a.mtime());
    time(at + 40, at + 56, a.ctime());
    u32(at + 60, a.mode());
    u32(at + 64, a.nlink());
    u32(at + 68, a.uid());
    u32(at + 72, a.gid());
    u32(at + 76, rdev(a.rdev()));
    u32(at + 80, a.blockSize());
    u32(at + 84, 0);
    return ATTRIBUTES;
  }

  private void time(int seconds, int nanos, Timespec time) {
    u64(seconds, time.seconds());
    u32(nanos, time.nanos());
  }

  int attributes(ValidAttributes valid) {
    u64(0, valid.validNanos() / SECOND);
    u32(8, (int) (valid.validNanos() % SECOND));
    u32(12, 0);
    return 16 + attributes(16, valid.attributes());
  }

  int entry(Entry entry) {
    return entry(0, entry, entry.node());
  }

  private int entry(int at, Entry entry, long node) {
    u64(at, node);
    u64(at + 8, 0);
    u64(at + 16, entry.entryValidNanos() / SECOND);
    u64(at + 24, entry.attributesValidNanos() / SECOND);
    u32(at + 32, (int) (entry.entryValidNanos() % SECOND));
    u32(at + 36, (int) (entry.attributesValidNanos() % SECOND));
    if (entry.attributes() == null) {
      clear(at + 40, ATTRIBUTES);
    } else {
      attributes(at + 40, entry.attributes());
    }
    return ENTRY;
  }

  /**
   * @param at 0, or after an entry
   */
  int opened(int at, long handle, int flags, int backingId) {
    u64(at, handle);
    u32(at + 8, flags);
    u32(at + 12, backingId);
    return at + 16;
  }

  int volume(VolumeStat stat) {
    clear(0, 80);
    u64(0, stat.blocks());
    u64(8, stat.free());
    u64(16, stat.available());
    u64(24, stat.files());
    u64(32, stat.freeFiles());
    u32(40, stat.blockSize());
    u32(44, stat.nameLength());
    u32(48, stat.blockSize());
    return 80;
  }

  int lock(Lock lock) {
    u64(0, lock.start());
    u64(8, lock.end());
    u32(
        16,
        switch (lock.type()) {
          case READ -> 0;
          case WRITE -> 1;
          case UNLOCK -> 2;
        });
    u32(20, lock.pid());
    return 24;
  }

  int init(Agreement agreement) {
    clear(0, 64);
    u32(0, Agreement.MAJOR);
    u32(4, agreement.minor());
    u32(8, agreement.maxReadahead());
    u32(12, (int) agreement.flags());
    u16(16, Agreement.MAX_BACKGROUND);
    u16(18, Agreement.MAX_BACKGROUND * 3 / 4);
    u32(20, agreement.maxRequest());
    u32(24, 1);
    u16(28, agreement.maxRequest() / PAGE);
    u32(32, (int) (agreement.flags() >>> 32));
    u32(36, agreement.stackDepth());
    return 64;
  }

  /** Takes entries up to a size. */
  final class Directory implements DirectorySink {

    private final int room;
    private int at;

    /**
     * @param room bytes that the program has for them
     */
    Directory(int room) {
      this.room = room;
    }

    int written() {
      return at;
    }

    @Override
    public boolean add(byte[] name, long inode, int type, long next) {
      if (at + aligned(name) > room) {
        return false;
      }
      dirent(name, inode, type, next);
      return true;
    }

    @Override
    public boolean add(byte[] name, Entry entry, long next) {
      if (at + ENTRY + aligned(name) > room) {
        return false;
      }
      boolean dots = name[0] == '.' && (name.length == 1 || (name.length == 2 && name[1] == '.'));
      at += entry(at, entry, dots ? 0 : entry.node());
      Attributes attributes = entry.attributes();
      dirent(name, attributes.inode(), attributes.mode(), next);
      return true;
    }

    private static int aligned(byte[] name) {
      return (DIRENT + name.length + 7) & -8;
    }

    private void dirent(byte[] name, long inode, int type, long next) {
      int size = aligned(name);
      u64(at + ((size - 8) & -8), 0);
      u64(at, inode);
      u64(at + 8, next);
      u32(at + 16, name.length);
      u32(at + 20, (type & Stat.S_IFMT) >>> 12);
      MemorySegment.copy(name, 0, buffer, JAVA_BYTE, HEADER + at + DIRENT, name.length);
      at += size;
    }
  }
}
