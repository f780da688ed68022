package org.lifeboat.cache;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.lifeboat.cache.CacheFixture.BLOCK;
import static org.lifeboat.cache.CacheFixture.PLENTY;
import static org.lifeboat.cache.CacheFixture.all;
import static org.lifeboat.cache.CacheFixture.open;
import static org.lifeboat.cache.CacheFixture.read;
import static org.lifeboat.cache.CacheFixture.write;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.Fuzz;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.OpenFile;

/**
 * What is found in a directory: of another engine, of a killed one, of another version, damaged.
 */
@Timeout(60)
final class RecoveryTest {

  private static final String ID = "0000000000000001";

  @TempDir Path temp;
  private final TestSource source = TestSource.random(5 * BLOCK + 100, 77);

  private Path dir() {
    return temp.resolve("a/b/cache");
  }

  private Path file(String suffix) {
    return dir().resolve("contents/01/" + ID + suffix);
  }

  private CacheException refused() {
    return assertThrows(CacheException.class, () -> open(dir(), PLENTY));
  }

  /** A clean content of blocks 0, 1 and the last. */
  private void clean() throws Exception {
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.attach(1, source.origin("v1"), source)) {
      read(content, 0, 2 * BLOCK);
      read(content, 5 * BLOCK, 1);
    }
  }

  private void dirty() throws Exception {
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.create(1)) {
      write(content, 0, source.data);
    }
  }

  private static void flip(Path file, long at) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    bytes[(int) at] ^= (byte) 1;
    Files.write(file, bytes);
  }

  @Test
  void oneEngineAtATime() throws Exception {
    try (Cache cache = open(dir(), PLENTY)) {
      CacheException refused = refused();
      assertEquals(Errno.EBUSY, refused.errno());
      assertEquals(
          String.format(
              "open cache %s: process %d has it open"
                  + " (end that one, or give this one another directory)",
              dir(), ProcessHandle.current().pid()),
          refused.getMessage());
      assertEquals(0, cache.usage().contents());
    }
    open(dir(), PLENTY).close();
  }

  @Test
  void nobodyElseMayLook() throws Exception {
    Files.createDirectories(dir());
    Files.setPosixFilePermissions(dir(), PosixFilePermissions.fromString("rwxr-xr-x"));
    clean();
    try (Stream<Path> walk = Files.walk(dir())) {
      for (Path path : walk.toList()) {
        assertEquals(
            Files.isDirectory(path) ? "rwx------" : "rw-------",
            PosixFilePermissions.toString(Files.getPosixFilePermissions(path)),
            path::toString);
      }
    }
  }

  @Test
  void anotherVersionIsRefused() throws Exception {
    clean();
    Files.writeString(dir().resolve("layout"), Layout.line(2));
    CacheException refused = refused();
    assertEquals(Errno.EINVAL, refused.errno());
    assertEquals(
        "open cache "
            + dir()
            + ": it has layout 2; this Lifeboat knows layouts up to 1"
            + " (use the newer Lifeboat, or another directory)",
        refused.getMessage());
    assertTrue(Files.exists(file("")), "and left alone");
    for (String damaged : List.of("", "lifeboat-cache 1 00000000\n", "x".repeat(5000))) {
      Files.writeString(dir().resolve("layout"), damaged);
      assertTrue(refused().getMessage().contains("the layout file is damaged"), damaged);
    }
    Files.writeString(dir().resolve("layout"), Layout.line(1));
    open(dir(), PLENTY).close();
    Files.delete(dir().resolve("layout"));
    assertEquals(Errno.ENOTEMPTY, refused().errno());
  }

  @Test
  void whatIsNoCacheIsRefused() throws Exception {
    Files.createDirectories(dir());
    Files.writeString(dir().resolve("thesis.tex"), "");
    CacheException refused = refused();
    assertEquals(Errno.ENOTEMPTY, refused.errno());
    assertTrue(refused.getMessage().contains("holds thesis.tex"), refused.getMessage());
    Files.delete(dir().resolve("thesis.tex"));
    Files.createDirectory(dir().resolve("lost+found"));
    open(dir(), PLENTY).close();
    Files.delete(dir().resolve("lost+found"));
    Files.writeString(temp.resolve("file"), "");
    assertEquals(
        Errno.ENOTDIR,
        assertThrows(CacheException.class, () -> open(temp.resolve("file"), PLENTY)).errno());
  }

  @Test
  void halvesOfCleanContentsGo() throws Exception {
    clean();
    Files.delete(file(".map"));
    assertGone();
    clean();
    Files.delete(file(""));
    assertGone();
    clean();
    Files.move(file(".map"), file(".map.tmp"));
    assertGone();
    clean();
    Files.writeString(dir().resolve("contents/01/notes"), "");
    Files.writeString(dir().resolve("contents/01/" + ID.replace('1', '2')), "");
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.find(1).orElseThrow()) {
      assertTrue(content.isLocal(0, BLOCK));
      assertEquals(1, cache.usage().contents(), "what is in the wrong place is left alone");
    }
  }

  private void assertGone() throws Exception {
    try (Cache cache = open(dir(), PLENTY)) {
      assertTrue(cache.find(1).isEmpty());
      assertEquals(0, cache.usage().bytes());
    }
    try (Stream<Path> left = Files.list(dir().resolve("contents/01"))) {
      assertEquals(List.of(), left.toList());
    }
  }

  @Test
  void aDamagedMapDropsACleanContent() throws Exception {
    clean();
    byte[] good = Files.readAllBytes(file(".map"));
    byte[] content = Files.readAllBytes(file(""));
    int header = good.length - 8 * 6;
    for (int at = 0; at < header; at++) {
      flip(file(".map"), at);
      assertGone();
      Files.write(file(".map"), good);
      Files.write(file(""), content);
    }
    for (int length = 0; length < good.length; length += 7) {
      Files.write(file(".map"), Arrays.copyOf(good, length));
      assertGone();
      Files.write(file(""), content);
    }
    Files.write(file(".map"), good);
    Files.write(file(""), Arrays.copyOf(content, content.length - 1));
    assertGone();
  }

  @Test
  void aDamagedRecordIsAnAbsentBlock() throws Exception {
    clean();
    int header = (int) Files.size(file(".map")) - 8 * 6;
    for (int at = 0; at < 8; at++) {
      flip(file(".map"), header + at);
      try (Cache cache = open(dir(), PLENTY);
          Content content = cache.attach(1, source.origin("v1"), source)) {
        assertFalse(content.isLocal(0, 1));
        assertTrue(content.isLocal(BLOCK, BLOCK));
        assertArrayEquals(source.data, all(content));
      }
    }
  }

  @Test
  void aDamagedBlockIsFetchedAgain() throws Exception {
    for (long at : new long[] {0, BLOCK + 17, 5 * BLOCK + 99}) {
      clean();
      flip(file(""), at);
      source.offsets.clear();
      try (Cache cache = open(dir(), PLENTY);
          Content content = cache.attach(1, source.origin("v1"), source)) {
        assertArrayEquals(Arrays.copyOf(source.data, 2 * BLOCK), read(content, 0, 2 * BLOCK));
        assertArrayEquals(
            Arrays.copyOfRange(source.data, 5 * BLOCK, source.data.length),
            read(content, 5 * BLOCK, BLOCK));
        assertEquals(List.of(at / BLOCK * BLOCK), source.offsets);
      }
      flip(file(""), at);
      source.offsets.clear();
      try (Cache cache = open(dir(), PLENTY);
          Content content = cache.attach(1, source.origin("v1"), source)) {
        content.makeWhole();
        assertArrayEquals(source.data, all(content));
        assertTrue(source.offsets.contains(at / BLOCK * BLOCK));
      }
    }
  }

  @Test
  void dirtyContentsStayWhateverHappenedToTheirMaps() throws Exception {
    dirty();
    assertDirty(false);
    upload();
    dirtyAgain();
    assertDirty(true);
    byte[] map = Files.readAllBytes(file(".map"));
    flip(file(".map"), 20);
    assertDirty(false);
    Files.write(file(".map"), Arrays.copyOf(map, 30));
    assertDirty(false);
    Files.writeString(file(".map.tmp"), "half a map");
    Files.writeString(file(""), "a clean one of the same id, which cannot be");
    Files.write(file(".map"), map);
    assertDirty(true);
    assertFalse(Files.exists(file("")));
    assertFalse(Files.exists(file(".map.tmp")));
    Files.delete(file(".map"));
    assertDirty(false);
    upload();
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.find(1).orElseThrow()) {
      assertFalse(content.isSuspect());
      assertArrayEquals(source.data, all(content));
    }
  }

  private void upload() throws Exception {
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.find(1).orElseThrow()) {
      CacheFixture.upload(content, "v7");
    }
  }

  private void dirtyAgain() throws Exception {
    try (Cache cache = open(dir(), PLENTY);
        Content content = cache.find(1).orElseThrow()) {
      content.pin();
      content.makeWhole();
      content.markDirty();
      content.unpin();
    }
  }

  private void assertDirty(boolean originKnown) throws Exception {
    try (Cache cache = open(dir(), PLENTY)) {
      assertEquals(List.of(1L), cache.dirty());
      try (Content content = cache.find(1).orElseThrow()) {
        assertTrue(content.isDirty());
        assertTrue(content.isSuspect());
        assertTrue(content.isWhole());
        assertEquals(originKnown, content.origin().isPresent());
        assertArrayEquals(source.data, all(content));
        assertTrue(cache.usage().dirtyBytes() >= source.data.length);
      }
    }
  }

  @Test
  void filesThatVanishUnderUs() throws Exception {
    clean();
    try (Cache cache = open(dir(), PLENTY)) {
      Files.delete(file(""));
      try (Content content = cache.attach(1, source.origin("v1"), source)) {
        assertFalse(content.isLocal(0, 1));
        assertArrayEquals(source.data, all(content));
      }
    }
    try (Cache cache = open(dir(), PLENTY)) {
      Files.delete(file(".map"));
      assertTrue(cache.find(1).isEmpty());
      assertEquals(0, cache.usage().bytes());
    }
  }

  @Test
  void mapsAreReadWithCare() throws Exception {
    Blocks blocks = new Blocks(20 * BLOCK + 5, BLOCK);
    for (int i = 0; i < 15; i++) {
      blocks.present(i, i * 12345);
    }
    Path map = temp.resolve("map");
    Origin origin = new Origin("s3://b/\u00e9", "v", 20 * BLOCK + 5);
    BlockMap.write(OpenFile.create(BytePath.of(map)), 5, origin, blocks);
    byte[] good = Files.readAllBytes(map);
    try (OpenFile in = OpenFile.read(BytePath.of(map))) {
      BlockMap.Loaded loaded = BlockMap.load(in, 5);
      assertEquals(origin, loaded.origin());
      for (int i = 0; i < 21; i++) {
        assertEquals(i < 15 ? Blocks.UNVERIFIED : Blocks.ABSENT, loaded.blocks().state(i));
      }
      assertThrows(BlockMap.DamagedException.class, () -> BlockMap.load(in, 6));
    }
    Fuzz.run(
        "map",
        600,
        4 << 20,
        random -> {
          byte[] bad = Fuzz.mutate(random, good, 3);
          if (random.nextBoolean() && bad.length > 64) {
            resum(bad);
          }
          Files.write(map, bad);
          try (OpenFile in = OpenFile.read(BytePath.of(map))) {
            BlockMap.Loaded loaded = BlockMap.load(in, 5);
            for (int i = 0; i < loaded.blocks().count(); i++) {
              if (loaded.origin().equals(origin) && loaded.blocks().state(i) != Blocks.ABSENT) {
                assertEquals(i * 12345, loaded.blocks().checksum(i));
              }
            }
          } catch (BlockMap.DamagedException e) {
            assertFalse(e.getMessage().isEmpty());
          }
        });
  }

  /** Makes the header's checksum right again. */
  private static void resum(byte[] map) {
    int header = (map[10] & 0xff) + 256 * (map[11] & 0xff);
    if (header >= 48 && header <= map.length) {
      java.util.zip.CRC32C sum = new java.util.zip.CRC32C();
      sum.update(map, 0, header - 4);
      for (int i = 0; i < 4; i++) {
        map[header - 4 + i] = (byte) (sum.getValue() >>> (8 * i));
      }
    }
  }
}
