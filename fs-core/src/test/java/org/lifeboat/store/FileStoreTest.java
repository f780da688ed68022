package org.lifeboat.store;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.MultipartUpload.Part;
import org.lifeboat.store.StoreException.Kind;

/** What {@code file://} promises beyond the contract. */
final class FileStoreTest {

  @TempDir private Path directory;
  private final TestData data = new TestData("FileStoreTest");
  private Path root;
  private StoreUrl url;
  private FileStore store;

  @BeforeEach
  void open() {
    root = directory.resolve("deep/store");
    url = StoreUrl.parse("file://" + root);
    store = new FileStore(url);
  }

  private static ByteBuffer text(String text) {
    return ByteBuffer.wrap(text.getBytes(UTF_8));
  }

  private static StoreException failure(Executable call) {
    return assertThrows(StoreException.class, call);
  }

  private static String mode(Path path) throws Exception {
    return PosixFilePermissions.toString(Files.getPosixFilePermissions(path));
  }

  @Test
  void objects_are_plain_private_files() throws Exception {
    assertFalse(Files.exists(root.getParent()), "nothing is made before the first write");
    store.put("a/b/c", text("content"), Precondition.NONE);
    assertEquals("content", Files.readString(root.resolve("a/b/c")));
    try (Stream<Path> all = Files.walk(root.getParent())) {
      for (Path path : all.toList()) {
        assertEquals(Files.isDirectory(path) ? "rwx------" : "rw-------", mode(path), path + "");
      }
    }
    Files.writeString(root.resolve("a/foreign"), "by hand");
    assertEquals("by hand", Blob.read(store, "a/foreign", 100).orElseThrow().text());
    assertEquals(2, store.list("a/", "").objects().size());
    Files.createSymbolicLink(root.resolve("a/link"), root.resolve("a/foreign"));
    assertEquals(Optional.empty(), store.head("a/link"));
    assertEquals(2, store.list("", "").objects().size());
  }

  @Test
  void directories_go_with_their_last_object() throws Exception {
    store.put("a/b/c/d", text("x"), Precondition.NONE);
    store.put("a/e", text("x"), Precondition.NONE);
    store.delete("a/b/c/d");
    assertFalse(Files.exists(root.resolve("a/b")));
    assertTrue(Files.exists(root.resolve("a/e")));
    store.delete("a/e");
    assertFalse(Files.exists(root.resolve("a")));
    assertTrue(Files.isDirectory(root));
  }

  @Test
  void only_what_has_an_object_is_in_a_directory() throws Exception {
    store.put("a/b", text("x"), Precondition.NONE);
    Files.createDirectories(root.resolve("empty/more/and/more"));
    Files.createDirectories(root.resolve("deep/more/and/more"));
    Files.writeString(root.resolve("deep/more/and/object"), "x");
    Files.createDirectories(root.resolve("links"));
    Files.createSymbolicLink(root.resolve("links/link"), root.resolve("a/b"));
    Files.createSymbolicLink(root.resolve("link"), root.resolve("a"));
    assertEquals(List.of("a/", "deep/"), entries(store, ""));
    assertEquals(List.of(), entries(store, "empty/"));
    assertEquals(List.of(), entries(store, "links/"));
    assertEquals(Kind.INVALID, failure(() -> store.listDirectory(".lifeboat-store/", "")).kind());
    FileStore small = new FileStore(url, Instant::now, 300);
    for (int i = 0; i < 1000; i++) { // of which more than a page is nothing
      Files.createDirectories(root.resolve("void/" + i));
    }
    Files.writeString(root.resolve("void/x"), "x");
    assertEquals(List.of("void/x"), entries(small, "void/"));
  }

  private static List<String> entries(ObjectStore store, String directory) throws Exception {
    List<String> keys = new ArrayList<>();
    ObjectStore.DirectoryPage page;
    do {
      page = store.listDirectory(directory, keys.isEmpty() ? "" : keys.getLast());
      page.entries().forEach(entry -> keys.add(entry.key()));
    } while (page.more());
    return keys;
  }

