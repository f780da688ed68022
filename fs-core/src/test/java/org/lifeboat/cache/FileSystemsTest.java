package org.lifeboat.cache;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.lifeboat.cache.CacheFixture.BLOCK;
import static org.lifeboat.cache.CacheFixture.PLENTY;
import static org.lifeboat.cache.CacheFixture.all;
import static org.lifeboat.cache.CacheFixture.open;
import static org.lifeboat.cache.CacheFixture.read;
import static org.lifeboat.cache.CacheFixture.upload;
import static org.lifeboat.cache.CacheFixture.write;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.Stat;

/** On file systems of their own: with and without shared blocks, and full ones. */
@Timeout(120)
final class FileSystemsTest {

  @TempDir Path temp;
  private Path mounted;

  private static void run(String... command) throws Exception {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), String.join(" ", command) + ": " + output);
  }

  private Path mount(String type, String size) throws Exception {
    Path point = Files.createDirectory(temp.resolve("mount"));
    if (type.equals("tmpfs")) {
      run("mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", point.toString());
    } else {
      Path image = temp.resolve("image");
      run("truncate", "-s", size, image.toString());
      run("mkfs." + type, "-q", image.toString());
      run("mount", "-o", "loop", image.toString(), point.toString());
    }
    mounted = point;
    return point;
  }

  @AfterEach
  void unmount() throws Exception {
    if (mounted != null) {
      run("umount", mounted.toString());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"xfs", "btrfs"})
  void sealedContentsShareTheirBlocks(String type) throws Exception {
    Path root = mount(type, "400M");
    byte[] bytes = TestSource.random(50 * BLOCK + 3, 1).data;
    try (Cache cache = open(root.resolve("cache"), PLENTY);
        Content content = cache.create(1)) {
      assertInstanceOf(Seal.Sealed.class, cache.canReflink());
      write(content, 0, bytes);
      Path first = root.resolve("first");
      Seal.Sealed sealed = assertInstanceOf(Seal.Sealed.class, content.seal(BytePath.of(first)));
      assertEquals(first.toString(), sealed.file().toString());
      TestSource stored = new TestSource(bytes);
      assertTrue(content.markClean(stored.origin("v1"), stored, sealed.sealed()));
      Path second = root.resolve("second");
      Seal.Sealed clean = assertInstanceOf(Seal.Sealed.class, content.seal(BytePath.of(second)));
      write(content, BLOCK, new byte[3 * BLOCK]);
      assertArrayEquals(bytes, Files.readAllBytes(first));
      assertArrayEquals(bytes, Files.readAllBytes(second));
      assertFalse(content.markClean(stored.origin("v2"), stored, clean.sealed()));
      assertTrue(content.isDirty());
      assertEquals(
          Errno.EEXIST,
          assertThrows(CacheException.class, () -> content.seal(BytePath.of(second))).errno());
      assertInstanceOf(
          Seal.CannotReflink.class, content.seal(BytePath.of(temp.resolve("elsewhere"))));
      assertFalse(Files.exists(temp.resolve("elsewhere")));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"xfs", "btrfs", "tmpfs"})
  void contentsComeAndGo(String type) throws Exception {
    Path root = mount(type, "400M");
    TestSource source = TestSource.random(100 * BLOCK, 2);
    try (Cache cache = open(root.resolve("cache"), new Limits(60 * BLOCK, 1 << 20))) {
      Content dirty = cache.create(1);
      write(dirty, 0, Arrays.copyOf(source.data, 20 * BLOCK));
      Content clean = cache.attach(2, source.origin("v"), source);
      for (int i = 0; i < 100; i++) {
        assertArrayEquals(
            Arrays.copyOfRange(source.data, i * BLOCK, (i + 1) * BLOCK),
            read(clean, (long) i * BLOCK, BLOCK));
      }
      assertTrue(cache.usage().evictedBytes() > 0);
      assertArrayEquals(Arrays.copyOf(source.data, 20 * BLOCK), all(dirty));
      upload(dirty, "v1");
      dirty.discard();
      clean.discard();
      dirty.close();
      clean.close();
      assertEquals(0, CacheFixture.settled(cache).bytes());
    }
  }

  @Test
  void aFullDiskLosesNothing() throws Exception {
    Path root = mount("tmpfs", "2m");
    TestSource source = TestSource.random(200 * BLOCK, 3);
    byte[] bytes = TestSource.random(400 * BLOCK, 4).data;
    int written = 0;
    try (Cache cache = open(root.resolve("cache"), PLENTY)) {
      try (Content clean = cache.attach(1, source.origin("v"), source)) {
        clean.makeWhole();
      }
      try (Content dirty = cache.create(2)) {
        for (; written < 400 * BLOCK; written += 8 * BLOCK) {
          write(dirty, written, Arrays.copyOfRange(bytes, written, written + 8 * BLOCK));
        }
        assertTrue(cache.find(1).isEmpty(), "was given up for it");
        fill(root.resolve("filler"));
        int end = written;
        CacheException full =
            assertThrows(CacheException.class, () -> write(dirty, end, new byte[64 * BLOCK]));
        assertEquals(Errno.ENOSPC, full.errno());
        assertTrue(full.remedy().startsWith("make room on"), full.getMessage());
        assertArrayEquals(bytes, Arrays.copyOf(all(dirty), written));
        write(dirty, 5, new byte[] {7});
        dirty.truncate(written);
      }
      CacheException full =
          assertThrows(
              CacheException.class, () -> cache.attach(3, source.origin("v"), source).close());
      assertEquals(Errno.ENOSPC, full.errno());
      Files.delete(root.resolve("filler"));
      try (Content clean = cache.attach(3, source.origin("v"), source)) {
        fill(root.resolve("filler"));
        assertArrayEquals(source.data, all(clean), "is read past the cache");
        assertEquals(Errno.ENOSPC, assertThrows(CacheException.class, clean::makeWhole).errno());
      }
    }
    bytes[5] = 7;
    try (Cache cache = open(root.resolve("cache"), PLENTY);
        Content dirty = cache.find(2).orElseThrow()) {
      assertTrue(dirty.isDirty());
      assertArrayEquals(bytes, all(dirty));
      Files.delete(root.resolve("filler"));
      upload(dirty, "v1");
      assertEquals(List.of(), cache.dirty());
    }
  }

  private static void fill(Path file) throws IOException {
    byte[] block = new byte[BLOCK];
    try (RandomAccessFile out = new RandomAccessFile(file.toFile(), "rw")) {
      IOException full =
          assertThrows(
              IOException.class,
              () -> {
                while (true) {
                  out.write(block);
                }
              });
      assertTrue(full.getMessage().contains("No space"), full.getMessage());
    }
  }

  @Test
  void timesTellWrites() throws Exception {
    Path root = mount("tmpfs", "2m");
    try (Cache cache = open(root, PLENTY);
        Content content = cache.create(1)) {
      assertInstanceOf(Seal.CannotReflink.class, cache.canReflink());
      write(content, 0, new byte[10]);
      Stat stat = content.stat();
      assertEquals(10, stat.size());
      Files.setLastModifiedTime(
          root.resolve("contents/01/0000000000000001.dirty"),
          java.nio.file.attribute.FileTime.fromMillis(5)); // as a passed through write does
      TestSource stored = new TestSource(new byte[10]);
      assertFalse(content.markClean(stored.origin("v"), stored, stat));
    }
  }
}
