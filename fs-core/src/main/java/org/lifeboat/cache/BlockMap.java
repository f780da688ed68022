package org.lifeboat.cache;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.zip.CRC32C;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.OpenFile;

/**
 * The map of a clean content: of which object it is a copy, and which blocks are there.
 *
 * <pre>
 *   at     bytes
 *   0      8      "LBBLOCKS"
 *   8      2      version, 1
 *   10     2      H, length of the header: a multiple of 8, at most 8192
 *   12     4      block size: a power of two, 4096 to 2^30
 *   16     8      id of the content
 *   24     8      size of the object
 *   32     2      N, length of the object's URL, at most 4096
 *   34     2      V, length of its version, 1 to 1024
 *   36     4      0
 *   40     N + V  URL and version, UTF-8; then zeros up to H - 4
 *   H - 4  4      CRC32C of all before
 *   H      8 for each block:
 *          4        CRC32C of the block's bytes (the last block may be short)
 *          4        CRC32C of: the header's CRC32C (4), the block's number (4), its CRC32C (4)
 * </pre>
 *
 * <p>Little endian. A block whose eight bytes are zero, or whose second checksum is wrong, is
 * absent. So a block is added or taken away by one write of eight aligned bytes, which a kill can't
 * tear, and a record that belongs to another map is none. The file is exactly as long as its header
 * says; where blocks are absent it may have holes. There are at most {@link #MAX_BLOCKS} blocks.
 *
 * <p>The alternative, a file that is written anew and renamed whenever blocks were added, costs as
 * much for one block of a large file as for all.
 */
final class BlockMap implements AutoCloseable {

  static final int VERSION = 1;
  static final int MAX_BLOCKS = 1 << 22;
  private static final long MAGIC = 0x534b434f4c42424cL; // LBBLOCKS
  private static final int FIXED = 40;
  private static final int MAX_HEADER = 8192;
  private static final int RECORD = 8;
  private static final int CHUNK = 64 << 10;

  private final OpenFile file;
  private final int header;
  private final int seed;

  private BlockMap(OpenFile file, byte[] header) {
    this.file = file;
    this.header = header.length;
    this.seed = seed(header);
  }

  /** What a map says. */
  record Loaded(Origin origin, Blocks blocks) {}

  /** A map that can't be believed; says why. */
  static final class DamagedException extends IOException {
    private static final long serialVersionUID = 1L;

    DamagedException(String message) {
      super(message);
    }
  }

  /** Opens one for changes; what it is of is known already. */
  static BlockMap open(BytePath path, long id, Origin origin, int blockSize) throws ErrnoException {
    return new BlockMap(OpenFile.write(path), header(id, origin, blockSize));
  }

  /**
   * Writes one into a new file and closes it.
   *
   * @return the file's length
   */
  static long write(OpenFile file, long id, Origin origin, Blocks blocks) throws ErrnoException {
    byte[] header = header(id, origin, blocks.blockSize());
    try (BlockMap map = new BlockMap(file, header);
        Arena arena = Arena.ofConfined()) {
      file.write(arena.allocateFrom(JAVA_BYTE, header), 0);
      long length = header.length + (long) RECORD * blocks.count();
      file.truncate(length);
      int n = 0;
      for (int from = 0; from < blocks.count(); from += n) {
        n = Math.min(CHUNK / RECORD, blocks.count() - from);
        map.record(blocks, from, n);
      }
      return length;
    }
  }

  private void record(Blocks blocks, int first, int count) throws ErrnoException {
    ByteBuffer records = ByteBuffer.allocate(count * RECORD).order(ByteOrder.LITTLE_ENDIAN);
    boolean any = false;
    for (int i = first; i < first + count; i++) {
      if (blocks.state(i) == Blocks.ABSENT) {
        records.putLong(0);
      } else {
        any = true;
        records.putInt(blocks.checksum(i)).putInt(check(seed, i, blocks.checksum(i)));
      }
    }
    if (any) {
      put(records.array(), first);
    }
  }

