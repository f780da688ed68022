package org.lifeboat.files;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.github.luben.zstd.ZstdOutputStream;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import org.lifeboat.sys.BytePath;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/** Writes a {@link Manifest}; the file appears when it is finished. For one thread. */
final class ManifestWriter implements AutoCloseable {

  private final Path file;
  private final Path partial;
  private final OutputStream out;
  private final MessageDigest digest = Digests.sha256();
  private final JsonFactory json = new JsonFactory();
  private final ByteArrayOutputStream line = new ByteArrayOutputStream(4096);
  private long entries;
  private long unchanged;
  private long bytes;
  private boolean finished;

  private interface Fields {
    void write(JsonGenerator out) throws IOException;
  }

  ManifestWriter(Path file, Manifest.Header header) throws FilesException {
    this.file = file;
    this.partial = file.resolveSibling(file.getFileName() + ".partial");
    try {
      Files.deleteIfExists(partial);
      Files.createFile(
          partial,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
      ZstdOutputStream zstd =
          new ZstdOutputStream(
              new BufferedOutputStream(Files.newOutputStream(partial), 1 << 16), 1);
      zstd.setChecksum(true);
      out = new BufferedOutputStream(zstd, 1 << 16);
    } catch (IOException e) {
      throw FilesException.of("write", partial, "", e);
    }
    line(
        g -> {
          g.writeStringProperty("format", Manifest.FORMAT);
          g.writeNumberProperty("version", Manifest.VERSION);
          g.writeStringProperty("instant", header.instant().toString());
          path(g, "work", header.work().bytes());
          paths(g, "roots", header.roots());
          paths(g, "excluded", header.excluded());
        });
  }

  void add(Entry entry) throws FilesException {
    switch (entry) {
      case Entry.RegularFile f -> {
        line(
            g -> {
              start(g, "file", f.path());
              meta(g, f.meta());
              g.writeNumberProperty("size", f.size());
              g.writeNumberProperty("dev", f.origin().dev());
              g.writeNumberProperty("ino", f.origin().ino());
              g.writeStringProperty("ctime", f.origin().ctime().toString());
              if (f.scoped()) {
                g.writeBooleanProperty("scoped", true);
              }
              if (f.writable()) {
                g.writeBooleanProperty("writable", true);
              }
              g.writeNumberProperty("frames", f.frames().size());
            });
        xattrs(f.meta());
        frames(f.frames());
        for (Frame frame : f.frames()) {
          bytes += frame.length();
        }
      }
      case Entry.HardLink l ->
          line(
              g -> {
                start(g, "link", l.path());
                path(g, "target", l.target().bytes());
              });
      case Entry.Directory d -> {
        line(
            g -> {
              start(g, "directory", d.path());
              meta(g, d.meta());
              if (d.scoped()) {
                g.writeBooleanProperty("scoped", true);
              }
            });
        xattrs(d.meta());
      }
      case Entry.Symlink s -> {
        line(
            g -> {
              start(g, "symlink", s.path());
              meta(g, s.meta());
              path(g, "target", s.target().toArray());
            });
        xattrs(s.meta());
      }
      case Entry.Node n -> {
        line(
            g -> {
              start(g, "node", n.path());
              meta(g, n.meta());
              g.writeNumberProperty("rdev", n.rdev());
            });
        xattrs(n.meta());
      }
      case Entry.Socket s -> {
        line(
            g -> {
              start(g, "socket", s.path());
              meta(g, s.meta());
            });
        xattrs(s.meta());
      }
      case Entry.Deleted d ->
          line(
              g -> {
                start(g, "deleted", d.path());
                was(g, d.was());
              });
      case Entry.Unchanged u -> {
        line(
            g -> {
              start(g, "same", u.path());
              was(g, u.was());
            });
        unchanged++;
        entries--;
      }
    }
    entries++;
  }

  /** Writes the footer; returns the SHA-256 that is in it. */
  String finish() throws FilesException {
    String sum = HexFormat.of().formatHex(digest.digest());
    line(
        g -> {
          g.writeStringProperty("kind", "end");
          g.writeNumberProperty("entries", entries);
          g.writeNumberProperty("same", unchanged);
          g.writeNumberProperty("bytes", bytes);
          g.writeStringProperty("sha256", sum);
        });
    try {
      out.close();
      Files.move(partial, file, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      throw FilesException.of("write", file, "", e);
    }
    finished = true;
    return sum;
  }

  private static void start(JsonGenerator g, String kind, BytePath path) throws IOException {
    g.writeStringProperty("kind", kind);
    path(g, "path", path.bytes());
  }

  private static void meta(JsonGenerator g, Entry.Meta meta) {
    g.writeNumberProperty("mode", meta.mode());
    g.writeNumberProperty("uid", Integer.toUnsignedLong(meta.uid()));
    g.writeNumberProperty("gid", Integer.toUnsignedLong(meta.gid()));
    g.writeStringProperty("mtime", meta.mtime().toString());
    if (!meta.xattrs().isEmpty()) {
      g.writeNumberProperty("xattrs", meta.xattrs().size());
    }
  }

  private static void was(JsonGenerator g, Entry.Was was) {
    g.writeNumberProperty("mode", was.mode());
    g.writeNumberProperty("uid", Integer.toUnsignedLong(was.uid()));
    g.writeNumberProperty("gid", Integer.toUnsignedLong(was.gid()));
    g.writeNumberProperty("size", was.size());
    g.writeStringProperty("mtime", was.mtime().toString());
  }

  private void xattrs(Entry.Meta meta) throws FilesException {
    for (Entry.Xattr xattr : meta.xattrs()) {
      line(
          g -> {
            path(g, "xattr", xattr.name().toArray());
            g.writeName("value");
            g.writeBinary(xattr.value().toArray());
          });
    }
  }

  private void frames(List<Frame> frames) throws FilesException {
    for (int from = 0; from < frames.size(); from += Manifest.FRAMES_PER_LINE) {
      List<Frame> some =
          frames.subList(from, Math.min(frames.size(), from + Manifest.FRAMES_PER_LINE));
      line(
          g -> {
            g.writeName("frames");
            g.writeStartArray();
            for (Frame f : some) {
              g.writeStartArray();
              g.writeNumber(f.offset());
              g.writeNumber(f.length());
              g.writeNumber(f.ref().pack());
              g.writeNumber(f.ref().offset());
              g.writeNumber(f.ref().length());
              g.writeNumber(f.codec().code());
              g.writeNumber(Integer.toUnsignedLong(f.crc()));
              g.writeEndArray();
            }
            g.writeEndArray();
          });
    }
  }

  private static void paths(JsonGenerator g, String name, List<BytePath> paths) throws IOException {
    g.writeName(name);
    g.writeStartArray();
    for (BytePath path : paths) {
      g.writeStartObject();
      path(g, "path", path.bytes());
      g.writeEndObject();
    }
    g.writeEndArray();
  }

  private static void path(JsonGenerator g, String name, byte[] bytes) throws IOException {
    String text = null;
    try {
      text = UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
    } catch (CharacterCodingException notUtf8) {
      g.writeName(name + "64");
      g.writeBinary(bytes);
    }
    if (text != null) {
      g.writeStringProperty(name, text);
    }
  }

  private void line(Fields fields) throws FilesException {
    line.reset();
    try {
      try (JsonGenerator g = json.createGenerator(ObjectWriteContext.empty(), line)) {
        g.writeStartObject();
        fields.write(g);
        g.writeEndObject();
      }
      line.write('\n');
      byte[] text = line.toByteArray();
      digest.update(text);
      out.write(text);
    } catch (IOException e) {
      throw FilesException.of("write", partial, "", e);
    }
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
