package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.files.Bytes;
import org.lifeboat.files.Entry;
import org.lifeboat.sys.BytePath;

/** The machine image's files, before CRIU looks for them. */
final class HostFilesTest {

  @TempDir private Path folder;
  private final ByteArrayOutputStream files = new ByteArrayOutputStream();

  @BeforeEach
  void begin() {
    files.writeBytes(new byte[8]); // magic
  }

  /** Adds an entry as CRIU writes it for an open file; all numbers are below 128. */
  private Path open(int id, String name, int size) throws IOException {
    byte[] text = name.getBytes(StandardCharsets.ISO_8859_1);
    ByteArrayOutputStream regular = new ByteArrayOutputStream();
    regular.writeBytes(new byte[] {1 << 3, (byte) id, 6 << 3 | 2, (byte) text.length});
    regular.writeBytes(text);
    if (size >= 0) {
      regular.writeBytes(new byte[] {8 << 3, (byte) size});
    }
    ByteArrayOutputStream entry = new ByteArrayOutputStream();
    entry.writeBytes(new byte[] {1 << 3, 1, 2 << 3, (byte) id, 3 << 3 | 2});
    entry.write((regular.size() & 0x7f) | 0x80);
    entry.write(regular.size() >> 7);
    entry.writeBytes(regular.toByteArray());
    put(files, entry.toByteArray());
    return Files.write(folder.resolve("files.img"), files.toByteArray());
  }

  private static void put(ByteArrayOutputStream image, byte[] entry) {
    image.writeBytes(
        ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(entry.length).array());
    image.writeBytes(entry);
  }

  private String here(String name, int size) throws IOException {
    Files.write(folder.resolve(name), new byte[size]);
    return folder.resolve(name).toString().substring(1);
  }

  private String refusal(List<Entry> captured) {
    SnapshotException e =
        assertThrows(SnapshotException.class, () -> HostFiles.check(folder, captured));
    assertEquals(SnapshotException.Kind.ENVIRONMENT, e.kind());
    return e.getMessage();
  }

  @Test
  void whatIsThereIsFine() throws IOException {
    HostFiles.check(folder, List.of());
    open(1, here("library", 5), 5);
    open(2, here("directory-or-fifo", 0), -1);
    open(3, "./" + here("with-a-dot", 7), 7);
    open(4, "proc/12345/status", 0);
    open(5, "dev/none", -1);
    HostFiles.check(folder, List.of());
  }

  @Test
  void whatIsMissingOrAnotherVersionIsNamed() throws IOException {
    open(1, here("library", 5), 6);
    open(2, folder.resolve("gone").toString().substring(1), 6);
    String message = refusal(List.of());
    assertTrue(
        message.contains(folder.resolve("library") + " has 5 bytes here and had 6 there"), message);
    assertTrue(message.contains(folder.resolve("gone") + " is missing here"), message);
    for (int id = 3; id < 10; id++) {
      open(id, folder.resolve("gone" + id).toString().substring(1), 1);
    }
    assertTrue(refusal(List.of()).contains(", and 6 more"), () -> refusal(List.of()));
  }

  @Test
  void whatComesWithTheSnapshotNeedNotBeThere() throws IOException {
    open(1, folder.resolve("mine").toString().substring(1), 6);
    BytePath path = BytePath.of(folder.resolve("mine"));
    Entry.Meta meta = new Entry.Meta(0100644, 0, 0, java.time.Instant.EPOCH, List.of());
    HostFiles.check(
        folder,
        List.of(new Entry.Symlink(path, meta, Bytes.of("x".getBytes(StandardCharsets.UTF_8)))));
  }

  /** Its content is in the images. */
  @Test
  void aDeletedFileNeedNotBeThere() throws IOException {
    open(7, folder.resolve("deleted").toString().substring(1), 6);
    refusal(List.of());
    ByteArrayOutputStream remaps = new ByteArrayOutputStream();
    remaps.writeBytes(new byte[8]);
    put(remaps, new byte[] {1 << 3, 7, 2 << 3, 9});
    Files.write(folder.resolve("remap-fpath.img"), remaps.toByteArray());
    HostFiles.check(folder, List.of());
  }
}