  /** A run of blocks is in the file from now on. */
  void record(int first, int[] checksums) throws ErrnoException {
    ByteBuffer records =
        ByteBuffer.allocate(checksums.length * RECORD).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < checksums.length; i++) {
      records.putInt(checksums[i]).putInt(check(seed, first + i, checksums[i]));
    }
    put(records.array(), first);
  }

  /** A run of blocks is absent from now on. */
  void erase(int first, int count) throws ErrnoException {
    put(new byte[count * RECORD], first);
  }

  private void put(byte[] records, int first) throws ErrnoException {
    try (Arena arena = Arena.ofConfined()) {
      file.write(arena.allocateFrom(JAVA_BYTE, records), header + (long) first * RECORD);
    }
  }

  @Override
  public void close() throws ErrnoException {
    file.close();
  }

  /**
   * Reads one. Blocks are unverified.
   *
   * @throws DamagedException when it is not one, or not of that id
   * @throws ErrnoException when it can't be read
   */
  static Loaded load(OpenFile file, long id) throws IOException {
    long length = file.stat().size();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment buffer = arena.allocate(CHUNK, 8);
      byte[] head = bytes(file, buffer, 0, (int) Math.min(length, MAX_HEADER));
      Parsed parsed = parse(head, id, length);
      Blocks blocks = new Blocks(parsed.origin.size(), parsed.blockSize);
      int n = 0;
      for (int from = 0; from < blocks.count(); from += n) {
        n = Math.min(CHUNK / RECORD, blocks.count() - from);
        ByteBuffer records =
            ByteBuffer.wrap(bytes(file, buffer, parsed.header + (long) from * RECORD, n * RECORD))
                .order(ByteOrder.LITTLE_ENDIAN);
        for (int i = from; i < from + n; i++) {
          int checksum = records.getInt();
          int check = records.getInt();
          if ((checksum != 0 || check != 0) && check == check(parsed.seed, i, checksum)) {
            blocks.unverified(i, checksum);
          }
        }
      }
      return new Loaded(parsed.origin, blocks);
    }
  }

  private static byte[] bytes(OpenFile file, MemorySegment buffer, long offset, int length)
      throws IOException {
    int done = 0;
    while (done < length) {
      int n = file.read(buffer.asSlice(done, length - done), offset + done);
      if (n == 0) {
        throw new DamagedException("it ends early");
      }
      done += n;
    }
    return buffer.asSlice(0, length).toArray(JAVA_BYTE);
  }

  private record Parsed(Origin origin, int blockSize, int header, int seed) {}

  private static Parsed parse(byte[] head, long id, long fileLength) throws DamagedException {
    ByteBuffer in = ByteBuffer.wrap(head).order(ByteOrder.LITTLE_ENDIAN);
    require(head.length >= FIXED + 8 && in.getLong(0) == MAGIC, "it is no map");
    int version = in.getShort(8) & 0xffff;
    require(version == VERSION, "its version is " + version);
    int header = in.getShort(10) & 0xffff;
    require(
        header >= FIXED + 8 && header % 8 == 0 && header <= head.length,
        "its header has a wrong length");
    require(in.getInt(header - 4) == crc(head, header - 4), "its header has a wrong checksum");
    int blockSize = in.getInt(12);
    long size = in.getLong(24);
    int object = in.getShort(32) & 0xffff;
    int name = in.getShort(34) & 0xffff;
    require(in.getLong(16) == id, "it is of another content");
    require(
        blockSize >= 4096 && blockSize <= 1 << 30 && Integer.bitCount(blockSize) == 1,
        "its block size is " + blockSize);
    require(
        size >= 0 && Math.ceilDiv(size, blockSize) <= MAX_BLOCKS,
        "its object has " + size + " bytes");
    require(
        object <= Origin.MAX_OBJECT
            && name >= 1
            && name <= Origin.MAX_VERSION
            && FIXED + object + name + 4 <= header,
        "its names are too long");
    long length = header + RECORD * Math.ceilDiv(size, blockSize);
    require(length == fileLength, "it has " + fileLength + " bytes instead of " + length);
    try {
      Origin origin =
          new Origin(
              new String(head, FIXED, object, UTF_8),
              new String(head, FIXED + object, name, UTF_8),
              size);
      return new Parsed(origin, blockSize, header, in.getInt(header - 4));
    } catch (IllegalArgumentException e) {
      throw new DamagedException("its names are not UTF-8");
    }
  }

  private static void require(boolean condition, String otherwise) throws DamagedException {
    if (!condition) {
      throw new DamagedException(otherwise);
    }
  }

  private static byte[] header(long id, Origin origin, int blockSize) {
    byte[] object = origin.object().getBytes(UTF_8);
    byte[] version = origin.version().getBytes(UTF_8);
    int length = (FIXED + object.length + version.length + 4 + 7) & ~7;
    ByteBuffer out = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
    out.putLong(MAGIC).putShort((short) VERSION).putShort((short) length).putInt(blockSize);
    out.putLong(id).putLong(origin.size());
    out.putShort((short) object.length).putShort((short) version.length).putInt(0);
    out.put(object).put(version);
    out.putInt(length - 4, crc(out.array(), length - 4));
    return out.array();
  }

  private static int seed(byte[] header) {
    return ByteBuffer.wrap(header).order(ByteOrder.LITTLE_ENDIAN).getInt(header.length - 4);
  }

  private static int check(int seed, int block, int checksum) {
    ByteBuffer twelve = ByteBuffer.allocate(12).order(ByteOrder.LITTLE_ENDIAN);
    twelve.putInt(seed).putInt(block).putInt(checksum);
    return crc(twelve.array(), 12);
  }

  private static int crc(byte[] bytes, int length) {
    CRC32C sum = new CRC32C();
    sum.update(bytes, 0, length);
    return (int) sum.getValue();
  }
}
