package org.lifeboat.cache;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Optional;
import java.util.zip.CRC32C;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.sys.Stat;

/**
 * What lies where in a cache's directory.
 *
 * <pre>
 *   DIR/                        mode 0700, owned by who runs the engine; files have mode 0600
 *     layout                    one line: "lifeboat-cache 1 CRC", CRC32C of what is before, 8 digits
 *     lock                      flock(2) of the engine that has the cache open; its pid, a line
 *     contents/
 *       b7/                     the last two digits of the ids in it; made when needed
 *         00000000000001b7        a clean content: bytes at the offsets of the object, else holes
 *         00000000000001b7.dirty  or a dirty one: whole, and in no store yet
 *         00000000000001b7.map    what is in the file, and of which object: {@link BlockMap}
 *         00000000000001b7.map.tmp  a map that is being written
 * </pre>
 *
 * <p>ID is 16 hexadecimal digits.
 *
 * <p><b>Dirty is a name.</b> What must never be got wrong is whether the only copy of something
 * lies here. Kept in the map, that would be lost with the map, and a damaged map would have to be
 * taken for dirty: holes of a file that was never whole would then be uploaded as zeros. As a part
 * of the file's name it changes atomically, costs a new file no map at all, and an operator sees it
 * by ls. So: a content becomes dirty by one rename, when it is whole or empty, and clean by one,
 * when its map is complete. A file that is called dirty is whole, whatever its map says.
 *
 * <p><b>What a killed engine leaves</b> is put in order when the next one opens the directory: a
 * clean content without a map, a map without a content and temporary files are removed; a clean
 * content whose map is torn, of another version or of another size goes as soon as it is asked for
 * (reading all maps at once would keep a mount waiting). A dirty content stays, with or without a
 * map. Nothing is forced to the disk but what {@link Content#sync} is asked for: a process that
 * dies loses no write, and after a loss of power the checksums tell what is missing.
 *
 * <p><b>Versions.</b> A greater number in the layout file, or a file that says nothing sensible, is
 * refused and left alone. So is a directory that holds something and is no cache.
 */
final class Layout implements AutoCloseable {

  static final int VERSION = 1;
  static final String DIRTY = ".dirty";
  static final String MAP = ".map";
  static final String TEMPORARY = ".map.tmp";
  private static final String MAGIC = "lifeboat-cache";
  private static final int LONGEST_LINE = 64;
  private static final String OPEN = "open cache";

  private final BytePath directory;
  private final BytePath contents;
  private final OpenFile lock;

  private Layout(BytePath directory, OpenFile lock) {
    this.directory = directory;
    this.contents = directory.resolve("contents");
    this.lock = lock;
  }

  /** Makes what is missing, takes the lock and checks the version. */
  static Layout open(BytePath directory, CrashPoints points) throws CacheException {
    try {
      prepare(directory);
      OpenFile lock = OpenFile.writeOrCreate(directory.resolve("lock"));
      try {
        take(lock, directory);
        Layout layout = new Layout(directory, lock);
        layout.check(points);
        return layout;
      } catch (IOException | RuntimeException e) {
        try {
          lock.close();
        } catch (ErrnoException more) {
          e.addSuppressed(more);
        }
        throw e;
      }
    } catch (ErrnoException e) {
      throw CacheException.of(OPEN, e);
    } catch (CacheException e) {
      throw e;
    } catch (IOException e) {
      throw new CacheException(
          Errno.EIO.number(), OPEN, directory.toString(), e.getMessage(), "", e);
    }
  }

  private static void prepare(BytePath directory) throws IOException {
    makeDirectories(directory);
    Stat stat = Libc.stat(directory);
    if (!stat.isDirectory()) {
      throw new CacheException(
          Errno.ENOTDIR, OPEN, directory, "it is no directory", "give the cache another one");
    }
    if (stat.uid() != Libc.geteuid()) {
      throw new CacheException(
          Errno.EPERM,
          OPEN,
          directory,
          "it belongs to user " + stat.uid(),
          "give the cache a directory of its own");
    }
    if (!Libc.list(directory).isEmpty() && Libc.find(directory.resolve("layout")).isEmpty()) {
      for (byte[] name : Libc.list(directory)) {
        String text = new String(name, UTF_8);
        if (!List.of("lock", "layout.tmp", "lost+found").contains(text)) {
          throw new CacheException(
              Errno.ENOTEMPTY,
              OPEN,
              directory,
              "it has no layout file, but holds " + BytePath.printable(name, 0),
              "give the cache a directory of its own");
        }
      }
    }
    if (stat.permissions() != 0700) {
      Libc.chmod(directory, 0700);
    }
  }

  private static void makeDirectories(BytePath directory) throws ErrnoException {
    try {
      makeDirectory(directory);
    } catch (ErrnoException e) {
      if (e.errno() != Errno.ENOENT || directory.equals(BytePath.ROOT)) {
        throw e;
      }
      makeDirectories(directory.parent());
      makeDirectories(directory);
    }
  }

