package org.lifeboat.criu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.TestData;

/**
 * The images were made by CRIU 4.2.1 of a Python script that has a thread, a child, a child in a
 * session of its own, and a daemon made by the double fork below a subreaper; in the second one
 * also TCP connections over 127.0.0.1, ::1 and 192.0.2.2, their listeners, and a UDP socket.
 */
final class CriuImagesTest {

  @TempDir private Path images;

  private Path put(String resource, String name) throws IOException {
    try (InputStream in = CriuImagesTest.class.getResourceAsStream(resource)) {
      return Files.write(images.resolve(name), in.readAllBytes());
    }
  }

  private Path daemon() throws IOException {
    return put("daemon-pstree.img", "pstree.img");
  }

  private Path connected() throws IOException {
    return put("connected-files.img", "files.img");
  }

  @Test
  void readsTheTree() throws IOException {
    daemon();
    List<CriuImages.TreeProcess> tree = CriuImages.processes(images);
    assertEquals(4, tree.size());
    CriuImages.TreeProcess root = tree.getFirst();
    assertEquals(0, root.parent());
    assertEquals(root.pid(), root.session());
    assertEquals(2, root.threads().size());
    assertTrue(root.threads().contains(root.pid()));
    Set<Integer> pids = new HashSet<>();
    for (CriuImages.TreeProcess process : tree) {
      assertTrue(pids.add(process.pid()), process::toString);
      assertTrue(process.equals(root) || process.parent() == root.pid(), process::toString);
    }
  }

  /**
   * Of sort(1) with two children that it had not waited for: CRIU wrote ids for them that it had
   * never set.
   */
  @Test
  void zombiesHaveNoThreadsButTheirs() throws IOException {
    put("zombies-pstree.img", "pstree.img");
    List<CriuImages.TreeProcess> tree = CriuImages.processes(images);
    assertEquals(5, tree.size());
    for (CriuImages.TreeProcess process : tree) {
      assertEquals(Set.of(process.pid()), process.threads());
    }
  }

  @Test
  void theDaemonJoinsTheRootsSession() throws IOException {
    byte[] before = Files.readAllBytes(daemon());
    List<CriuImages.TreeProcess> tree = CriuImages.processes(images);
    int root = tree.getFirst().pid();
    Set<Integer> pids = new HashSet<>();
    tree.forEach(process -> pids.add(process.pid()));
    List<Integer> orphans =
        tree.stream()
            .filter(process -> !pids.contains(process.session()))
            .map(CriuImages.TreeProcess::pid)
            .toList();
    assertEquals(1, orphans.size());
    assertEquals(orphans, CriuImages.joinOrphanSessions(images));
    List<CriuImages.TreeProcess> after = CriuImages.processes(images);
    for (int i = 0; i < tree.size(); i++) {
      CriuImages.TreeProcess was = tree.get(i);
      assertEquals(
          new CriuImages.TreeProcess(
              was.pid(),
              was.parent(),
              orphans.contains(was.pid()) ? root : was.session(),
              was.threads()),
          after.get(i));
    }
    byte[] now = Files.readAllBytes(images.resolve("pstree.img"));
    assertArrayEquals(Arrays.copyOf(before, 8), Arrays.copyOf(now, 8));
    assertEquals(List.of(), CriuImages.joinOrphanSessions(images));
    assertArrayEquals(
        now, Files.readAllBytes(images.resolve("pstree.img")), "rewritten for nothing");
  }

  @Test
  void namesTheAddressesOfConnections() throws IOException {
    connected();
    assertEquals(
        Set.of(
            InetAddress.ofLiteral("127.0.0.1"),
            InetAddress.ofLiteral("::1"),
            InetAddress.ofLiteral("192.0.2.2")),
        CriuImages.connectedAddresses(images));
  }

  @Test
  void noFilesNoAddresses() throws IOException {
    assertEquals(Set.of(), CriuImages.connectedAddresses(images));
  }

  @Test
  void anEmptyTreeIsAnError() throws IOException {
    Files.write(images.resolve("pstree.img"), Arrays.copyOf(Files.readAllBytes(daemon()), 8));
    assertThrows(CriuException.class, () -> CriuImages.processes(images));
  }

