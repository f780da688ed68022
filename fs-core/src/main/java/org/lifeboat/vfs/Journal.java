package org.lifeboat.vfs;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.function.Consumer;
import java.util.zip.CRC32C;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What a mount knows and no object of the store says, on the cache's disk: each change is appended
 * before anybody is told that it happened, so that a killed engine loses nothing, and the next one
 * reads it all again. A database (SQLite, RocksDB) was rejected: the state fits into memory and is
 * read whole at the start, so all that is left of one is its log.
 *
 * <pre>
 * DIRECTORY/N.log        the changes since snapshot N; N is 16 hexadecimal digits
 *           N.snapshot   the whole state when log N was begun; there is none for N = 0
 *           next.tmp     a snapshot that is being written
 *
 * file     header, then frames
 * header   32 bytes: "LBFSJRNL", u32 version 1, u32 kind (0 log, 1 snapshot), u64 N, u32 0,
 *                    u32 CRC32C of the 28 bytes before
 * frame    u32 length of the body, u32 CRC32C of length, sequence and body, u64 sequence, body
 *          the sequence is 1 for a file's first frame and then one more each
 * body     one {@link Change} after the other, see {@link ChangeCoder}; they happened at once
 * </pre>
 *
 * All little endian. A snapshot ends with a frame that has no body. A version is raised when an
 * older reader would misread what is new; a greater one than is known is refused.
 *
 * <p><b>What can be found.</b> The process may die within an append: then the last frame of the log
 * is cut short or wrong, nobody was told of it, and it is cut off. A wrong frame with a good one of
 * a later sequence behind it is damage, and so is anything wrong with a snapshot: that is an error
 * which says where, and nothing is passed over. (A host that lost its power may leave such a log
 * too; of what was not synced before it promises nothing.)
 *
 * <p><b>Compaction.</b> When a log has become longer than its snapshot twice, and than 16 MiB, the
 * state is written as the next snapshot beside, synced and renamed, while the lock of {@link State}
 * is held: a million files are about two seconds in which nothing changes, once in millions of
 * changes. Writing it from a copy, or by reading the old files again, would take the memory of a
 * second state for that.
 *
 * <p>Appends are not synced: what a process wrote survives its death. {@link #sync} is for the
 * fsync of the task. Not thread-safe but for that.
 */
final class Journal implements AutoCloseable {

  static final int HEADER = 32;
  static final int FRAME = 16;
  static final int VERSION = 1;
  private static final int LOG = 0;
  private static final int SNAPSHOT = 1;
  private static final byte[] MAGIC = "LBFSJRNL".getBytes(US_ASCII);
  private static final int LARGEST_BODY = 64 << 20;
  private static final int SNAPSHOT_BODY = 64 << 10;
  private static final long LATER = 1L << 20;
  static final long SMALLEST_COMPACTION = 16 << 20;

  private static final Logger log = LoggerFactory.getLogger(Journal.class);

  private final BytePath directory;
  private final CrashPoints points;
  private final long smallestCompaction;
  private final ChangeCoder coder = new ChangeCoder();
  private Arena arena = Arena.ofShared();
  private MemorySegment buffer = arena.allocate(64 << 10);
  private long number;
  private volatile OpenFile file;
  private long end;
  private long sequence;
  private long compactAt;
  private long cut;

  private Journal(BytePath directory, CrashPoints points, long smallestCompaction) {
    this.directory = directory;
    this.points = points;
    this.smallestCompaction = smallestCompaction;
  }

  /**
   * Opens the journal in a directory, which is made if need be, and reads what is there.
   *
   * @param replay gets each change; IllegalStateException says that it can't be
   * @throws VfsException naming the file, the place and the remedy, when something is damaged
   */
  static Journal open(BytePath directory, Consumer<Change> replay, CrashPoints points)
      throws VfsException {
    return open(directory, replay, points, SMALLEST_COMPACTION);
  }

  static Journal open(
      BytePath directory, Consumer<Change> replay, CrashPoints points, long smallestCompaction)
      throws VfsException {
    Journal journal = new Journal(directory, points, smallestCompaction);
    try {
      journal.read(replay);
      return journal;
    } catch (ErrnoException e) {
      journal.close();
      throw VfsException.of(e, "open the journal", directory.toString());
    } catch (VfsException | RuntimeException e) {
      journal.close();
      throw e;
    }
  }

  private BytePath path(long of, String suffix) {
    return directory.resolve(String.format("%016x.%s", of, suffix));
  }

  private BytePath temporary() {
    return directory.resolve("next.tmp");
  }

  private void read(Consumer<Change> replay) throws ErrnoException, VfsException {
    if (Libc.find(directory).isEmpty()) {
      Libc.mkdir(directory, 0700);
    }
    long newest = 0;
    for (byte[] name : Libc.list(directory)) {
      newest = Math.max(newest, numberOf(new Name(name), "snapshot"));
    }
    number = newest;
    for (byte[] name : Libc.list(directory)) {
      Name known = new Name(name);
      long snapshot = numberOf(known, "snapshot");
      long ofLog = numberOf(known, "log");
      boolean old = (snapshot >= 0 && snapshot != newest) || (ofLog >= 0 && ofLog != newest);
      if (old || known.toString().equals("next.tmp")) {
        Libc.unlink(directory.resolve(name));
      }
    }
    long snapshotBytes = newest == 0 ? 0 : readSnapshot(path(newest, "snapshot"), replay);
    BytePath path = path(newest, "log");
    if (Libc.find(path).isPresent()) {
      file = OpenFile.write(path);
      readLog(path, replay);
    } else if (newest == 0) {
      file = OpenFile.create(path);
      writeHeader(file, LOG, newest);
    } else {
      throw damaged(path, "is not there, although its snapshot is");
    }
    compactAt = Math.max(smallestCompaction, 2 * snapshotBytes);
  }

  private static long numberOf(Name name, String suffix) {
    String text = name.toString();
    if (!text.endsWith("." + suffix) || text.length() != 17 + suffix.length()) {
      return -1;
    }
    try {
      return Long.parseUnsignedLong(text, 0, 16, 16);
    } catch (NumberFormatException e) {
      return -1;
    }
  }

  private VfsException damaged(BytePath path, String what) {
    return damaged(path, what, null);
  }

  private VfsException damaged(BytePath path, String what, Throwable cause) {
    return new VfsException(
        Errno.EIO,
        "open the journal",
        path.toString(),
        path + " " + what,
        "it says what of the mount's files is not in the store yet; to go on without that, move"
            + " the folder "
            + directory
            + " away",
        cause);
  }

  private long readSnapshot(BytePath path, Consumer<Change> replay)
      throws ErrnoException, VfsException {
    try (OpenFile open = OpenFile.read(path);
        Arena memory = Arena.ofConfined()) {
      MemorySegment all = whole(open, memory);
      checkHeader(path, all, SNAPSHOT);
      long at = HEADER;
      for (long next = 1; ; next++) {
        int length = bodyAt(all, at, next);
        if (length < 0) {
          throw damaged(path, "is damaged at byte " + at);
        }
        replay(path, all, at, length, replay);
        at += FRAME + length;
        if (length == 0) {
          break;
        }
      }
      if (at != all.byteSize()) {
        throw damaged(path, "goes on behind its end, at byte " + at);
      }
      return at;
    }
  }

  private void readLog(BytePath path, Consumer<Change> replay) throws ErrnoException, VfsException {
    try (Arena memory = Arena.ofConfined()) {
      MemorySegment all = whole(file, memory);
      if (all.byteSize() < HEADER) {
        file.truncate(0);
        cut = all.byteSize();
        writeHeader(file, LOG, number);
        return;
      }
      checkHeader(path, all, LOG);
      long at = HEADER;
      while (at < all.byteSize()) {
        int length = bodyAt(all, at, sequence + 1);
        if (length < 0) {
          break;
        }
        replay(path, all, at, length, replay);
        at += FRAME + length;
        sequence++;
      }
      end = at;
      if (at < all.byteSize()) {
        for (long later = at + 1; later <= all.byteSize() - FRAME; later++) {
          long found = all.get(ChangeLayout.I64, later + 8);
          if (found > sequence && found <= sequence + LATER && bodyAt(all, later, found) >= 0) {
            throw damaged(path, "is damaged at byte " + at + "; what is behind it is good");
          }
        }
        cut = all.byteSize() - at;
        log.warn("{}: the last {} bytes are of a change that was not finished: cut off", path, cut);
        file.truncate(at);
      }
    }
  }

  /** Bytes that were cut off when it was opened. */
  long cutBytes() {
    return cut;
  }

  /** How many changes were appended since the last snapshot, in frames. */
  long frames() {
    return sequence;
  }

  private static MemorySegment whole(OpenFile open, Arena memory) throws ErrnoException {
    long size = open.stat().size();
    MemorySegment all = memory.allocate(Math.max(1, size), 8);
    long read = 0;
    while (read < size) {
      int n = open.read(all.asSlice(read, Math.min(size - read, 16 << 20)), read);
      if (n == 0) {
        break;
      }
      read += n;
    }
    return all.asSlice(0, read);
  }

  private void checkHeader(BytePath path, MemorySegment all, int kind) throws VfsException {
    if (all.byteSize() < HEADER
        || !ByteBuffer.wrap(MAGIC).equals(all.asSlice(0, MAGIC.length).asByteBuffer())
        || crc(all, 0, 28) != all.get(ChangeLayout.I32, 28)) {
      throw damaged(path, "does not begin like a journal");
    }
    int version = all.get(ChangeLayout.I32, 8);
    if (version > VERSION) {
      throw new VfsException(
          Errno.EIO,
          "open the journal",
          path.toString(),
          path + " is of version " + version + ", this Lifeboat knows " + VERSION,
          "mount with the Lifeboat that wrote it, or a newer one",
          null);
    }
    if (version != VERSION
        || all.get(ChangeLayout.I32, 12) != kind
        || all.get(ChangeLayout.I64, 16) != number) {
      throw damaged(path, "is another file of a journal than its name says");
    }
  }

  /** The length of the body at a frame that is good; -1 if none is there. */
  private static int bodyAt(MemorySegment all, long at, long sequence) {
    if (all.byteSize() - at < FRAME) {
      return -1;
    }
    int length = all.get(ChangeLayout.I32, at);
    if (length < 0
        || length > LARGEST_BODY
        || length > all.byteSize() - at - FRAME
        || all.get(ChangeLayout.I64, at + 8) != sequence) {
      return -1;
    }
    CRC32C crc = new CRC32C();
    crc.update(all.asSlice(at, 4).asByteBuffer());
    crc.update(all.asSlice(at + 8, 8L + length).asByteBuffer());
    return (int) crc.getValue() == all.get(ChangeLayout.I32, at + 4) ? length : -1;
  }

  private static int crc(MemorySegment all, long from, long length) {
    CRC32C crc = new CRC32C();
    crc.update(all.asSlice(from, length).asByteBuffer());
    return (int) crc.getValue();
  }

  private void replay(
      BytePath path, MemorySegment all, long at, int length, Consumer<Change> replay)
      throws VfsException {
    byte[] bytes = new byte[length];
    MemorySegment.copy(all, ChangeLayout.BYTE, at + FRAME, bytes, 0, length);
    ByteBuffer body = ByteBuffer.wrap(bytes);
    try {
      while (body.hasRemaining()) {
        replay.accept(ChangeCoder.get(body));
      }
    } catch (IllegalArgumentException | IllegalStateException e) {
      throw damaged(path, "makes no sense at byte " + at + ": " + e.getMessage(), e);
    }
  }

  private void writeHeader(OpenFile to, int kind, long of) throws ErrnoException {
    ByteBuffer header = ByteBuffer.allocate(HEADER).order(ByteOrder.LITTLE_ENDIAN);
    header.put(MAGIC).putInt(VERSION).putInt(kind).putLong(of).putInt(0);
    CRC32C crc = new CRC32C();
    crc.update(header.slice(0, 28));
    header.putInt((int) crc.getValue());
    write(to, header.flip(), 0);
    if (kind == LOG) {
      end = HEADER;
      sequence = 0;
    }
  }

  private void write(OpenFile to, ByteBuffer bytes, long at) throws ErrnoException {
    int length = bytes.remaining();
    if (buffer.byteSize() < length) {
      arena.close();
      arena = Arena.ofShared();
      buffer = arena.allocate(length + (length >> 1));
    }
    MemorySegment.copy(MemorySegment.ofBuffer(bytes), 0, buffer, 0, length);
    to.write(buffer.asSlice(0, length), at);
  }

  /** Ends the coder's frame and writes it. */
  private int writeFrame(OpenFile to, long at, long of) throws ErrnoException {
    ByteBuffer frame = coder.buffer();
    int size = coder.size();
    int length = size - FRAME;
    frame.putInt(0, length);
    frame.putLong(8, of);
    CRC32C crc = new CRC32C();
    crc.update(frame.slice(0, 4));
    crc.update(frame.slice(8, 8 + length));
    frame.putInt(4, (int) crc.getValue());
    write(to, frame.slice(0, size), at);
    return size;
  }

  /**
   * Writes changes down, all or none.
   *
   * @throws ErrnoException ENOSPC above all; nothing was appended
   */
  void append(List<Change> changes) throws ErrnoException {
    points.at(JournalPoint.JOURNAL_DECIDED);
    coder.begin(FRAME);
    for (Change change : changes) {
      coder.put(change);
    }
    if (coder.size() - FRAME > LARGEST_BODY) {
      throw new ErrnoException("write", path(number, "log").toString(), Errno.EFBIG.number());
    }
    try {
      end += writeFrame(file, end, sequence + 1);
    } catch (ErrnoException e) {
      try {
        file.truncate(end);
      } catch (ErrnoException again) {
        e.addSuppressed(again); // the next frame is written over it
      }
      throw e;
    }
    sequence++;
    points.at(JournalPoint.JOURNAL_APPENDED);
  }

  /** Whether the log has become so long that {@link #compact} is worth while. */
  boolean isLong() {
    return end > compactAt;
  }

  /**
   * Begins a new log behind a snapshot. When that fails, the old ones go on.
   *
   * @param state tells the changes that make the state of now
   */
  void compact(Consumer<Consumer<Change>> state) throws ErrnoException {
    compactAt = end + smallestCompaction; // if it fails: not at once again
    long next = number + 1;
    long bytes;
    for (BytePath left : List.of(temporary(), path(next, "log"))) {
      if (Libc.find(left).isPresent()) {
        Libc.unlink(left); // of one that failed
      }
    }
    try (OpenFile snapshot = OpenFile.create(temporary())) {
      bytes = writeSnapshot(snapshot, next, state);
      snapshot.sync();
    }
    points.at(JournalPoint.JOURNAL_SNAPSHOT_WRITTEN);
    OpenFile newLog = OpenFile.create(path(next, "log"));
    long oldEnd = end;
    long oldSequence = sequence;
    try {
      writeHeader(newLog, LOG, next);
      newLog.sync();
      points.at(JournalPoint.JOURNAL_LOG_MADE);
      Libc.rename(temporary(), path(next, "snapshot"));
    } catch (ErrnoException e) {
      end = oldEnd;
      sequence = oldSequence;
      newLog.close();
      throw e;
    }
    long old = number;
    OpenFile oldLog = file;
    file = newLog;
    number = next;
    compactAt = Math.max(smallestCompaction, 2 * bytes);
    points.at(JournalPoint.JOURNAL_SNAPSHOT_COUNTS);
    try (OpenFile open = OpenFile.directory(directory)) {
      open.sync();
    }
    oldLog.close();
    Libc.unlink(path(old, "log"));
    if (old > 0) {
      Libc.unlink(path(old, "snapshot"));
    }
  }

  private long writeSnapshot(OpenFile to, long of, Consumer<Consumer<Change>> state)
      throws ErrnoException {
    writeHeader(to, SNAPSHOT, of);
    var frames =
        new Consumer<Change>() {
          long at = HEADER;
          long count;
          ErrnoException failed;

          @Override
          public void accept(Change change) {
            coder.put(change);
            if (coder.size() >= SNAPSHOT_BODY) {
              flush();
            }
          }

          void flush() {
            try {
              if (failed == null) {
                at += writeFrame(to, at, ++count);
              }
            } catch (ErrnoException e) {
              failed = e;
            }
            coder.begin(FRAME);
          }
        };
    coder.begin(FRAME);
    state.accept(frames);
    if (coder.size() > FRAME) {
      frames.flush();
    }
    frames.flush();
    if (frames.failed != null) {
      throw frames.failed;
    }
    return frames.at;
  }

  /** Forces to the disk what was appended. For any thread. */
  void sync() throws ErrnoException {
    file.sync();
  }

  @Override
  public void close() {
    try {
      if (file != null) {
        file.close();
      }
    } catch (ErrnoException e) {
      log.warn("{}: {}", directory, e.getMessage());
    }
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }
}
