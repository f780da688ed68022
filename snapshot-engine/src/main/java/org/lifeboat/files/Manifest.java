package org.lifeboat.files;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static java.nio.charset.StandardCharsets.UTF_8;

import com.github.luben.zstd.ZstdInputStream;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Stat;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * {@code files.manifest}: what a snapshot says of every path. JSON, one object per line, so that a
 * person can read it with zstdcat; zstd around it.
 *
 * <pre>
 * {"format":"lifeboat-files","version":1,"instant":T,"work":P,"roots":[{"path":P}..],"excluded":[..]}
 * {"kind":"same","path":P,"mode":M,"uid":U,"gid":G,"size":S,"mtime":T}        not changed since the start
 * ...
 * {"kind":"file","path":P,"mode":M,"uid":U,"gid":G,"mtime":T,"xattrs":A,"size":S,
 *  "dev":D,"ino":I,"ctime":T,"scoped":true,"writable":true,"frames":F}
 *    {"xattr":NAME,"value":BASE64}                                            A such lines
 *    {"frames":[[offset,length,pack,offset,stored,codec,crc32c]..]}           at most 1024 each, F in all
 * {"kind":"link","path":P,"target":P}                                         another name of a file
 * {"kind":"directory",..,"scoped":true}   {"kind":"symlink",..,"target":TEXT}
 * {"kind":"node",..,"rdev":D}             {"kind":"socket",..}                each with its xattr lines
 * {"kind":"deleted","path":P,"mode":M,..}                                     was there at the start
 * ...
 * {"kind":"end","entries":N,"same":N,"bytes":RAW,"sha256":HEX}                of all lines before, with
 *                                                                             their newlines
 * </pre>
 *
 * <p>M is st_mode in decimal; T an ISO-8601 instant with up to nine digits of a second; a codec is
 * 0 for raw, 1 for zstd. A name that is not UTF-8 is written in Base64 under its key with {@code
 * 64} appended ({@code path64}). The {@code same} lines come first; these and the others are each
 * in path order. Readers ignore keys that they do not know; a change that they must not ignore
 * raises the version.
 *
 * <p>Reading is bounded: lines of {@value #MAX_LINE} bytes, {@value #MAX_ENTRIES} entries, times
 * their frames. Everything is checked before the first entry is handed out, so a roll-back never
 * begins from a manifest that is damaged. About 0.5 KB of heap per entry that is not {@code same}.
 */
public final class Manifest {

  static final String FORMAT = "lifeboat-files";
  static final int VERSION = 1;
  static final int FRAMES_PER_LINE = 1024;
  private static final byte[] END = "{\"kind\":\"end\",".getBytes(US_ASCII);
  private static final int MAX_LINE = 1 << 20;
  private static final int MAX_ENTRIES = 50_000_000;
  private static final int MAX_XATTRS = 100_000;

  private static final JsonMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(8)
                          .maxStringLength(MAX_LINE)
                          .maxNumberLength(32)
                          .build())
                  .build())
          .build();

  private final Path file;
  private final Header header;
  private final List<Entry> entries;
  private final long unchangedCount;
  private final long bytes;
  private final String sha256;

  private Manifest(
      Path file,
      Header header,
      List<Entry> entries,
      long unchangedCount,
      long bytes,
      String sha256) {
    this.file = file;
    this.header = header;
    this.entries = entries;
    this.unchangedCount = unchangedCount;
    this.bytes = bytes;
    this.sha256 = sha256;
  }

  /**
   * What it was made from.
   *
   * @param instant when the capture began, with the tree frozen
   */
  public record Header(
      Instant instant, BytePath work, List<BytePath> roots, List<BytePath> excluded) {}

  /** Reads and checks all of it. */
  public static Manifest load(Path file) throws FilesException {
    List<Entry> entries = new ArrayList<>();
    try (Reader reader = new Reader(file)) {
      Optional<Entry> next = reader.next();
      while (next.isPresent()) {
        if (!(next.get() instanceof Entry.Unchanged)) {
          entries.add(next.get());
        }
        next = reader.next();
      }
      checkLinks(entries, reader);
      return new Manifest(
          file, reader.header, List.copyOf(entries), reader.unchanged, reader.bytes, reader.sum);
    }
  }

  private static void checkLinks(List<Entry> entries, Reader reader) throws FilesException {
    Set<BytePath> files = new HashSet<>();
    for (Entry entry : entries) {
      if (entry instanceof Entry.RegularFile f) {
        files.add(f.path());
      }
    }
    for (Entry entry : entries) {
      if (entry instanceof Entry.HardLink l && !files.contains(l.target())) {
        throw reader.malformed("the link " + l.path() + " leads to no file of this snapshot", null);
      }
    }
  }

  public Path file() {
    return file;
  }

  public Header header() {
    return header;
  }

  /** All entries but the {@link Entry.Unchanged} ones, in path order. */
  public List<Entry> entries() {
    return entries;
  }

  /** Number of {@link Entry.Unchanged} entries. */
  public long unchangedCount() {
    return unchangedCount;
  }

  /** Raw bytes of all frames. */
  public long bytes() {
    return bytes;
  }

  /** The checksum that its footer carries, in hexadecimal. */
  public String sha256() {
    return sha256;
  }

  /** The {@link Entry.Unchanged} entries, in path order; reads the file once more. */
  UnchangedCursor unchanged() throws FilesException {
    return new UnchangedCursor(file);
  }

  /** Reads only what has not changed. */
  static final class UnchangedCursor implements AutoCloseable {
    private final Reader reader;
    private Entry.Unchanged head;

    UnchangedCursor(Path file) throws FilesException {
      reader = new Reader(file);
      advance();
    }

    /** The entry it stands at; empty at the end. */
    Optional<Entry.Unchanged> head() {
      return Optional.ofNullable(head);
    }

    void advance() throws FilesException {
      head = reader.next().orElse(null) instanceof Entry.Unchanged u ? u : null;
    }

    /** Moves to {@code path}, or past it; returns the entry if it is there. Paths must ascend. */
    Optional<Entry.Unchanged> seek(BytePath path) throws FilesException {
      while (head != null && head.path().compareTo(path) < 0) {
        advance();
      }
      return head != null && head.path().equals(path) ? Optional.of(head) : Optional.empty();
    }

    @Override
    public void close() throws FilesException {
      reader.close();
    }
  }

  /** Reads line by line; the footer is checked when it comes. */
  private static final class Reader implements AutoCloseable {

    private final Path file;
    private final InputStream in;
    private final MessageDigest digest = Digests.sha256();
    private final ByteArrayOutputStream line = new ByteArrayOutputStream(4096);
    private final Header header;
    private BytePath last;
    private boolean past;
    private long number;
    private long entries;
    private long unchanged;
    private long bytes;
    private String sum;
    private String sumBefore = "";

    Reader(Path file) throws FilesException {
      this.file = file;
      InputStream raw;
      try {
        raw = Files.newInputStream(file);
      } catch (IOException e) {
        throw FilesException.of("read", file, "", e);
      }
      try {
        in =
            new BufferedInputStream(
                new ZstdInputStream(new BufferedInputStream(raw)).setLongMax(Digests.WINDOW_LOG),
                1 << 16);
        header = header(readLine());
      } catch (IOException e) {
        FilesException failure =
            e instanceof FilesException f ? f : malformed(String.valueOf(e.getMessage()), e);
        try {
          raw.close();
        } catch (IOException suppressed) {
          failure.addSuppressed(suppressed);
        }
        throw failure;
      }
    }

    private Header header(JsonNode node) throws FilesException {
      if (!text(node, "format").equals(FORMAT)) {
        throw malformed("it is no " + FORMAT, null);
      }
      long version = integer(node, "version", 1, Integer.MAX_VALUE);
      if (version > VERSION) {
        throw new FilesException(
            "read",
            file,
            "it has version " + version + ", this program knows " + VERSION,
            "use the Lifeboat that wrote it, or a newer one");
      }
      return new Header(
          time(node, "instant"), path(node, "work"), paths(node, "roots"), paths(node, "excluded"));
    }

    private List<BytePath> paths(JsonNode node, String key) throws FilesException {
      List<BytePath> paths = new ArrayList<>();
      for (JsonNode item : array(node, key)) {
        paths.add(path(item, "path"));
      }
      return List.copyOf(paths);
    }

    Optional<Entry> next() throws FilesException {
      if (sum != null) {
        return Optional.empty();
      }
      JsonNode node = readLine();
      if (text(node, "kind").equals("end")) {
        footer(node, sumBefore);
        return Optional.empty();
      }
      Entry entry = entry(node);
      boolean same = entry instanceof Entry.Unchanged;
      if (same && past) {
        throw malformed("an unchanged path comes after the others", null);
      }
      if (!same && !past) {
        past = true;
        last = null;
      }
      if (last != null && last.compareTo(entry.path()) >= 0) {
        throw malformed("paths are out of order at " + entry.path(), null);
      }
      last = entry.path();
      if (same) {
        unchanged++;
      } else if (++entries > MAX_ENTRIES) {
        throw malformed("more than " + MAX_ENTRIES + " entries", null);
      }
      return Optional.of(entry);
    }

    private void footer(JsonNode node, String found) throws FilesException {
      if (!text(node, "sha256").equals(found)) {
        throw malformed("its checksum is " + found + ", its footer says otherwise", null);
      }
      if (integer(node, "entries", 0, Long.MAX_VALUE) != entries
          || integer(node, "same", 0, Long.MAX_VALUE) != unchanged
          || integer(node, "bytes", 0, Long.MAX_VALUE) != bytes) {
        throw malformed("its footer counts differently", null);
      }
      try {
        if (in.read() != -1) {
          throw malformed("there is something after its footer", null);
        }
      } catch (FilesException e) {
        throw e;
      } catch (IOException e) {
        throw malformed(String.valueOf(e.getMessage()), e);
      }
      sum = found;
    }

    private Entry entry(JsonNode node) throws FilesException {
      BytePath path = path(node, "path");
      String kind = text(node, "kind");
      return switch (kind) {
        case "file" -> file(node, path);
        case "link" -> new Entry.HardLink(path, path(node, "target"));
        case "directory" ->
            new Entry.Directory(path, meta(node, Stat.S_IFDIR), flag(node, "scoped"));
        case "symlink" -> {
          byte[] target = bytes(node, "target");
          if (target.length == 0 || target.length > 4095 || contains(target, (byte) 0)) {
            throw malformed("the target of " + path + " can't be one", null);
          }
          yield new Entry.Symlink(path, meta(node, Stat.S_IFLNK), Bytes.of(target));
        }
        case "node" -> {
          Entry.Meta meta = meta(node, Stat.S_IFIFO, Stat.S_IFCHR, Stat.S_IFBLK);
          yield new Entry.Node(path, meta, integer(node, "rdev", Long.MIN_VALUE, Long.MAX_VALUE));
        }
        case "socket" -> new Entry.Socket(path, meta(node, Stat.S_IFSOCK));
        case "deleted" -> new Entry.Deleted(path, was(node));
        case "same" -> new Entry.Unchanged(path, was(node));
        default -> throw malformed("unknown kind '" + kind + "' for " + path, null);
      };
    }

    private Entry file(JsonNode node, BytePath path) throws FilesException {
      Entry.Meta meta = meta(node, Stat.S_IFREG);
      long size = integer(node, "size", 0, Long.MAX_VALUE);
      Entry.Origin origin =
          new Entry.Origin(
              integer(node, "dev", Long.MIN_VALUE, Long.MAX_VALUE),
              integer(node, "ino", Long.MIN_VALUE, Long.MAX_VALUE),
              time(node, "ctime"));
      long count = integer(node, "frames", 0, Integer.MAX_VALUE);
      List<Frame> frames = new ArrayList<>();
      long end = 0;
      while (frames.size() < count) {
        JsonNode list = array(readLine(), "frames");
        if (list.isEmpty() || list.size() > Math.min(FRAMES_PER_LINE, count - frames.size())) {
          throw malformed(list.size() + " frames in a line for " + path, null);
        }
        for (JsonNode item : list) {
          Frame frame = frame(item, path);
          if (frame.offset() < end || frame.offset() > size - frame.length()) {
            throw malformed("the frames of " + path + " overlap or pass its end", null);
          }
          end = frame.offset() + frame.length();
          bytes += frame.length();
          frames.add(frame);
        }
      }
      return new Entry.RegularFile(
          path,
          meta,
          size,
          origin,
          flag(node, "scoped"),
          flag(node, "writable"),
          List.copyOf(frames));
    }

    private Frame frame(JsonNode item, BytePath path) throws FilesException {
      if (!item.isArray() || item.size() != 7) {
        throw malformed("a frame of " + path + " is malformed", null);
      }
      long[] v = new long[7];
      for (int i = 0; i < 7; i++) {
        if (!item.get(i).isIntegralNumber() || !item.get(i).canConvertToLong()) {
          throw malformed("a frame of " + path + " is malformed", null);
        }
        v[i] = item.get(i).longValue();
      }
      Optional<Frame.Codec> codec = Frame.Codec.of(v[5]);
      boolean good =
          v[0] >= 0
              && v[1] >= 1
              && v[1] <= Frame.MAX_RAW
              && v[2] >= 0
              && v[2] <= Integer.MAX_VALUE
              && v[3] >= 0
              && v[4] >= 1
              && v[4] <= Frame.MAX_STORED
              && v[3] <= Long.MAX_VALUE - v[4]
              && codec.isPresent()
              && v[6] >= 0
              && v[6] <= 0xffffffffL;
      if (!good || (codec.get() == Frame.Codec.RAW && v[1] != v[4])) {
        throw malformed("a frame of " + path + " is out of range", null);
      }
      ContentRef ref = new ContentRef((int) v[2], v[3], (int) v[4]);
      return new Frame(v[0], (int) v[1], ref, codec.get(), (int) v[6]);
    }

    private Entry.Meta meta(JsonNode node, int... types) throws FilesException {
      int mode = mode(node);
      boolean fits = false;
      for (int type : types) {
        fits |= (mode & Stat.S_IFMT) == type;
      }
      if (!fits) {
        throw malformed("the mode of " + path(node, "path") + " is of another type", null);
      }
      int uid = (int) integer(node, "uid", 0, 0xffffffffL);
      int gid = (int) integer(node, "gid", 0, 0xffffffffL);
      long count = node.has("xattrs") ? integer(node, "xattrs", 0, MAX_XATTRS) : 0;
      List<Entry.Xattr> xattrs = new ArrayList<>();
      while (xattrs.size() < count) {
        JsonNode item = readLine();
        byte[] name = bytes(item, "xattr");
        if (name.length == 0 || name.length > 255 || contains(name, (byte) 0)) {
          throw malformed("an attribute's name is malformed", null);
        }
        byte[] value = base64(item, "value");
        if (value.length > 65536) {
          throw malformed("an attribute is too long", null);
        }
        xattrs.add(new Entry.Xattr(Bytes.of(name), Bytes.of(value)));
      }
      return new Entry.Meta(mode, uid, gid, time(node, "mtime"), List.copyOf(xattrs));
    }

    private int mode(JsonNode node) throws FilesException {
      return (int) integer(node, "mode", 0, 0177777);
    }

    private Entry.Was was(JsonNode node) throws FilesException {
      return new Entry.Was(
          mode(node),
          (int) integer(node, "uid", 0, 0xffffffffL),
          (int) integer(node, "gid", 0, 0xffffffffL),
          integer(node, "size", 0, Long.MAX_VALUE),
          time(node, "mtime"));
    }

    private JsonNode readLine() throws FilesException {
      line.reset();
      try {
        int b = in.read();
        while (b != '\n') {
          if (b < 0) {
            throw malformed("it is truncated", null);
          }
          if (line.size() == MAX_LINE) {
            throw malformed("a line is longer than " + MAX_LINE + " bytes", null);
          }
          line.write(b);
          b = in.read();
        }
        number++;
        byte[] text = line.toByteArray();
        if (Arrays.equals(text, 0, Math.min(text.length, END.length), END, 0, END.length)) {
          sumBefore = HexFormat.of().formatHex(digest.digest());
        }
        digest.update(text);
        digest.update((byte) '\n');
        JsonNode node = MAPPER.readTree(text);
        if (!node.isObject()) {
          throw malformed("a line is no JSON object", null);
        }
        return node;
      } catch (FilesException e) {
        throw e;
      } catch (IOException | JacksonException e) {
        throw malformed(String.valueOf(e.getMessage()), e);
      }
    }

    private String text(JsonNode node, String key) throws FilesException {
      JsonNode value = node.get(key);
      if (value == null || !value.isString()) {
        throw malformed("'" + key + "' is missing", null);
      }
      return value.stringValue();
    }

    private long integer(JsonNode node, String key, long min, long max) throws FilesException {
      JsonNode value = node.get(key);
      if (value == null || !value.isIntegralNumber() || !value.canConvertToLong()) {
        throw malformed("'" + key + "' is missing or no integer", null);
      }
      long number = value.longValue();
      if (number < min || number > max) {
        throw malformed("'" + key + "' is out of range: " + number, null);
      }
      return number;
    }

    private boolean flag(JsonNode node, String key) throws FilesException {
      JsonNode value = node.get(key);
      if (value != null && !value.isBoolean()) {
        throw malformed("'" + key + "' is neither true nor false", null);
      }
      return value != null && value.booleanValue();
    }

    private JsonNode array(JsonNode node, String key) throws FilesException {
      JsonNode value = node.get(key);
      if (value == null || !value.isArray()) {
        throw malformed("'" + key + "' is missing or no list", null);
      }
      return value;
    }

    private Instant time(JsonNode node, String key) throws FilesException {
      try {
        return Instant.parse(text(node, key));
      } catch (DateTimeException e) {
        throw malformed("'" + key + "' is no instant", e);
      }
    }

    private byte[] bytes(JsonNode node, String key) throws FilesException {
      return node.has(key + "64") ? base64(node, key + "64") : text(node, key).getBytes(UTF_8);
    }

    private byte[] base64(JsonNode node, String key) throws FilesException {
      try {
        return Base64.getDecoder().decode(text(node, key).getBytes(US_ASCII));
      } catch (IllegalArgumentException e) {
        throw malformed("'" + key + "' is no Base64", e);
      }
    }

    private BytePath path(JsonNode node, String key) throws FilesException {
      byte[] bytes = bytes(node, key);
      if (!BytePath.isCanonical(bytes) || bytes.length > 4095) {
        throw malformed("'" + key + "' is no absolute path", null);
      }
      return BytePath.of(bytes);
    }

    private static boolean contains(byte[] bytes, byte wanted) {
      for (byte b : bytes) {
        if (b == wanted) {
          return true;
        }
      }
      return false;
    }

    FilesException malformed(String detail, Throwable cause) {
      return new FilesException(
          "read",
          file,
          "line " + (number + 1) + ": " + detail,
          null,
          "the manifest is damaged: fetch it again, or restore an older snapshot",
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