  /** Names of few characters around the slash, so that many are the beginnings of others. */
  @Test
  void directories_of_random_names_are_listed_whole_and_in_order() throws Exception {
    FileStore small = new FileStore(url, Instant::now, 300);
    for (int round = 0; round < 3; round++) {
      TreeSet<String> expected = new TreeSet<>(Keys::compare);
      for (int i = 0; i < 2_000; i++) {
        StringBuilder name = new StringBuilder(round + "/");
        for (int length = data.random().nextInt(1, 9); length > 0; length--) {
          name.append("a-.0".charAt(data.random().nextInt(4)));
        }
        Path path = root.resolve(name.toString());
        if (name.toString().matches(".*/\\.\\.?") || Files.exists(path)) {
          continue;
        }
        boolean folder = data.random().nextBoolean();
        Files.createDirectories(folder ? path : path.getParent());
        Files.writeString(folder ? path.resolve("x") : path, "x");
        expected.add(folder ? name + "/" : name.toString());
      }
      assertEquals(List.copyOf(expected), entries(small, round + "/"));
      assertEquals(List.copyOf(expected), entries(store, round + "/"));
    }
  }

  @Test
  void a_version_never_comes_back() throws Exception {
    Instant[] now = {Instant.parse("2026-01-01T00:00:00Z")};
    FileStore clocked = new FileStore(url, () -> now[0]);
    Set<String> versions = new HashSet<>();
    for (int i = 0; i < 50; i++) { // within one tick, of one size; inode numbers are used again
      assertTrue(versions.add(clocked.put("v", text("x"), Precondition.NONE).version()));
    }
    now[0] = Instant.parse("2020-01-01T00:00:00Z");
    for (int i = 0; i < 50; i++) { // the clock was set back
      assertTrue(versions.add(clocked.put("v", text("x"), Precondition.NONE).version()));
    }
    String last = clocked.head("v").orElseThrow().version();
    assertEquals(last, new FileStore(url).head("v").orElseThrow().version());
    Files.writeString(root.resolve("v"), "y");
    assertNotEquals(last, clocked.head("v").orElseThrow().version(), "edited by hand");
    assertEquals(
        Kind.PRECONDITION_FAILED,
        failure(() -> clocked.put("v", text("z"), Precondition.matches(last))).kind());
  }

  @Test
  void what_a_directory_cannot_hold_is_said_in_words() throws Exception {
    store.put("a/b", text("x"), Precondition.NONE);
    StoreException above = failure(() -> store.put("a", text("x"), Precondition.NONE));
    assertEquals(Kind.INVALID, above.kind());
    assertTrue(above.getMessage().endsWith("(a store never holds both a and a/b)"));
    StoreException below = failure(() -> store.put("a/b/c", text("x"), Precondition.NONE));
    assertEquals(Kind.INVALID, below.kind());
    String name = "n".repeat(256);
    StoreException name256 = failure(() -> store.put("a/" + name, text("x"), Precondition.NONE));
    assertEquals(Kind.INVALID, name256.kind());
    assertTrue(name256.getMessage().contains("more than 255 bytes"), name256.getMessage());
    store.put("a/" + "n".repeat(255), text("x"), Precondition.NONE);
    assertEquals(
        Kind.INVALID,
        failure(() -> store.put(".lifeboat-store/lock", text("x"), Precondition.NONE)).kind());
    assertEquals(List.of(), FileStore.children(root.resolve(".lifeboat-store/tmp")));
  }

  @Test
  void a_file_is_no_store() throws Exception {
    Files.createDirectories(root.getParent());
    Files.writeString(root, "not a directory");
    for (Executable call :
        List.<Executable>of(
            () -> store.head("a"),
            () -> store.get("a", 0, ByteBuffer.allocate(1)),
            () -> store.put("a", text("x"), Precondition.NONE),
            () -> store.list("", ""),
            () -> store.listDirectory("", ""),
            () -> store.delete("a"),
            () -> store.upload("a"))) {
      StoreException e = failure(call);
      assertEquals(Kind.NO_STORE, e.kind());
      assertTrue(e.getMessage().contains(root + " is not a directory"), e.getMessage());
    }
  }

