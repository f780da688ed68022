package org.lifeboat.fuse;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.zip.CRC32C;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.vfs.VfsException;

/**
 * What must outlive a server for another one to go on with its mount: the outcome of INIT, and what
 * each open file is to the kernel. Of the latter the kernel tells nothing, but holds a new open
 * against it: while a file is passed through, only the same backing id will do.
 *
 * <p>It is a file that the server maps into its memory. What is stored in it survives the death of
 * the process at any instruction, without a system call; a death of the host ends the mount, and
 * with it the need for the record. A slot is filled before its state says so, and its state is
 * changed by one store. The kernel learns of an open file after its slot is there, and asks for its
 * release before the slot goes. So the slots are what the kernel has open, or a little more, which
 * does no harm: a file counts as passed through for longer.
 *
 * <p>Put aside: counting opens per file instead of naming them (a request that is sent again would
 * be counted twice), and a log (as many bytes, and somebody has to read it).
 *
 * <pre>
 *     0 "LIFEFUSE"
 *     8 version u32 = 1
 *    12 agreed u32              1: INIT is done
 *    16 minor u32, max_readahead u32, max_request u32, stack_depth u32, flags u64
 *    40 length of the mount point u32, 44 its bytes
 *  8188 CRC32C u32 of all before
 *  8192 highest backing id u32
 *  8196 slots in use at most u32
 *  8224 slots of 32 bytes: handle u64, node u64, backing id u32, mode u32, state u32, 0 u32
 *       mode: 0 cached, 1 direct, 2 passed through. state: 0 free, 1 open, 2 to be closed
 * </pre>
 *
 * Little-endian; mode 0600. Thread-safe.
 */
final class MountRecord implements AutoCloseable {

  private static final long MAGIC = 0x455355464546494cL; // LIFEFUSE
  private static final int VERSION = 1;
  private static final int CHECKSUM = 8188;
  private static final int HIGHEST = 8192;
  private static final int USED = 8196;
  private static final int SLOTS = 8224;
  private static final int SLOT = 32;
  static final int MOST = 1 << 20;
  private static final long SIZE = SLOTS + (long) SLOT * MOST;
  private static final int MOUNT_POINT = 44;

  private static final int FREE = 0;
  private static final int OPEN = 1;
  private static final int CLOSING = 2;
  private static final VarHandle INT = JAVA_INT.varHandle();

  /** An open file. */
  record Slot(int index, long handle, long node, int backingId, int mode, boolean closing) {}

  private final Arena arena = Arena.ofShared();
  private final MemorySegment map;
  private final Path path;
  private final Deque<Integer> free = new ArrayDeque<>();

  private MountRecord(Path path, boolean create) throws IOException {
    this.path = path;
    FileChannel channel =
        create
            ? FileChannel.open(
                path,
                Set.of(
                    StandardOpenOption.READ,
                    StandardOpenOption.WRITE,
                    StandardOpenOption.CREATE_NEW),
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")))
            : FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE);
    try (channel) {
      if (create) {
        channel.write(ByteBuffer.allocate(1), SIZE - 1);
      } else if (channel.size() != SIZE) {
        throw new IOException("it has " + channel.size() + " bytes, not " + SIZE);
      }
      map = channel.map(FileChannel.MapMode.READ_WRITE, 0, SIZE, arena);
    } catch (IOException | RuntimeException e) {
      arena.close();
      throw e;
    }
  }

  /** A new record, at a path where nothing is; sparse, on a local disk or tmpfs. */
  static MountRecord create(Path path, BytePath mountPoint) throws VfsException {
    byte[] name = mountPoint.bytes();
    try {
      MountRecord record = new MountRecord(path, true);
      record.map.set(JAVA_LONG, 0, MAGIC);
      record.map.set(JAVA_INT, 8, VERSION);
      record.map.set(JAVA_INT, 40, name.length);
      MemorySegment.copy(name, 0, record.map, JAVA_BYTE, MOUNT_POINT, name.length);
      record.seal();
      return record;
    } catch (IOException e) {
      throw new VfsException(
          Errno.EIO,
          "mount",
          mountPoint.toString(),
          "the record " + path + " can't be made: " + e,
          "it must be a new file in a directory that can be written to",
          e);
    }
  }

  /** The record that an earlier server left. */
  static MountRecord open(Path path) throws VfsException {
    MountRecord record;
    try {
      record = new MountRecord(path, false);
    } catch (NoSuchFileException e) {
      throw unusable(path, "there is none", e);
    } catch (IOException e) {
      throw unusable(path, e.toString(), e);
    }
    String wrong = record.wrong();
    if (wrong != null) {
      record.close();
      throw unusable(path, wrong, null);
    }
    for (int i = record.map.get(JAVA_INT, USED) - 1; i >= 0; i--) {
      if (record.state(i) == FREE) {
        record.free.addLast(i);
      }
    }
    return record;
  }

  private static VfsException unusable(Path path, String why, Throwable cause) {
    return new VfsException(
        Errno.EIO,
        "take over",
        "",
        "the mount's record " + path + " is of no use: " + why,
        "unmount it (umount -l) and mount anew",
        cause);
  }

