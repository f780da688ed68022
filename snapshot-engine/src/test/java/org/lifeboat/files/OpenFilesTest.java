package org.lifeboat.files;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Libc;

/** What real processes hold. */
class OpenFilesTest {

  @TempDir Path temp;
  private final List<Process> children = new ArrayList<>();
  private Task task;
  private Path outside;

  @BeforeEach
  void setUp() throws Exception {
    task = new Task(temp);
    outside = Files.createDirectories(temp.resolve("outside/deep")).toRealPath();
  }

  @AfterEach
  void tearDown() throws Exception {
    for (Process child : children) {
      child.destroyForcibly();
      child.waitFor(10, TimeUnit.SECONDS);
    }
  }

  private int start(String... command) throws Exception {
    Process child =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    children.add(child);
    return (int) child.pid();
  }

  /** Runs a script, which is done when it prints a line, and then waits. */
  private int python(String script, String... args) throws Exception {
    List<String> command =
        new ArrayList<>(
            List.of(
                "python3",
                "-c",
                script + "\nprint('up', flush=True)\nimport time\ntime.sleep(600)"));
    command.addAll(List.of(args));
    Process child =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    children.add(child);
    BufferedReader out = child.inputReader(StandardCharsets.UTF_8);
    assertEquals("up", out.readLine());
    return (int) child.pid();
  }

  private static Map<BytePath, Entry> entries(CaptureResult captured) throws Exception {
    Map<BytePath, Entry> entries = new HashMap<>();
    for (Entry entry : Manifest.load(captured.manifest()).entries()) {
      entries.put(entry.path(), entry);
    }
    return entries;
  }

  private BytePath out(String name) {
    return BytePath.of(outside.resolve(name));
  }

  @Test
  void openAndMappedFilesOutsideOfTheScope() throws Exception {
    Files.writeString(outside.resolve("read"), "read me");
    Files.writeString(outside.resolve("mapped"), "mapped, then closed");
    Files.writeString(outside.resolve("shared"), "0123456789");
    Files.writeString(outside.resolve("not open"), "not open");
    Files.writeString(outside.resolve("a (deleted)"), "so it is called");
    Files.writeString(task.temp.resolve("home/work/input"), "unchanged but open");
    Files.writeString(task.temp.resolve("home/work/closed"), "unchanged and closed");
    task.start();
    int pid =
        python(
            """
            import os, sys, mmap, socket
            d, w = sys.argv[1], sys.argv[2]
            os.chdir(d + '/..')
            r = open(d + '/read')
            i = open(w + '/input')
            x = open(d + '/a (deleted)')
            n = open(d + '/new', 'w'); n.write('written'); n.flush()
            m = open(d + '/mapped', 'rb'); mm = mmap.mmap(m.fileno(), 0, access=mmap.ACCESS_READ); m.close()
            s = open(d + '/shared', 'r+b'); sm = mmap.mmap(s.fileno(), 0); s.close(); sm[0:2] = b'XX'
            os.makedirs(d + '/gone/here')
            g = open(d + '/gone/here/ghost', 'w'); g.write('ghost'); os.unlink(d + '/gone/here/ghost')
            os.mkfifo(d + '/fifo'); f = os.open(d + '/fifo', os.O_RDWR)
            u = socket.socket(socket.AF_UNIX); u.bind(d + '/socket'); u.listen()
            v = socket.socket(socket.AF_UNIX); v.bind(w + '/socket'); v.listen()
            dfd = os.open(d + '/gone', os.O_RDONLY)
            """,
            outside.toString(),
            task.work.toString());
    CaptureResult captured = task.capture("m", pid);
    assertEquals(List.of(), captured.warnings());
    Map<BytePath, Entry> entries = entries(captured);
    assertEquals(7, assertInstanceOf(Entry.RegularFile.class, entries.get(out("read"))).size());
    assertFalse(((Entry.RegularFile) entries.get(out("read"))).writable());
    assertTrue(((Entry.RegularFile) entries.get(out("new"))).writable());
    assertTrue(((Entry.RegularFile) entries.get(out("shared"))).writable());
    assertNotNull(entries.get(out("mapped")));
    assertNotNull(entries.get(out("a (deleted)")));
    assertNull(entries.get(out("not open")));
    assertNull(entries.get(out("gone/here/ghost")));
    assertInstanceOf(Entry.Directory.class, entries.get(out("gone/here")));
    assertInstanceOf(Entry.Directory.class, entries.get(out("gone")));
    assertInstanceOf(Entry.Directory.class, entries.get(BytePath.of(outside.getParent())));
    assertInstanceOf(Entry.Node.class, entries.get(out("fifo")));
    assertInstanceOf(Entry.Socket.class, entries.get(out("socket")));
    assertInstanceOf(Entry.Socket.class, entries.get(task.work.resolve("socket")));
    assertInstanceOf(Entry.RegularFile.class, entries.get(task.work.resolve("input")));
    assertNull(entries.get(task.work.resolve("closed")));
    assertTrue(
        entries.keySet().stream().noneMatch(p -> p.toString().startsWith("/usr")),
        "the machine image is not captured");

    BytePath empty = task.empty("empty");
    RollBackPlan done = task.rollBack(captured, empty).apply();
    assertEquals(1, done.missing());
    assertTrue(done.warnings().getFirst().contains("work/closed"), done.warnings().toString());
    Path there = Path.of(empty.rebase(BytePath.of(outside)).toString());
    assertEquals("XX23456789", Files.readString(there.resolve("shared")));
    assertEquals("written", Files.readString(there.resolve("new")));
    assertTrue(Files.isDirectory(there.resolve("gone/here")));
    assertFalse(Files.exists(there.resolve("socket")));
  }