  @Test
  void a_full_or_read_only_file_system_is_said_in_words() throws Exception {
    Files.createDirectories(root);
    String full = inMount("mount -t tmpfs -o size=1m tmpfs " + root, 2 << 20);
    assertTrue(full.startsWith("NO_SPACE put file://" + root + "/a: "), full);
    String readOnly =
        inMount("mount -t tmpfs tmpfs " + root + " && mount -o remount,ro " + root, 10);
    assertTrue(readOnly.startsWith("DENIED put file://" + root + "/a: "), readOnly);
    assertTrue(readOnly.contains("mount it read-write"), readOnly);
    assertEquals("done", inMount("mount -t tmpfs -o size=1m tmpfs " + root, 10));
  }

  private String inMount(String mount, int bytes) throws Exception {
    Process process =
        FileStoreProcess.command(
                List.of("unshare", "-rm", "sh", "-c", mount + " && exec \"$@\"", "sh"),
                "put",
                root.toString(),
                Integer.toString(bytes))
            .start();
    try (BufferedReader output = process.inputReader()) {
      String line = output.readLine();
      assertEquals(0, process.waitFor());
      return line;
    }
  }

  @Test
  void conditional_writes_of_processes_never_get_lost() throws Exception {
    int processes = 3;
    int times = 60;
    store.put("counter", text("0"), Precondition.ABSENT);
    List<Process> all = new ArrayList<>();
    for (int i = 0; i < processes; i++) {
      all.add(
          FileStoreProcess.command(
                  List.of(), "count", root.toString(), "counter", Integer.toString(times))
              .start());
    }
    List<BufferedReader> outputs = all.stream().map(Process::inputReader).toList();
    for (BufferedReader output : outputs) {
      assertEquals("ready", output.readLine());
    }
    for (Process process : all) {
      process.getOutputStream().close();
    }
    for (Process process : all) {
      assertEquals(0, process.waitFor());
    }
    assertEquals(
        Integer.toString(processes * times), Blob.read(store, "counter", 100).orElseThrow().text());
  }

  @Test
  void a_killed_writer_leaves_whole_objects_and_an_upload_to_take_up() throws Exception {
    Process writer = FileStoreProcess.command(List.of(), "write", root.toString()).start();
    String id;
    try (BufferedReader output = writer.inputReader()) {
      id = output.readLine();
      String line = output.readLine();
      while (line != null && !line.equals("round 9")) {
        line = output.readLine();
      }
      assertEquals("round 9", line);
    } finally {
      writer.destroyForcibly().waitFor();
    }
    ByteBuffer object = ByteBuffer.allocateDirect(FileUpload.MIN_PART);
    assertEquals(FileUpload.MIN_PART, store.get("object", 0, object).size());
    assertOneValue(object.flip());
    assertEquals(1, store.list("", "").objects().size());
    MultipartUpload upload = store.resume("upload", id);
    assertEquals(List.of(1, 2, 3), upload.parts().stream().map(Part::number).toList());
    upload.complete(Precondition.ABSENT);
    for (int part = 0; part < 3; part++) {
      ByteBuffer bytes = ByteBuffer.allocateDirect(FileUpload.MIN_PART);
      store.get("upload", (long) part * FileUpload.MIN_PART, bytes);
      assertOneValue(bytes.flip());
    }
  }

  private static void assertOneValue(ByteBuffer bytes) {
    for (int i = 0; i < bytes.limit(); i++) {
      assertEquals(bytes.get(0), bytes.get(i), "torn at " + i);
    }
  }

