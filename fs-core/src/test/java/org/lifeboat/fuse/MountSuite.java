package org.lifeboat.fuse;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.RandomAccessFile;
import java.io.StringWriter;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.sys.Stat;
import org.lifeboat.sys.TestCalls;

/**
 * What any file system must do for programs, by real system calls in a directory of it; each case
 * in a directory of its own. Runs as a process of its own: a thread that waits for a page of a
 * mapped file can't be stopped for garbage collection, so the server must not live in the same JVM.
 *
 * <p>Prints {@code ok NAME} or {@code failed NAME} with the reason for each case, then {@code N
 * cases, M failed}. On an ordinary file system all pass.
 */
public final class MountSuite {

  /** One case. */
  interface Body {
    void run(Path dir) throws Exception;
  }

  private final Map<String, Body> cases = new LinkedHashMap<>();

  private MountSuite() {
    contents();
    sizes();
    names();
    attributes();
    mappings();
    locks();
    ranges();
  }

  /** Arguments: a directory, then names of cases; none for all. */
  public static void main(String[] arguments) throws Exception {
    Path dir = Path.of(arguments[0]);
    Set<String> chosen = Set.of(Arrays.copyOfRange(arguments, 1, arguments.length));
    int run = 0;
    int failed = 0;
    for (Map.Entry<String, Body> each : new MountSuite().cases.entrySet()) {
      if (!chosen.isEmpty() && !chosen.contains(each.getKey())) {
        continue;
      }
      run++;
      Path own = Files.createDirectory(dir.resolve(each.getKey()));
      try {
        each.getValue().run(own);
        System.out.println("ok " + each.getKey());
      } catch (Exception | Error e) {
        failed++;
        StringWriter text = new StringWriter();
        e.printStackTrace(new PrintWriter(text));
        System.out.println("failed " + each.getKey() + ": " + text);
      }
    }
    System.out.println(run + " cases, " + failed + " failed");
  }

