package org.lifeboat.criu;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.Fuzz;

/** CRIU's images and its log, changed at will: what Lifeboat reads of them it reads or refuses. */
final class ImagesFuzzTest {

  @TempDir private Path folder;

  private static byte[] entry(Proto.Field... fields) {
    return Proto.write(List.of(fields));
  }

  private static Proto.Field bytes(int number, byte[] bytes) {
    return new Proto.Field(number, 2, 0, bytes);
  }

  private static byte[] packed(long... values) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (long value : values) {
      byte[] field = Proto.write(List.of(Proto.Field.varint(1, value)));
      out.write(field, 1, field.length - 1);
    }
    return out.toByteArray();
  }

  private static List<byte[]> tree() {
    List<byte[]> entries = new ArrayList<>();
    for (int pid = 1000; pid < 1004; pid++) {
      entries.add(
          entry(
              Proto.Field.varint(1, pid),
              Proto.Field.varint(2, pid == 1000 ? 0 : 1000),
              Proto.Field.varint(3, pid),
              Proto.Field.varint(4, pid == 1003 ? 77 : 1000),
              bytes(5, packed(pid, pid + 100))));
    }
    return entries;
  }

  private static List<byte[]> sockets() {
    byte[] socket =
        entry(
            Proto.Field.varint(3, 2),
            Proto.Field.varint(4, 1),
            Proto.Field.varint(5, 6),
            Proto.Field.varint(6, 1),
            bytes(11, packed(0x0100007f)));
    byte[] six =
        entry(
            Proto.Field.varint(3, 10),
            Proto.Field.varint(5, 6),
            Proto.Field.varint(6, 1),
            bytes(11, packed(0, 0, 0, 0x01000000)));
    return List.of(
        entry(Proto.Field.varint(1, 4), Proto.Field.varint(2, 1), bytes(4, socket)),
        entry(Proto.Field.varint(1, 4), Proto.Field.varint(2, 2), bytes(4, six)));
  }

  private static byte[] image(Random random, List<byte[]> entries) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes(new byte[] {1, 2, 3, 4, 5, 6, 7, 8});
    for (byte[] entry : entries) {
      byte[] some = random.nextInt(3) == 0 ? Fuzz.mutate(random, entry, 2) : entry;
      int length = random.nextInt(20) == 0 ? (int) Fuzz.number(random) : some.length;
      for (int shift = 0; shift < 32; shift += 8) {
        out.write(length >>> shift);
      }
      out.writeBytes(some);
    }
    byte[] image = out.toByteArray();
    return random.nextInt(8) == 0 ? Fuzz.mutate(random, image, 2) : image;
  }

  @Test
  void images() {
    int[] counts = {0, 0};
    Fuzz.run(
        "images of CRIU",
        3_000,
        2 << 20,
        random -> {
          Files.write(folder.resolve("pstree.img"), image(random, tree()));
          Files.write(folder.resolve("files.img"), image(random, sockets()));
          try {
            assertFalse(CriuImages.processes(folder).isEmpty());
            CriuImages.joinOrphanSessions(folder);
            CriuImages.processes(folder);
            CriuImages.connectedAddresses(folder);
            counts[0]++;
          } catch (CriuException e) {
            assertTrue(e.getMessage().startsWith("malformed image"), e.getMessage());
            counts[1]++;
          }
        });
    assertTrue(
        Long.getLong("lifeboat.seed") != null || (counts[0] > 100 && counts[1] > 500),
        counts[0] + " read, " + counts[1] + " refused");
  }

  @Test
  void logs() {
    byte[] good =
        """
        (00.000000) Version: 4.2 (gitid 0)
        (00.013577) Error (criu/files-reg.c:2225): Can't open file mnt/work/x on restore: No such file
        (00.013578) Error (criu/pie/restorer.c:2): pid 1234 is already taken
        (00.013579) Error (criu/cr-restore.c:1480): Restoring FAILED.
        """
            .getBytes(StandardCharsets.UTF_8);
    Path file = folder.resolve("restore.log");
    Fuzz.run(
        "log of CRIU",
        1_500,
        4 << 20,
        random -> {
          Files.write(file, Fuzz.mutate(random, good, 6));
          CriuLog.explain(file).ifPresent(words -> assertTrue(words.toString().length() < 20_000));
        });
  }
}