  @Test
  void leftovers_are_invisible_and_go_by_age() throws Exception {
    store.put("a", text("x"), Precondition.NONE);
    Path temporary = root.resolve(".lifeboat-store/tmp");
    Path old = Files.writeString(temporary.resolve("old"), "x");
    Path young = Files.writeString(temporary.resolve("young"), "x");
    MultipartUpload stale = store.upload("stale");
    stale.part(1, data.bytes(10));
    MultipartUpload fresh = store.upload("fresh");
    Path staleDirectory = root.resolve(".lifeboat-store/uploads/" + stale.id());
    Instant now = Instant.now();
    Files.setLastModifiedTime(old, FileTime.from(now.minusSeconds(86_400 + 60)));
    Files.setLastModifiedTime(young, FileTime.from(now.minusSeconds(86_400 - 60)));
    Files.setLastModifiedTime(staleDirectory, FileTime.from(now.minusSeconds(7 * 86_400 + 60)));
    assertEquals(1, store.list("", "").objects().size());
    assertEquals(0, store.list(".", "").objects().size());
    store.put("b", text("x"), Precondition.NONE);
    assertTrue(Files.exists(old), "once per store");
    new FileStore(url, () -> now).put("c", text("x"), Precondition.NONE);
    assertFalse(Files.exists(old));
    assertTrue(Files.exists(young));
    assertFalse(Files.exists(staleDirectory));
    assertEquals(Kind.NOT_FOUND, failure(stale::parts).kind());
    assertEquals(List.of(), fresh.parts());
  }

  @Test
  void equal_parts_are_written_once() throws Exception {
    MultipartUpload upload = store.upload("big");
    Path uploadDirectory = root.resolve(".lifeboat-store/uploads/" + upload.id());
    ByteBuffer one = data.bytes(FileUpload.MIN_PART);
    ByteBuffer two = data.bytes(FileUpload.MIN_PART);
    ByteBuffer three = data.bytes(1000);
    upload.part(2, data.bytes(FileUpload.MIN_PART));
    upload.part(3, three);
    upload.part(1, one);
    upload.part(2, two);
    Object inode = Files.getAttribute(uploadDirectory.resolve("data"), "unix:ino");
    upload.complete(Precondition.ABSENT);
    assertEquals(inode, Files.getAttribute(root.resolve("big"), "unix:ino"));
    ByteBuffer whole = TestData.join(one, two, three);
    ByteBuffer read = ByteBuffer.allocateDirect(whole.remaining());
    store.get("big", 0, read);
    assertEquals(whole, read.flip());
    assertFalse(Files.exists(uploadDirectory));
  }

  @Test
  void parts_of_another_boot_count_when_their_bytes_are_there() throws Exception {
    MultipartUpload upload = store.upload("rebooted");
    Path uploadDirectory = root.resolve(".lifeboat-store/uploads/" + upload.id());
    for (int number = 1; number <= 3; number++) {
      upload.part(number, data.bytes(FileUpload.MIN_PART));
      Path record = uploadDirectory.resolve("part." + number);
      String line = Files.readString(record);
      Files.writeString(record, line.substring(0, line.lastIndexOf(' ') + 1) + "another-boot");
    }
    byte[] file = Files.readAllBytes(uploadDirectory.resolve("data"));
    file[FileUpload.MIN_PART + 77] ^= 1;
    Files.write(uploadDirectory.resolve("data"), file);
    Files.writeString(uploadDirectory.resolve("part.3"), "");
    MultipartUpload resumed = new FileStore(url).resume("rebooted", upload.id());
    assertEquals(List.of(1), resumed.parts().stream().map(Part::number).toList());
  }

  /** A process that was stopped in the middle of a change. */
  @Test
  void aLockThatNobodyGivesBackIsAnError() throws Exception {
    Path lock = Files.createFile(directory.resolve("lock"));
    Process holder =
        new ProcessBuilder(
                "python3",
                "-c",
                "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX);"
                    + " print('held', flush=True); sys.stdin.read()",
                lock.toString())
            .start();
    try {
      assertEquals("held", holder.inputReader().readLine());
      java.nio.file.FileSystemException e =
          assertThrows(
              java.nio.file.FileSystemException.class,
              () -> StoreLock.acquire(lock, java.time.Duration.ofMillis(50)));
      assertTrue(e.getMessage().contains(lock + ": "), e.getMessage());
      assertTrue(e.getMessage().contains(StoreLock.STUCK), e.getMessage());
      Thread.currentThread().interrupt();
      assertThrows(
          java.nio.channels.FileLockInterruptionException.class, () -> StoreLock.acquire(lock));
      assertTrue(Thread.interrupted());
    } finally {
      holder.destroyForcibly().waitFor();
    }
    StoreLock.acquire(lock).close();
  }
}