  @Test
  void imagesComeBackAsTheyWere() throws IOException {
    for (Path file : List.of(daemon(), connected())) {
      byte[] before = Files.readAllBytes(file);
      Image image = Image.read(file);
      Image again =
          new Image(
              image.magic(),
              image.entries().stream()
                  .map(
                      entry -> {
                        try {
                          return Proto.write(Proto.parse(entry));
                        } catch (CriuException e) {
                          throw new IllegalStateException(e);
                        }
                      })
                  .toList());
      again.write(file);
      assertArrayEquals(before, Files.readAllBytes(file));
    }
  }

  @Test
  void truncatedImagesAreRefused() throws IOException {
    Path file = connected();
    byte[] good = Files.readAllBytes(file);
    Set<Integer> ends = new HashSet<>(List.of(8));
    int end = 8;
    for (byte[] entry : Image.read(file).entries()) {
      end += 4 + entry.length;
      ends.add(end);
    }
    for (int length = 0; length < good.length; length += length < 400 ? 1 : 7) {
      Files.write(file, Arrays.copyOf(good, length));
      if (!ends.contains(length)) {
        assertThrows(CriuException.class, () -> Image.read(file), length + " bytes");
      }
    }
  }

  /** Whatever stands there: an answer or a CriuException, soon, and no memory for it. */
  @Test
  void damageNeverDoesHarm() throws IOException {
    Random random = new TestData("damaged CRIU images").random();
    byte[] tree = Files.readAllBytes(daemon());
    byte[] files = Files.readAllBytes(connected());
    for (int round = 0; round < 1000; round++) {
      boolean first = round % 2 == 0;
      byte[] bytes = (first ? tree : files).clone();
      for (int flips = 1 + random.nextInt(4); flips > 0; flips--) {
        bytes[random.nextInt(bytes.length)] ^= (byte) (1 << random.nextInt(8));
      }
      Files.write(images.resolve(first ? "pstree.img" : "files.img"), bytes);
      try {
        if (first) {
          CriuImages.joinOrphanSessions(images);
        } else {
          CriuImages.connectedAddresses(images);
        }
      } catch (CriuException e) {
        assertTrue(e.getMessage().startsWith("malformed image"), e.getMessage());
      }
    }
  }

  @Test
  void protoKeepsEveryFieldAndItsOrder() throws CriuException {
    byte[] message = {
      8,
      (byte) 0x96,
      1, // 1: varint 150
      0x11,
      1,
      2,
      3,
      4,
      5,
      6,
      7,
      8, // 2: eight bytes
      0x1a,
      2,
      'h',
      'i', // 3: length-delimited
      0x25,
      1,
      2,
      3,
      4, // 4: four bytes
      8,
      (byte) 0xff,
      (byte) 0xff,
      (byte) 0xff,
      (byte) 0xff,
      (byte) 0xff,
      (byte) 0xff,
      (byte) 0xff,
      (byte) 0xff,
      (byte) 0xff,
      1, // 1: varint -1
    };
    List<Proto.Field> fields = Proto.parse(message);
    assertEquals(List.of(1, 2, 3, 4, 1), fields.stream().map(Proto.Field::number).toList());
    assertEquals(150, fields.getFirst().value());
    assertEquals(-1, fields.getLast().value());
    assertArrayEquals(new byte[] {'h', 'i'}, fields.get(2).bytes());
    assertArrayEquals(message, Proto.write(fields));
  }

  @Test
  void protoRefusesWhatIsNone() {
    for (byte[] bad :
        List.of(
            new byte[] {8}, // no value
            new byte[] {8, (byte) 0x80}, // a varint that does not end
            new byte[] {0x1a, 5, 1}, // five bytes, one there
            new byte[] {0x1a, (byte) 0xff, (byte) 0xff, (byte) 0xff, (byte) 0xff, 0x0f},
            new byte[] {0x0b}, // a group
            new byte[] {0x11, 1, 2},
            new byte[] {
              8, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1 // a varint of 11 bytes
            })) {
      assertThrows(CriuException.class, () -> Proto.parse(bad), Arrays.toString(bad));
    }
  }
}
