package org.lifeboat.sys;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LibcTest {

  @TempDir Path temp;
  private BytePath dir;

  @BeforeEach
  void setUp() {
    dir = BytePath.of(temp);
  }

  @Test
  void statAgreesWithJava() throws Exception {
    Path file = Files.writeString(temp.resolve("a"), "hello");
    Stat stat = Libc.lstat(dir.resolve("a"));
    assertEquals(Files.getAttribute(file, "unix:ino"), stat.ino());
    assertEquals(Files.getAttribute(file, "unix:mode"), stat.mode());
    assertEquals(Files.getAttribute(file, "unix:nlink"), stat.nlink());
    assertEquals(5, stat.size());
    assertEquals(Files.getLastModifiedTime(file).toInstant(), stat.mtime());
    assertTrue(stat.isRegular());
    Stat null0 = Libc.lstat(BytePath.of("/dev/null"));
    assertEquals((1L << 32) | 3, null0.rdev());
    assertEquals(Stat.S_IFCHR, null0.type());
  }

  @Test
  void namesThatAreNotUtf8() throws Exception {
    BytePath odd = dir.resolve(new byte[] {'x', (byte) 0xff, '\n', (byte) 0xc3});
    OpenFile.create(odd).close();
    Libc.symlink(new byte[] {(byte) 0xfe}, dir.resolve("l"));
    List<byte[]> names = Libc.list(dir);
    assertEquals(2, names.size());
    assertArrayEquals(odd.name(), names.get(1));
    assertArrayEquals(new byte[] {(byte) 0xfe}, Libc.readlink(dir.resolve("l")));
    assertTrue(odd.toString().endsWith("x\\xff\\x0a\\xc3"), odd.toString());
    assertEquals(odd, Libc.realpath(odd));
  }

  @Test
  void holesAreFound() throws Exception {
    BytePath path = dir.resolve("sparse");
    try (Arena arena = Arena.ofConfined();
        OpenFile file = OpenFile.create(path)) {
      MemorySegment data = arena.allocate(65536).fill((byte) 7);
      file.write(data, 1 << 20);
      file.truncate(4 << 20);
      assertEquals(1 << 20, file.nextData(0));
      assertEquals((1 << 20) + 65536, file.nextHole(1 << 20));
      assertEquals(-1, file.nextData(2 << 20));
      MemorySegment back = arena.allocate(65536);
      assertEquals(65536, file.read(back, 1 << 20));
      assertEquals(-1, data.mismatch(back));
      assertEquals(0, file.read(back, 4 << 20));
      file.syncFileSystem();
    }
  }

  @Test
  void roomIsAllocated() throws Exception {
    BytePath path = dir.resolve("allocated");
    try (OpenFile file = OpenFile.writeOrCreate(path)) {
      file.allocate(0, 0, 100_000);
      assertEquals(100_000, file.stat().size());
      assertTrue(file.stat().blocks() * 512 >= 100_000);
      file.syncData();
    }
    try (OpenFile file = OpenFile.writeOrCreate(path)) {
      assertEquals(100_000, file.stat().size());
      assertEquals(0600, file.stat().permissions());
      ErrnoException refused = assertThrows(ErrnoException.class, () -> file.allocate(0, 0, 0));
      assertEquals(Errno.EINVAL, refused.errno());
    }
  }

  @Test
  void attributesTimesModesAndNodes() throws Exception {
    BytePath path = dir.resolve("f");
    OpenFile.create(path).close();
    byte[] name = "user.color".getBytes(UTF_8);
    Libc.setXattr(path, name, new byte[] {0, 1, (byte) 200});
    assertArrayEquals(new byte[] {0, 1, (byte) 200}, Libc.getXattr(path, name));
    assertEquals(1, Libc.listXattrs(path).size());
    Libc.removeXattr(path, name);
    assertEquals(
        Errno.ENODATA, assertThrows(ErrnoException.class, () -> Libc.getXattr(path, name)).errno());
    Libc.lchown(path, 1234, 4321);
    Libc.chmod(path, 06751);
    Instant then = Instant.ofEpochSecond(-5, 123_456_789);
    Libc.setModified(path, then);
    Stat stat = Libc.lstat(path);
    assertEquals(then, stat.mtime());
    assertEquals(06751, stat.permissions());
    assertEquals(1234, stat.uid());
    assertEquals(4321, stat.gid());
    Libc.mknod(dir.resolve("fifo"), Stat.S_IFIFO | 0640, 0);
    assertEquals(Stat.S_IFIFO, Libc.lstat(dir.resolve("fifo")).type());
  }

  @Test
  void renamesThatReplaceNothing() throws Exception {
    Files.writeString(temp.resolve("a"), "a");
    Files.writeString(temp.resolve("b"), "b");
    ErrnoException taken =
        assertThrows(
            ErrnoException.class, () -> Libc.renameNoReplace(dir.resolve("a"), dir.resolve("b")));
    assertEquals(Errno.EEXIST, taken.errno());
    Libc.rename(dir.resolve("a"), dir.resolve("b"));
    assertEquals("a", Files.readString(temp.resolve("b")));
    assertFalse(Files.exists(temp.resolve("a"), LinkOption.NOFOLLOW_LINKS));
    assertTrue(Libc.find(dir.resolve("a")).isEmpty());
    assertTrue(Libc.find(dir.resolve("b/c")).isEmpty());
  }

  @Test
  void reflinkWorksOrSaysWhyNot() throws Exception {
    Files.writeString(temp.resolve("a"), "a");
    try (OpenFile source = OpenFile.read(dir.resolve("a"));
        OpenFile target = OpenFile.create(dir.resolve("b"))) {
      try {
        target.cloneFrom(source);
        assertEquals("a", Files.readString(temp.resolve("b")));
      } catch (ErrnoException e) {
        assertEquals(Errno.EOPNOTSUPP, e.errno());
      }
    }
  }

  @Test
  void aPunchedRangeReadsAsZerosAndTheFileKeepsItsLength() throws Exception {
    Files.write(temp.resolve("a"), new byte[] {1, 2, 3, 4, 5});
    try (OpenFile file = OpenFile.write(dir.resolve("a"))) {
      file.punch(1, 3);
      assertArrayEquals(new byte[] {1, 0, 0, 0, 5}, Files.readAllBytes(temp.resolve("a")));
    } catch (ErrnoException e) {
      assertEquals(Errno.EOPNOTSUPP, e.errno());
    }
  }

  @Test
  void fileSystemsAreTold() throws Exception {
    assertEquals(FileSystemStat.PROC, Libc.statfs(BytePath.of("/proc")).magic());
    assertTrue(Libc.statfs(dir).available() > 0);
  }

  @Test
  void orderIsTheOrderOfAWalk() {
    TreeSet<BytePath> sorted = new TreeSet<>();
    for (String text : List.of("/a.b", "/a/z", "/a", "/a/\u00e9", "/", "/b", "/a-/x")) {
      sorted.add(BytePath.of(text));
    }
    assertEquals("[/, /a, /a/z, /a/\u00e9, /a-/x, /a.b, /b]", sorted.toString());
  }

  @Test
  void onlyCanonicalPaths() {
    for (String text : List.of("", "a", "/a/", "//", "/a//b", "/.", "/a/..", "/a/./b", "/a\0b")) {
      assertThrows(IllegalArgumentException.class, () -> BytePath.of(text), text);
    }
    assertEquals("/a/b", BytePath.of("/a").rebase(BytePath.of("/b")).toString());
    assertEquals("/b", BytePath.of("/a/b").below(BytePath.of("/a")).toString());
    assertEquals("/", BytePath.of("/a").parent().toString());
    assertFalse(BytePath.of("/ab").startsWith(BytePath.of("/a")));
  }
}