  @Test
  void anExecutableThatIsNotOfTheImage() throws Exception {
    Path home = Files.createTempDirectory(Path.of("/root"), "lifeboat-test");
    try {
      Path sleep = home.resolve("sleep");
      Files.copy(Path.of("/bin/sleep").toRealPath(), sleep, StandardCopyOption.COPY_ATTRIBUTES);
      task.start();
      int pid = start(sleep.toString(), "600");
      while (!Libc.realpath(BytePath.of("/proc/" + pid + "/exe")).equals(BytePath.of(sleep))) {
        Thread.onSpinWait();
      }
      Map<BytePath, Entry> entries = entries(task.capture("m", pid));
      Entry.RegularFile file =
          assertInstanceOf(Entry.RegularFile.class, entries.get(BytePath.of(sleep)));
      assertEquals(Files.size(sleep), file.size());
      assertFalse(file.scoped());
    } finally {
      Files.deleteIfExists(home.resolve("sleep"));
      Files.delete(home);
    }
  }

  @Test
  void aFileOfTheImageThatWasChangedSinceTheStart() throws Exception {
    Path library = Files.createTempFile(Path.of("/opt"), "lifeboat", ".so");
    try {
      Files.writeString(library, "installed by the task");
      task.baseline =
          Baseline.scan(
              task.scope, temp.resolve("b"), Task.at(Libc.lstat(BytePath.of(library)).ctime()));
      int pid = python("import sys\nf = open(sys.argv[1])", library.toString());
      assertNotNull(entries(task.capture("m1", pid)).get(BytePath.of(library)));
      task.start();
      assertNull(entries(task.capture("m2", pid)).get(BytePath.of(library)));
    } finally {
      Files.delete(library);
    }
  }

  @Test
  void whatIsOursIsNotCapturedAndSaidSo() throws Exception {
    task.start();
    Path log = task.temp.resolve("home/work/.command.log");
    int pid = python("import sys\nf = open(sys.argv[1], 'w')", log.toString());
    CaptureResult captured = task.capture("m", pid);
    assertNull(entries(captured).get(BytePath.of(log)));
    assertEquals(1, captured.warnings().size());
    assertTrue(captured.warnings().getFirst().contains(".command.log"));
  }

  @Test
  void aProcessThatIsGone() throws Exception {
    task.start();
    FilesException gone = assertThrows(FilesException.class, () -> task.capture("m", 4_000_000));
    assertTrue(gone.getMessage().contains("4000000"), gone.getMessage());
    assertFalse(Files.exists(temp.resolve("m")));
  }
}
