package org.lifeboat.files;

import com.github.luben.zstd.ZstdInputStream;
import com.github.luben.zstd.ZstdOutputStream;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Optional;
import java.util.Set;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Stat;

/**
 * How the scope was when the task started: one record per name, in path order, in a file. A capture
 * walks the scope in the same order and compares as it goes, so neither ever holds the whole list:
 * a million files cost about 30 MB of disk and no heap.
 *
 * <pre>
 * 8 bytes  "LBBASE01"
 * one zstd frame with its content checksum, of big-endian:
 *   i64 seconds, i32 nanoseconds      the instant of the scan
 *   i32 n, n x { u16 length, bytes }  paths outside of the scope that an earlier capture took
 *   records, each:
 *     u16 shared                      bytes in common with the path before
 *     u16 length, bytes               the rest of the path
 *     i64 inode                       0: differs from whatever is found
 *     i64 size
 *     i64 seconds, i32 nanoseconds    mtime
 *     i64 seconds, i32 nanoseconds    ctime
 *     i32 mode, i32 uid, i32 gid
 *   u16 0xffff, i64 count             the end
 * </pre>
 *
 * <p>A file changed within {@link #TICK} of the scan is recorded with inode 0: the kernel stamps
 * files with a clock that ticks every 1 to 10 ms, so a later change within the same tick could not
 * be told. Immutable; the file must not be touched while this is in use.
 */
public final class Baseline {

  /** Longest tick of the clock that file times are taken from, with room to spare. */
  static final Duration TICK = Duration.ofMillis(20);

  private static final byte[] MAGIC = {'L', 'B', 'B', 'A', 'S', 'E', '0', '1'};
  private static final int END = 0xffff;
  private static final int MAX_STICKY = 10_000_000;
  private static final long MAX_STICKY_BYTES = 64 << 20;

  private final Path file;
  private final Instant instant;
  private final Set<BytePath> sticky;
  private final long count;

  private Baseline(Path file, Instant instant, Set<BytePath> sticky, long count) {
    this.file = file;
    this.instant = instant;
    this.sticky = Set.copyOf(sticky);
    this.count = count;
  }

  /** When it was taken. */
  public Instant instant() {
    return instant;
  }

  /** Number of names. */
  public long count() {
    return count;
  }

  /**
   * Paths that came out of a snapshot though they lie outside of the scope: wherever they lie they
   * did not come with this host's machine image.
   */
  Set<BytePath> sticky() {
    return sticky;
  }

  /**
   * Scans the scope into a file; call it before the task starts. An interrupt ends it with an
   * exception.
   *
   * @param file replaced if it exists; mode 0600
   */
  public static Baseline scan(Scope scope, Path file, Clock clock) throws FilesException {
    Instant now = clock.instant();
    try (Writer writer = new Writer(file, now, Set.of())) {
      new Walk(scope, BytePath.ROOT, Mounts.read())
          .run(
              (path, stat) -> {
                if (Thread.currentThread().isInterrupted()) {
                  throw new FilesException("scan", path, "interrupted", "");
                }
                writer.add(path, stat);
              });
      return writer.finish();
    }
  }

  /** Loads what {@link #scan} or {@link RollBack#carryBaseline} left, and checks all of it. */
  public static Baseline load(Path file) throws FilesException {
    try (Cursor cursor = new Cursor(file)) {
      long count = 0;
      while (cursor.next().isPresent()) {
        count++;
      }
      return new Baseline(file, cursor.instant, cursor.sticky, count);
    }
  }

  Cursor cursor() throws FilesException {
    return new Cursor(file);
  }

  /** One name as it was. */
  record Item(BytePath path, long ino, Entry.Was was, Instant ctime) {

    /** Whether nothing tells that the file was touched since. */
    boolean matches(Stat stat) {
      return ino != 0
          && ino == stat.ino()
          && was.mode() == stat.mode()
          && was.uid() == stat.uid()
          && was.gid() == stat.gid()
          && was.size() == stat.size()
          && was.mtime().equals(stat.mtime())
          && ctime.equals(stat.ctime());
    }
  }

  /** Writes a baseline; the file appears when it is finished. */
  static final class Writer implements AutoCloseable {

    private final Path file;
    private final Path partial;
    private final Instant instant;
    private final Set<BytePath> sticky;
    private final DataOutputStream out;
    private byte[] last = new byte[0];
    private long count;
    private boolean finished;