  /** Unless something of that name is there. */
  private static void makeDirectory(BytePath directory) throws ErrnoException {
    try {
      Libc.mkdir(directory, 0700);
    } catch (ErrnoException e) {
      if (e.errno() != Errno.EEXIST) {
        throw e;
      }
    }
  }

  private static void take(OpenFile lock, BytePath directory) throws IOException {
    if (!lock.tryLock()) {
      String holder = readLine(lock).strip();
      throw new CacheException(
          Errno.EBUSY,
          OPEN,
          directory,
          "process " + (holder.isEmpty() ? "unknown" : holder) + " has it open",
          "end that one, or give this one another directory");
    }
    writeLine(lock, ProcessHandle.current().pid() + "\n");
  }

  private void check(CrashPoints points) throws IOException {
    BytePath file = directory.resolve("layout");
    if (Libc.find(file).isEmpty()) {
      BytePath temporary = directory.resolve("layout.tmp");
      try (OpenFile out = OpenFile.writeOrCreate(temporary)) {
        writeLine(out, line(VERSION));
      }
      Libc.rename(temporary, file);
      points.at(CachePoint.CACHE_LAYOUT);
    } else {
      String found;
      try (OpenFile in = OpenFile.read(file)) {
        found = readLine(in);
      }
      int version = version(found);
      if (version < 0) {
        throw new CacheException(
            Errno.EIO,
            OPEN,
            file,
            "the layout file is damaged: '" + found.strip() + "'",
            "save what contents/ has of *.dirty, then empty the directory");
      }
      if (version > VERSION) {
        throw new CacheException(
            Errno.EINVAL,
            OPEN,
            directory,
            "it has layout " + version + "; this Lifeboat knows layouts up to " + VERSION,
            "use the newer Lifeboat, or another directory");
      }
    }
    makeDirectory(contents);
  }

  static String line(int version) {
    String text = MAGIC + " " + version;
    CRC32C sum = new CRC32C();
    sum.update(text.getBytes(UTF_8));
    return String.format("%s %08x\n", text, sum.getValue());
  }

  /** The version that a layout file tells; -1 if it is none. */
  static int version(String line) {
    String[] words = line.split(" ", 4);
    if (words.length != 3 || !words[0].equals(MAGIC) || !words[1].matches("[1-9]\\d{0,8}")) {
      return -1;
    }
    int version = Integer.parseInt(words[1]);
    return line.equals(line(version)) ? version : -1;
  }

  private static String readLine(OpenFile file) throws ErrnoException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment buffer = arena.allocate(LONGEST_LINE);
      int n = file.read(buffer, 0);
      return new String(buffer.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE), UTF_8);
    }
  }

  private static void writeLine(OpenFile file, String line) throws ErrnoException {
    file.replace(line.getBytes(UTF_8));
  }

  BytePath directory() {
    return directory;
  }

  /** The directories that contents lie in, one for each last byte of an id. */
  BytePath contents() {
    return contents;
  }

  private BytePath file(long id, String suffix) {
    return folder(id).resolve(String.format("%016x%s", id, suffix));
  }

  BytePath folder(long id) {
    return contents.resolve(String.format("%02x", id & 0xff));
  }

  BytePath clean(long id) {
    return file(id, "");
  }

  BytePath dirty(long id) {
    return file(id, DIRTY);
  }

  BytePath map(long id) {
    return file(id, MAP);
  }

  BytePath temporary(long id) {
    return file(id, TEMPORARY);
  }

  /** A new, empty file; makes its directory when that is missing. */
  OpenFile create(BytePath file) throws ErrnoException {
    try {
      return OpenFile.create(file);
    } catch (ErrnoException e) {
      if (e.errno() != Errno.ENOENT) {
        throw e;
      }
    }
    makeDirectory(file.parent());
    return OpenFile.create(file);
  }

  /** Removes a file; false if there is none. */
  static boolean remove(BytePath file) throws ErrnoException {
    try {
      Libc.unlink(file);
      return true;
    } catch (ErrnoException e) {
      if (e.isAbsent()) {
        return false;
      }
      throw e;
    }
  }

  /** A file's name taken apart. */
  record Name(long id, String suffix) {

    /** Empty for what no cache makes. */
    static Optional<Name> parse(byte[] name) {
      String text = new String(name, UTF_8);
      if (text.length() < 16 || !text.substring(0, 16).matches("[0-9a-f]{16}")) {
        return Optional.empty();
      }
      String suffix = text.substring(16);
      return List.of("", DIRTY, MAP, TEMPORARY).contains(suffix)
          ? Optional.of(new Name(Long.parseUnsignedLong(text.substring(0, 16), 16), suffix))
          : Optional.empty();
    }
  }

  /** Gives the lock back. */
  @Override
  public void close() throws ErrnoException {
    lock.close();
  }
}