  private String wrong() {
    if (map.get(JAVA_LONG, 0) != MAGIC) {
      return "it is not one";
    }
    if (map.get(JAVA_INT, 8) != VERSION) {
      return "its version is " + map.get(JAVA_INT, 8) + ", not " + VERSION;
    }
    if (map.get(JAVA_INT, CHECKSUM) != checksum()) {
      return "its checksum is wrong";
    }
    int length = map.get(JAVA_INT, 40);
    if (length < 1 || length > 4096 || !BytePath.isCanonical(mountPointBytes())) {
      return "its mount point is not a path";
    }
    int used = map.get(JAVA_INT, USED);
    if (used < 0 || used > MOST) {
      return used + " files are open by it";
    }
    for (int i = 0; i < used; i++) {
      int mode = map.get(JAVA_INT, at(i) + 20);
      if (state(i) < FREE || state(i) > CLOSING || mode < 0 || mode > 2) {
        return "slot " + i + " makes no sense";
      }
    }
    return null;
  }

  private int checksum() {
    CRC32C crc = new CRC32C();
    crc.update(map.asSlice(0, CHECKSUM).asByteBuffer());
    return (int) crc.getValue();
  }

  private void seal() {
    map.set(JAVA_INT, CHECKSUM, checksum());
  }

  private byte[] mountPointBytes() {
    byte[] name = new byte[map.get(JAVA_INT, 40)];
    MemorySegment.copy(map, JAVA_BYTE, MOUNT_POINT, name, 0, name.length);
    return name;
  }

  BytePath mountPoint() {
    return BytePath.of(mountPointBytes());
  }

  /** Empty while the kernel's INIT has not been answered. */
  synchronized Optional<Agreement> agreement() {
    if (map.get(JAVA_INT, 12) == 0) {
      return Optional.empty();
    }
    return Optional.of(
        new Agreement(
            map.get(JAVA_INT, 16),
            map.get(JAVA_LONG, 32),
            map.get(JAVA_INT, 20),
            map.get(JAVA_INT, 24),
            map.get(JAVA_INT, 28)));
  }

  /** To be told before the kernel is. */
  synchronized void agreed(Agreement agreement) {
    map.set(JAVA_INT, 16, agreement.minor());
    map.set(JAVA_INT, 20, agreement.maxReadahead());
    map.set(JAVA_INT, 24, agreement.maxRequest());
    map.set(JAVA_INT, 28, agreement.stackDepth());
    map.set(JAVA_LONG, 32, agreement.flags());
    map.set(JAVA_INT, 12, 1);
    seal();
  }

  private static long at(int slot) {
    return SLOTS + (long) SLOT * slot;
  }

  private int state(int slot) {
    return (int) INT.getAcquire(map, at(slot) + 24);
  }

  private void state(int slot, int state) {
    INT.setRelease(map, at(slot) + 24, state);
  }

  /** An open file; its slot. EMFILE when all are taken. */
  synchronized int opened(long handle, long node, int backingId, int mode) throws VfsException {
    Integer slot = free.pollFirst();
    if (slot == null) {
      slot = map.get(JAVA_INT, USED);
      if (slot == MOST) {
        throw new VfsException(
            Errno.EMFILE, "open", "", MOST + " files are open on the mount", "", null);
      }
      map.set(JAVA_INT, USED, slot + 1);
    }
    map.set(JAVA_LONG, at(slot), handle);
    map.set(JAVA_LONG, at(slot) + 8, node);
    map.set(JAVA_INT, at(slot) + 16, backingId);
    map.set(JAVA_INT, at(slot) + 20, mode);
    state(slot, OPEN);
    return slot;
  }

  /** The slot's backing id is about to be closed: whoever finds it so shall do it. */
  void closing(int slot) {
    state(slot, CLOSING);
  }

  synchronized void released(int slot) {
    state(slot, FREE);
    free.addFirst(slot);
  }

  /** The kernel has given this id. */
  synchronized void registered(int backingId) {
    if (backingId > highestBackingId()) {
      map.set(JAVA_INT, HIGHEST, backingId);
    }
  }

  synchronized int highestBackingId() {
    return map.get(JAVA_INT, HIGHEST);
  }

  /** All that are not free. */
  synchronized List<Slot> slots() {
    List<Slot> slots = new ArrayList<>();
    int used = map.get(JAVA_INT, USED);
    for (int i = 0; i < used; i++) {
      int state = state(i);
      if (state != FREE) {
        slots.add(
            new Slot(
                i,
                map.get(JAVA_LONG, at(i)),
                map.get(JAVA_LONG, at(i) + 8),
                map.get(JAVA_INT, at(i) + 16),
                map.get(JAVA_INT, at(i) + 20),
                state == CLOSING));
      }
    }
    return slots;
  }

  Path path() {
    return path;
  }

  /** The file stays. */
  @Override
  public void close() {
    arena.close();
  }

  /** The mount is gone. */
  void delete() throws VfsException {
    close();
    try {
      Files.deleteIfExists(path);
    } catch (IOException e) {
      throw new VfsException(Errno.EIO, "unmount", path.toString(), e.toString(), "", e);
    }
  }
}