  private static byte[] random(int size, long seed) {
    byte[] bytes = new byte[size];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  private static BytePath bytePath(Path path) {
    return BytePath.of(path);
  }

  private static Errno errno(org.junit.jupiter.api.function.Executable call) {
    return assertThrows(ErrnoException.class, call).errno();
  }

  private void contents() {
    cases.put(
        "written is read",
        dir -> {
          for (int size : new int[] {0, 1, 4095, 4096, 4097, 131072, 3_000_001}) {
            Path file = dir.resolve("f" + size);
            Files.write(file, random(size, size));
            assertArrayEquals(random(size, size), Files.readAllBytes(file));
            assertEquals(size, Files.size(file));
          }
        });
    cases.put(
        "random reads and writes as in memory",
        dir -> {
          Random random = new Random(7);
          byte[] model = new byte[700_000];
          int size = 0;
          try (FileChannel file =
              FileChannel.open(
                  dir.resolve("f"),
                  StandardOpenOption.CREATE_NEW,
                  StandardOpenOption.READ,
                  StandardOpenOption.WRITE)) {
            for (int i = 0; i < 300; i++) {
              int at = random.nextInt(500_000);
              int length = 1 + random.nextInt(random.nextBoolean() ? 100 : 200_000);
              switch (random.nextInt(4)) {
                case 0, 1 -> {
                  byte[] bytes = random(length, i);
                  file.write(ByteBuffer.wrap(bytes), at);
                  System.arraycopy(bytes, 0, model, at, length);
                  size = Math.max(size, at + length);
                }
                case 2 -> {
                  ByteBuffer into = ByteBuffer.allocate(length);
                  int n = file.read(into, at);
                  assertEquals(at >= size ? -1 : Math.min(length, size - at), n);
                  if (n > 0) {
                    assertArrayEquals(
                        Arrays.copyOfRange(model, at, at + n), Arrays.copyOf(into.array(), n));
                  }
                }
                default -> {
                  if (at < size) {
                    file.truncate(at);
                    Arrays.fill(model, at, size, (byte) 0);
                    size = at;
                  }
                }
              }
              assertEquals(size, file.size());
            }
          }
          assertArrayEquals(Arrays.copyOf(model, size), Files.readAllBytes(dir.resolve("f")));
        });
    cases.put(
        "appends of two writers",
        dir -> {
          Path file = dir.resolve("f");
          try (FileChannel a = append(file);
              FileChannel b = append(file)) {
            for (int i = 0; i < 50; i++) {
              (i % 2 == 0 ? a : b).write(ByteBuffer.wrap(("line " + i + "\n").getBytes(UTF_8)));
            }
          }
          assertEquals(
              IntStream.range(0, 50).mapToObj(i -> "line " + i).toList(), Files.readAllLines(file));
        });
    cases.put(
        "a second descriptor sees what the first wrote",
        dir -> {
          Path file = Files.write(dir.resolve("f"), random(100_000, 1));
          try (FileChannel reader = FileChannel.open(file);
              FileChannel writer = FileChannel.open(file, StandardOpenOption.WRITE)) {
            for (int i = 0; i < 20; i++) {
              byte[] bytes = random(5000, i);
              writer.write(ByteBuffer.wrap(bytes), i * 4567L);
              ByteBuffer back = ByteBuffer.allocate(5000);
              assertEquals(5000, reader.read(back, i * 4567L));
              assertArrayEquals(bytes, back.array());
            }
          }
        });
    cases.put(
        "opened with truncation",
        dir -> {
          Path file = Files.write(dir.resolve("f"), random(100_000, 1));
          Files.write(file, new byte[] {1, 2});
          assertArrayEquals(new byte[] {1, 2}, Files.readAllBytes(file));
        });
    cases.put(
        "in use after unlink",
        dir -> {
          Path file = dir.resolve("f");
          try (FileChannel open =
              FileChannel.open(
                  file,
                  StandardOpenOption.CREATE_NEW,
                  StandardOpenOption.READ,
                  StandardOpenOption.WRITE)) {
            open.write(ByteBuffer.wrap(random(10_000, 1)), 0);
            Files.delete(file);
            assertFalse(Files.exists(file));
            open.write(ByteBuffer.wrap(random(10_000, 2)), 10_000);
            assertEquals(20_000, open.size());
            ByteBuffer back = ByteBuffer.allocate(20_000);
            assertEquals(20_000, open.read(back, 0));
            assertArrayEquals(random(10_000, 1), Arrays.copyOf(back.array(), 10_000));
            open.force(true);
            Files.write(file, new byte[] {9}); // another file of the same name
            assertEquals(20_000, open.size());
          }
          assertEquals(1, Files.size(file));
        });
    cases.put(
        "threads on files of their own",
        dir -> {
          try (ExecutorService pool = Executors.newFixedThreadPool(8)) {
            List<Future<?>> work = new ArrayList<>();
            for (int t = 0; t < 8; t++) {
              int id = t;
              work.add(
                  pool.submit(
                      () -> {
                        for (int i = 0; i < 25; i++) {
                          Path file = dir.resolve("t" + id + "-" + i);
                          Files.write(file, random(id * 1000 + i, i));
                          assertArrayEquals(random(id * 1000 + i, i), Files.readAllBytes(file));
                          if (i % 3 == 0) {
                            Files.delete(file);
                          }
                        }
                        return null;
                      }));
            }
            for (Future<?> each : work) {
              each.get();
            }
          }
          try (Stream<Path> left = Files.list(dir)) {
            assertEquals(8 * 16, left.count());
          }
        });
  }

  private static FileChannel append(Path file) throws IOException {
    return FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
  }

  private void sizes() {
    cases.put(
        "truncated and extended",
        dir -> {
          Path file = Files.write(dir.resolve("f"), random(10_000, 3));
          try (RandomAccessFile open = new RandomAccessFile(file.toFile(), "rw")) {
            open.setLength(5000);
            assertEquals(5000, Files.size(file));
            open.setLength(9000);
          }
          byte[] expected = Arrays.copyOf(Arrays.copyOf(random(10_000, 3), 5000), 9000);
          assertArrayEquals(expected, Files.readAllBytes(file));
          TestCalls.callInt("truncate", bytePath(file).bytes(), 10L);
          assertArrayEquals(Arrays.copyOf(expected, 10), Files.readAllBytes(file));
        });
    cases.put(
        "statfs",
        dir -> {
          assertTrue(Files.getFileStore(dir).getTotalSpace() > 0);
          assertTrue(Libc.statfs(bytePath(dir)).available() > 0);
        });
  }

  private void names() {
    cases.put(
        "many entries",
        dir -> {
          Set<String> names = new TreeSet<>();
          for (int i = 0; i < 2500; i++) {
            String name = "entry-with-a-name-of-some-length-" + i;
            Files.createFile(dir.resolve(name));
            names.add(name);
          }
          assertEquals(names, list(dir));
          for (int i = 0; i < 2500; i += 2) {
            String name = "entry-with-a-name-of-some-length-" + i;
            Files.delete(dir.resolve(name));
            names.remove(name);
          }
          assertEquals(names, list(dir));
          try (Stream<Path> all = Files.walk(dir)) {
            assertEquals(names.size() + 1, all.count());
          }
        });
    cases.put(
        "names of any bytes",
        dir -> {
          BytePath odd = bytePath(dir).resolve(new byte[] {'x', (byte) 0xff, '\n', 1});
          OpenFile.create(odd).close();
          byte[] longest = new byte[255];
          Arrays.fill(longest, (byte) 'n');
          OpenFile.create(bytePath(dir).resolve(longest)).close();
          List<byte[]> names = Libc.list(bytePath(dir));
          assertEquals(2, names.size());
          assertArrayEquals(longest, names.get(0));
          assertArrayEquals(odd.name(), names.get(1));
          byte[] longer = Arrays.copyOf(longest, 256);
          longer[255] = 'n';
          assertEquals(
              Errno.ENAMETOOLONG, errno(() -> OpenFile.create(bytePath(dir).resolve(longer))));
        });
    cases.put(
        "directories",
        dir -> {
          Path deep = Files.createDirectories(dir.resolve("a/b/c/d"));
          Files.writeString(deep.resolve("f"), "x");
          assertThrows(DirectoryNotEmptyException.class, () -> Files.delete(deep));
          assertThrows(
              FileAlreadyExistsException.class, () -> Files.createDirectory(dir.resolve("a")));
          Files.delete(deep.resolve("f"));
          Files.delete(deep);
          assertFalse(Files.exists(deep));
          assertEquals(Set.of(), list(dir.resolve("a/b/c")));
        });
    cases.put(
        "renamed",
        dir -> {
          Files.writeString(dir.resolve("a"), "a");
          Files.writeString(dir.resolve("b"), "b");
          Files.move(dir.resolve("a"), dir.resolve("b"), StandardCopyOption.ATOMIC_MOVE);
          assertEquals("a", Files.readString(dir.resolve("b")));
          assertFalse(Files.exists(dir.resolve("a")));
          Files.createDirectory(dir.resolve("d"));
          Files.move(dir.resolve("b"), dir.resolve("d/c"), StandardCopyOption.ATOMIC_MOVE);
          Files.move(dir.resolve("d"), dir.resolve("e"), StandardCopyOption.ATOMIC_MOVE);
          assertEquals("a", Files.readString(dir.resolve("e/c")));
          assertEquals(Set.of("e"), list(dir));
        });
    cases.put(
        "renamed with flags",
        dir -> {
          Files.writeString(dir.resolve("a"), "a");
          Files.writeString(dir.resolve("b"), "b");
          BytePath path = bytePath(dir);
          assertEquals(
              Errno.EEXIST,
              errno(() -> Libc.renameNoReplace(path.resolve("a"), path.resolve("b"))));
          int here = TestCalls.AT_FDCWD;
          byte[] a = path.resolve("a").bytes();
          byte[] b = path.resolve("b").bytes();
          TestCalls.callInt("renameat2", here, a, here, b, 2);
          assertEquals("b", Files.readString(dir.resolve("a")));
          assertEquals("a", Files.readString(dir.resolve("b")));
        });
    cases.put(
        "renamed while open",
        dir -> {
          Path file = Files.writeString(dir.resolve("a"), "first");
          Files.writeString(dir.resolve("b"), "other");
          try (FileChannel open = FileChannel.open(dir.resolve("b"), StandardOpenOption.READ);
              FileChannel moved = FileChannel.open(file, StandardOpenOption.WRITE)) {
            Files.move(file, dir.resolve("b"), StandardCopyOption.ATOMIC_MOVE);
            moved.write(ByteBuffer.wrap("FIRST".getBytes(UTF_8)), 0);
            ByteBuffer back = ByteBuffer.allocate(5);
            open.read(back, 0);
            assertEquals("other", new String(back.array(), UTF_8));
          }
          assertEquals("FIRST", Files.readString(dir.resolve("b")));
        });
    cases.put(
        "hard links",
        dir -> {
          Path a = Files.writeString(dir.resolve("a"), "one");
          Path b = Files.createLink(dir.resolve("b"), a);
          assertEquals(2, Files.getAttribute(a, "unix:nlink"));
          assertEquals(Files.getAttribute(a, "unix:ino"), Files.getAttribute(b, "unix:ino"));
          Files.writeString(b, "two and more");
          assertEquals("two and more", Files.readString(a));
          Files.delete(a);
          assertEquals("two and more", Files.readString(b));
          assertEquals(1, Files.getAttribute(b, "unix:nlink"));
        });
    cases.put(
        "symbolic links",
        dir -> {
          Path link = Files.createSymbolicLink(dir.resolve("l"), Path.of("target"));
          assertEquals(Path.of("target"), Files.readSymbolicLink(link));
          assertThrows(NoSuchFileException.class, () -> Files.readString(link));
          Files.writeString(dir.resolve("target"), "there");
          assertEquals("there", Files.readString(link));
          Files.delete(link);
          assertEquals("there", Files.readString(dir.resolve("target")));
        });
    cases.put(
        "what is not there",
        dir -> {
          Path gone = dir.resolve("g");
          for (int i = 0; i < 3; i++) {
            assertThrows(NoSuchFileException.class, () -> Files.size(gone));
            Files.createFile(gone);
            assertEquals(0, Files.size(gone));
            Files.delete(gone);
          }
          assertEquals(
              Errno.ENOTDIR,
              errno(
                  () -> {
                    Files.createFile(dir.resolve("file"));
                    Libc.lstat(bytePath(dir).resolve("file/below"));
                  }));
        });
    cases.put(
        "fifos and nodes",
        dir -> {
          Libc.mknod(bytePath(dir).resolve("p"), Stat.S_IFIFO | 0640, 0);
          assertEquals(Stat.S_IFIFO | 0640, Libc.lstat(bytePath(dir).resolve("p")).mode());
          Libc.mknod(bytePath(dir).resolve("c"), Stat.S_IFCHR | 0600, (1L << 32) | 3);
          assertEquals((1L << 32) | 3, Libc.lstat(bytePath(dir).resolve("c")).rdev());
        });
    cases.put(
        "a file without a name",
        dir -> {
          try (OpenFile file =
                  TestCalls.open(bytePath(dir), TestCalls.O_TMPFILE | TestCalls.O_RDWR, 0600);
              Arena arena = Arena.ofConfined()) {
            MemorySegment data = arena.allocate(1000).fill((byte) 5);
            file.write(data, 0);
            assertEquals(1000, file.stat().size());
            byte[] from = ("/proc/self/fd/" + file.fd()).getBytes(UTF_8);
            int here = TestCalls.AT_FDCWD;
            byte[] to = bytePath(dir).resolve("named").bytes();
            TestCalls.callInt("linkat", here, from, here, to, TestCalls.AT_SYMLINK_FOLLOW);
          }
          assertEquals(1000, Files.size(dir.resolve("named")));
        });
  }

  private static Set<String> list(Path dir) throws IOException {
    try (Stream<Path> all = Files.list(dir)) {
      return all.map(path -> path.getFileName().toString())
          .collect(Collectors.toCollection(TreeSet::new));
    }
  }

  private void attributes() {
    cases.put(
        "modes and owners",
        dir -> {
          Path file = Files.createFile(dir.resolve("f"));
          Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-x--x"));
          assertEquals(
              "rwxr-x--x", PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
          Libc.lchown(bytePath(file), 1234, 4321);
          Stat stat = Libc.lstat(bytePath(file));
          assertEquals(1234, stat.uid());
          assertEquals(4321, stat.gid());
          Files.setPosixFilePermissions(file, Set.of());
          assertEquals(Stat.S_IFREG, Libc.lstat(bytePath(file)).mode());
        });
    cases.put(
        "the umask",
        dir -> {
          int old = TestCalls.callInt("umask", 027);
          try {
            Libc.mkdir(bytePath(dir).resolve("d"), 0777);
            TestCalls.open(bytePath(dir).resolve("f"), TestCalls.O_CREAT | TestCalls.O_RDWR, 0666)
                .close();
          } finally {
            TestCalls.callInt("umask", old);
          }
          assertEquals(0750, Libc.lstat(bytePath(dir).resolve("d")).permissions());
          assertEquals(0640, Libc.lstat(bytePath(dir).resolve("f")).permissions());
        });
    cases.put(
        "times",
        dir -> {
          Path file = Files.createFile(dir.resolve("f"));
          Instant then = Instant.ofEpochSecond(1_000_000_000, 123_456_789);
          Files.setLastModifiedTime(file, FileTime.from(then));
          assertEquals(then, Files.getLastModifiedTime(file).toInstant());
          Files.setAttribute(file, "lastAccessTime", FileTime.from(then.minusSeconds(5)));
          assertEquals(
              FileTime.from(then.minusSeconds(5)), Files.getAttribute(file, "lastAccessTime"));
          assertEquals(then, Files.getLastModifiedTime(file).toInstant());
          Files.write(file, new byte[1]);
          assertTrue(Files.getLastModifiedTime(file).toInstant().isAfter(then));
        });
    cases.put(
        "extended attributes",
        dir -> {
          BytePath file = bytePath(Files.createFile(dir.resolve("f")));
          byte[] name = "user.color".getBytes(UTF_8);
          assertEquals(List.of(), Libc.listXattrs(file));
          assertEquals(Errno.ENODATA, errno(() -> Libc.getXattr(file, name)));
          Libc.setXattr(file, name, "blue".getBytes(UTF_8));
          Libc.setXattr(file, "user.empty".getBytes(UTF_8), new byte[0]);
          assertArrayEquals("blue".getBytes(UTF_8), Libc.getXattr(file, name));
          assertEquals(0, Libc.getXattr(file, "user.empty".getBytes(UTF_8)).length);
          assertEquals(2, Libc.listXattrs(file).size());
          try (Arena arena = Arena.ofConfined()) {
            MemorySegment room = arena.allocate(2);
            byte[] path = file.bytes();
            assertEquals(4, TestCalls.call("getxattr", path, name, room, 0));
            assertEquals(
                Errno.ERANGE, errno(() -> TestCalls.call("getxattr", path, name, room, 2)));
            assertEquals(
                Errno.EEXIST, errno(() -> TestCalls.callInt("setxattr", path, name, room, 2, 1)));
          }
          Libc.removeXattr(file, name);
          assertEquals(1, Libc.listXattrs(file).size());
          assertEquals(Errno.ENODATA, errno(() -> Libc.removeXattr(file, name)));
        });
  }

  private void mappings() {
    cases.put(
        "a private mapping",
        dir -> {
          Path file = Files.write(dir.resolve("f"), random(200_000, 1));
          try (FileChannel open = FileChannel.open(file)) {
            MappedByteBuffer map = open.map(FileChannel.MapMode.READ_ONLY, 0, 200_000);
            byte[] bytes = new byte[200_000];
            map.get(bytes);
            assertArrayEquals(random(200_000, 1), bytes);
          }
        });
    cases.put(
        "a shared mapping",
        dir -> {
          Path file = Files.write(dir.resolve("f"), new byte[100_000]);
          try (FileChannel open =
                  FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE);
              Arena arena = Arena.ofShared()) {
            MemorySegment map = open.map(FileChannel.MapMode.READ_WRITE, 0, 100_000, arena);
            map.set(JAVA_BYTE, 70_000, (byte) 42);
            ByteBuffer back = ByteBuffer.allocate(1);
            open.read(back, 70_000);
            assertEquals(42, back.get(0));
            open.write(ByteBuffer.wrap(new byte[] {17}), 99_999);
            assertEquals(17, map.get(JAVA_BYTE, 99_999));
            map.force();
          }
          byte[] all = Files.readAllBytes(file);
          assertEquals(42, all[70_000]);
          assertEquals(17, all[99_999]);
        });
  }

  private static long lock(OpenFile file, int command, int type, long start, long length)
      throws ErrnoException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment flock = arena.allocate(32, 8);
      flock.set(JAVA_SHORT, 0, (short) type);
      flock.set(JAVA_SHORT, 2, (short) 0);
      flock.set(JAVA_LONG, 8, start);
      flock.set(JAVA_LONG, 16, length);
      flock.set(JAVA_INT, 24, 0);
      TestCalls.callInt("fcntl", file.fd(), command, flock);
      return flock.get(JAVA_SHORT, 0);
    }
  }

  private void locks() {
    int getlk = 36; // of open files: F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW
    int setlk = 37;
    int setlkw = 38;
    int read = 0;
    int write = 1;
    int unlock = 2;
    cases.put(
        "locks of ranges",
        dir -> {
          BytePath path = bytePath(Files.write(dir.resolve("f"), new byte[100]));
          try (OpenFile a = TestCalls.open(path, TestCalls.O_RDWR, 0);
              OpenFile b = TestCalls.open(path, TestCalls.O_RDWR, 0)) {
            lock(a, setlk, write, 10, 10);
            assertEquals(write, lock(b, getlk, read, 15, 1));
            assertEquals(unlock, lock(b, getlk, read, 20, 5));
            assertEquals(Errno.EAGAIN, errno(() -> lock(b, setlk, read, 0, 0)));
            lock(b, setlk, write, 20, 0);
            lock(a, setlk, unlock, 12, 4);
            lock(b, setlk, write, 12, 4);
            assertEquals(Errno.EAGAIN, errno(() -> lock(b, setlk, write, 16, 1)));
          }
        });
    cases.put(
        "a lock that is waited for",
        dir -> {
          BytePath path = bytePath(Files.write(dir.resolve("f"), new byte[100]));
          try (OpenFile a = TestCalls.open(path, TestCalls.O_RDWR, 0);
              ExecutorService pool = Executors.newFixedThreadPool(8)) {
            lock(a, setlk, write, 0, 0);
            List<Future<?>> waiting = new ArrayList<>();
            for (int i = 0; i < 8; i++) { // more than there are readers
              waiting.add(
                  pool.submit(
                      () -> {
                        try (OpenFile b = TestCalls.open(path, TestCalls.O_RDWR, 0)) {
                          lock(b, setlkw, write, 0, 0);
                        }
                        return null;
                      }));
            }
            for (int i = 0; i < 20; i++) {
              Files.write(dir.resolve("meanwhile"), new byte[i]);
            }
            lock(a, setlk, unlock, 0, 0);
            for (Future<?> each : waiting) {
              each.get();
            }
          }
        });
    cases.put(
        "flock",
        dir -> {
          BytePath path = bytePath(Files.createFile(dir.resolve("f")));
          OpenFile a = TestCalls.open(path, TestCalls.O_RDWR, 0);
          try (OpenFile b = TestCalls.open(path, TestCalls.O_RDWR, 0)) {
            assertTrue(a.tryLock());
            assertFalse(b.tryLock());
            Process flock =
                new ProcessBuilder("flock", path.toString(), "true")
                    .redirectErrorStream(true)
                    .start();
            a.close();
            assertEquals(0, flock.waitFor());
            assertEquals(0, TestCalls.callInt("flock", b.fd(), 2)); // waits, not interrupted
          }
        });
    cases.put(
        "locks of a process end when it closes",
        dir -> {
          Path file = Files.write(dir.resolve("f"), new byte[10]);
          BytePath path = bytePath(file);
          try (OpenFile other = TestCalls.open(path, TestCalls.O_RDWR, 0)) {
            try (FileChannel mine =
                FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
              mine.lock();
              assertEquals(Errno.EAGAIN, errno(() -> lock(other, setlk, write, 0, 0)));
            }
            lock(other, setlk, write, 0, 0);
          }
        });
  }

  private void ranges() {
    cases.put(
        "allocated and punched",
        dir -> {
          Path path = Files.write(dir.resolve("f"), random(100_000, 4));
          try (OpenFile file = TestCalls.open(bytePath(path), TestCalls.O_RDWR, 0)) {
            TestCalls.callInt("fallocate", file.fd(), 0, 0L, 150_000L);
            assertEquals(150_000, Files.size(path));
            TestCalls.callInt("fallocate", file.fd(), 1, 150_000L, 50_000L);
            assertEquals(150_000, Files.size(path));
            file.punch(8192, 40_000);
          }
          byte[] expected = Arrays.copyOf(random(100_000, 4), 150_000);
          Arrays.fill(expected, 8192, 48_192, (byte) 0);
          assertArrayEquals(expected, Files.readAllBytes(path));
        });
    cases.put(
        "holes are found",
        dir -> {
          BytePath path = bytePath(dir).resolve("sparse");
          try (OpenFile file = OpenFile.create(path);
              Arena arena = Arena.ofConfined()) {
            file.write(arena.allocate(65536).fill((byte) 1), 1 << 20);
            file.truncate(4 << 20);
            file.sync();
            assertEquals(1 << 20, file.nextData(0));
            assertEquals((1 << 20) + 65536, file.nextHole(1 << 20));
            assertEquals(-1, file.nextData(2 << 20));
          }
        });
    cases.put(
        "copied in the kernel",
        dir -> {
          Path from = Files.write(dir.resolve("a"), random(300_000, 5));
          try (OpenFile a = TestCalls.open(bytePath(from), TestCalls.O_RDWR, 0);
              OpenFile b = OpenFile.create(bytePath(dir).resolve("b"));
              Arena arena = Arena.ofConfined()) {
            MemorySegment at = arena.allocate(8, 8);
            MemorySegment to = arena.allocate(8, 8);
            at.set(JAVA_LONG, 0, 1000);
            to.set(JAVA_LONG, 0, 0);
            long left = 200_000;
            while (left > 0) {
              long n = TestCalls.call("copy_file_range", a.fd(), at, b.fd(), to, left, 0);
              assertTrue(n > 0);
              left -= n;
            }
          }
          assertArrayEquals(
              Arrays.copyOfRange(random(300_000, 5), 1000, 201_000),
              Files.readAllBytes(dir.resolve("b")));
        });
    cases.put(
        "synced",
        dir -> {
          try (OpenFile file = OpenFile.create(bytePath(dir).resolve("f"));
              Arena arena = Arena.ofConfined()) {
            file.write(arena.allocate(10), 0);
            file.sync();
            TestCalls.callInt("fdatasync", file.fd());
            file.syncFileSystem();
          }
          try (OpenFile directory = OpenFile.directory(bytePath(dir))) {
            directory.sync();
          }
        });
  }
}