    Writer(Path file, Instant instant, Set<BytePath> sticky) throws FilesException {
      this.file = file;
      this.partial = file.resolveSibling(file.getFileName() + ".partial");
      this.instant = instant;
      this.sticky = sticky;
      try {
        Files.deleteIfExists(partial);
        Files.createFile(
            partial,
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
        BufferedOutputStream raw =
            new BufferedOutputStream(Files.newOutputStream(partial), 1 << 16);
        raw.write(MAGIC);
        ZstdOutputStream zstd = new ZstdOutputStream(raw, 1);
        zstd.setChecksum(true);
        out = new DataOutputStream(new BufferedOutputStream(zstd, 1 << 16));
        write(instant);
        out.writeInt(sticky.size());
        for (BytePath path : sticky) {
          out.writeShort(path.length());
          out.write(path.bytes());
        }
      } catch (IOException e) {
        throw FilesException.of("write", partial, "", e);
      }
    }

    private void write(Instant time) throws IOException {
      out.writeLong(time.getEpochSecond());
      out.writeInt(time.getNano());
    }

    void add(BytePath path, Stat stat) throws FilesException {
      boolean racy = !stat.ctime().isBefore(instant.minus(TICK));
      Entry.Was was = new Entry.Was(stat.mode(), stat.uid(), stat.gid(), stat.size(), stat.mtime());
      add(path, racy ? 0 : stat.ino(), was, stat.ctime());
    }

    void add(BytePath path, long ino, Entry.Was was, Instant ctime) throws FilesException {
      byte[] bytes = path.bytes();
      int mismatch = Arrays.mismatch(last, bytes);
      int shared = mismatch < 0 ? bytes.length : mismatch;
      try {
        out.writeShort(shared);
        out.writeShort(bytes.length - shared);
        out.write(bytes, shared, bytes.length - shared);
        out.writeLong(ino);
        out.writeLong(was.size());
        write(was.mtime());
        write(ctime);
        out.writeInt(was.mode());
        out.writeInt(was.uid());
        out.writeInt(was.gid());
      } catch (IOException e) {
        throw FilesException.of("write", partial, "", e);
      }
      last = bytes;
      count++;
    }

    Baseline finish() throws FilesException {
      try {
        out.writeShort(END);
        out.writeLong(count);
        out.close();
        Files.move(partial, file, StandardCopyOption.ATOMIC_MOVE);
      } catch (IOException e) {
        throw FilesException.of("write", file, "", e);
      }
      finished = true;
      return new Baseline(file, instant, sticky, count);
    }

    @Override
    public void close() throws FilesException {
      if (!finished) {
        try (out) {
          Files.deleteIfExists(partial);
        } catch (IOException e) {
          throw FilesException.of("write", partial, "", e);
        }
      }
    }
  }

  /** Reads a baseline, in path order. */
  static final class Cursor implements AutoCloseable {

    private final Path file;
    private final DataInputStream in;
    private final Instant instant;
    private final Set<BytePath> sticky;
    private BytePath last;
    private long count;
    private boolean ended;

    Cursor(Path file) throws FilesException {
      this.file = file;
      InputStream raw = null;
      try {
        raw = new BufferedInputStream(Files.newInputStream(file), 1 << 16);
        if (!Arrays.equals(MAGIC, raw.readNBytes(MAGIC.length))) {
          throw malformed("it is not a baseline", null);
        }
        in =
            new DataInputStream(
                new BufferedInputStream(
                    new ZstdInputStream(raw).setLongMax(Digests.WINDOW_LOG), 1 << 16));
        instant = readInstant();
        int n = in.readInt();
        if (n < 0 || n > MAX_STICKY) {
          throw malformed("it lists " + n + " paths", null);
        }
        Set<BytePath> paths = new HashSet<>();
        long bytes = 0;
        for (int i = 0; i < n; i++) {
          BytePath path = path(in.readNBytes(in.readUnsignedShort()));
          bytes += path.length();
          if (bytes > MAX_STICKY_BYTES) {
            throw malformed("it lists more than " + MAX_STICKY_BYTES + " bytes of paths", null);
          }
          paths.add(path);
        }
        sticky = paths;
      } catch (IOException e) {
        FilesException failure = e instanceof FilesException f ? f : damaged(e);
        if (raw != null) {
          try {
            raw.close();
          } catch (IOException suppressed) {
            failure.addSuppressed(suppressed);
          }
        }
        throw failure;
      }
    }

    /** The next name; empty at the end. */
    Optional<Item> next() throws FilesException {
      if (ended) {
        return Optional.empty();
      }
      try {
        int shared = in.readUnsignedShort();
        if (shared == END) {
          if (in.readLong() != count || in.read() != -1) {
            throw malformed("its end is not where it should be", null);
          }
          ended = true;
          return Optional.empty();
        }
        int length = in.readUnsignedShort();
        byte[] before = last == null ? new byte[0] : last.bytes();
        if (shared > before.length) {
          throw malformed("a path refers to one that is not there", null);
        }
        byte[] bytes = Arrays.copyOf(before, shared + length);
        in.readFully(bytes, shared, length);
        BytePath path = path(bytes);
        if (last != null && last.compareTo(path) >= 0) {
          throw malformed("paths are out of order", null);
        }
        long ino = in.readLong();
        long size = in.readLong();
        Instant mtime = readInstant();
        Instant ctime = readInstant();
        Entry.Was was = new Entry.Was(in.readInt(), in.readInt(), in.readInt(), size, mtime);
        last = path;
        count++;
        return Optional.of(new Item(path, ino, was, ctime));
      } catch (FilesException e) {
        throw e;
      } catch (IOException e) {
        throw damaged(e);
      }
    }

    private BytePath path(byte[] bytes) throws FilesException {
      if (!BytePath.isCanonical(bytes)) {
        throw malformed("a path is malformed", null);
      }
      return BytePath.of(bytes);
    }

    private Instant readInstant() throws IOException {
      long seconds = in.readLong();
      int nanos = in.readInt();
      if (nanos < 0
          || nanos > 999_999_999
          || seconds < Instant.MIN.getEpochSecond()
          || seconds > Instant.MAX.getEpochSecond()) {
        throw malformed("a time is out of range", null);
      }
      return Instant.ofEpochSecond(seconds, nanos);
    }

    private FilesException damaged(IOException e) {
      return e instanceof EOFException
          ? malformed("it is truncated", e)
          : malformed(String.valueOf(e.getMessage()), e);
    }

    private FilesException malformed(String detail, IOException cause) {
      return new FilesException(
          "load baseline",
          file,
          detail,
          null,
          "without it everything in the scope counts as changed: remove it and scan again",
          cause);
    }

    @Override
    public void close() throws FilesException {
      try {
        in.close();
      } catch (IOException e) {
        throw FilesException.of("close", file, "", e);
      }
    }
  }
}
