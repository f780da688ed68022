package org.lifeboat.fuse;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.Libc;
import org.lifeboat.vfs.Capability;
import org.lifeboat.vfs.Opened;
import org.lifeboat.vfs.VfsException;

/**
 * Mounts for real: needs root and /dev/fuse. What maps files runs in processes of its own (see
 * {@link MountSuite}).
 */
class FuseServerTest {

  private static final FuseServer.Gauges NOTHING = new FuseServer.Gauges(0, 0, 0, 0, 0);

  @TempDir Path temp;
  private Path backing;
  private Path mountPoint;
  private FuseServer server;
  private LoopbackOperations operations;
  private final List<Process> processes = new ArrayList<>();

  @BeforeEach
  void setUp() throws IOException {
    backing = Files.createTempDirectory(Path.of("/dev/shm"), "lifeboat-fuse");
    mountPoint = Files.createDirectory(temp.resolve("mount point"));
  }

  @AfterEach
  void tearDown() throws Exception {
    for (Process process : processes) {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
    if (FuseMount.isMounted(BytePath.of(mountPoint))) {
      Libc.unmount(BytePath.of(mountPoint), Libc.MNT_DETACH | Libc.MNT_FORCE);
    }
    for (Process process : processes) {
      process.waitFor();
    }
    try (Stream<Path> files = Files.walk(backing)) {
      for (Path path : files.sorted((a, b) -> b.compareTo(a)).toList()) {
        Files.delete(path);
      }
    }
  }

  private void mount(Opened.Mode mode, Capability... capabilities) throws Exception {
    server = new FuseServer();
    Set<Capability> wanted = EnumSet.noneOf(Capability.class);
    wanted.addAll(List.of(capabilities));
    operations = new LoopbackOperations(BytePath.of(backing), server.waits(), wanted, 1);
    operations.mode = mode;
    server.mount(BytePath.of(mountPoint), "test", operations, Optional.of(temp.resolve("record")));
  }

  private void unmount() throws Exception {
    server.unmount();
    assertEquals(NOTHING, server.gauges());
    assertEquals(1, operations.destroyed.get());
    assertFalse(Files.exists(temp.resolve("record")));
    assertFalse(FuseMount.isMounted(BytePath.of(mountPoint)));
  }

  private Process start(List<String> command) throws IOException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    processes.add(process);
    return process;
  }

  private Process start(String... command) throws IOException {
    return start(List.of(command));
  }

  /** Runs to its end; what it printed. */
  private String run(int exit, String... command) throws Exception {
    Process process = start(command);
    String output = new String(process.getInputStream().readAllBytes(), UTF_8);
    assertEquals(exit, process.waitFor(), output);
    return output;
  }

  enum Variant {
    /** No mount at all: what the suite asks for is what an ordinary file system does. */
    NATIVE,
    PLAIN,
    DIRECT,
    WRITEBACK,
    PASSTHROUGH,
    REMOTE_LOCKS
  }

  @ParameterizedTest
  @EnumSource
  void suite(Variant variant) throws Exception {
    switch (variant) {
      case NATIVE -> {}
      case PLAIN -> mount(Opened.Mode.KEEP_CACHE);
      case DIRECT -> mount(Opened.Mode.DIRECT, Capability.DIRECT_MMAP, Capability.ATOMIC_TRUNCATE);
      case WRITEBACK -> mount(Opened.Mode.KEEP_CACHE, Capability.WRITEBACK_CACHE);
      case PASSTHROUGH -> mount(Opened.Mode.PASSTHROUGH, Capability.PASSTHROUGH);
      case REMOTE_LOCKS ->
          mount(Opened.Mode.CACHED, Capability.POSIX_LOCKS, Capability.FLOCK_LOCKS);
    }
    Path where = variant == Variant.NATIVE ? backing : mountPoint;
    Process suite = start(FuseProcess.java(MountSuite.class, where.toString()));
    String output = new String(suite.getInputStream().readAllBytes(), UTF_8);
    assertEquals(0, suite.waitFor(), output);
    System.out.printf(
        "%s: %s%n", variant, output.strip().lines().reduce((a, b) -> b).orElseThrow());
    assertTrue(output.matches("(?s).*\\n[1-9]\\d* cases, 0 failed\\s*"), output);
    if (variant == Variant.PASSTHROUGH) {
      assertEquals(0, operations.reads.get());
      assertEquals(0, operations.writes.get());
    }
    if (variant != Variant.NATIVE) {
      unmount();
    }
  }

  @Test
  void slowRequestsHoldNobodyUp() throws Exception {
    int slow = 3 * Readers.AT_REST;
    mount(Opened.Mode.KEEP_CACHE);
    List<Process> waiting = new ArrayList<>();
    for (int i = 0; i < slow; i++) {
      Files.writeString(backing.resolve("slow" + i), "slowly " + i);
    }
    for (int i = 0; i < slow; i++) {
      waiting.add(start("cat", mountPoint.resolve("slow" + i).toString()));
    }
    operations.arrivals.acquire(slow);
    Files.writeString(mountPoint.resolve("quick"), "quickly");
    assertEquals("quickly", run(0, "cat", mountPoint.resolve("quick").toString()));
    assertTrue(server.gauges().waiting() >= slow, server.gauges().toString());
    assertTrue(server.gauges().readers() >= slow + Readers.AT_REST, server.gauges().toString());
    operations.permits.release(1_000_000);
    for (int i = 0; i < slow; i++) {
      String output = new String(waiting.get(i).getInputStream().readAllBytes(), UTF_8);
      assertEquals("slowly " + i, output);
      assertEquals(0, waiting.get(i).waitFor());
    }
    unmount();
  }

  @Test
  void anInterruptEndsAWait() throws Exception {
    mount(Opened.Mode.DIRECT);
    Files.writeString(mountPoint.resolve("slow"), "slowly");
    Process cat = start("cat", mountPoint.resolve("slow").toString());
    operations.arrivals.acquire();
    run(0, "kill", "-INT", Long.toString(cat.pid()));
    assertEquals(130, cat.waitFor());
    assertEquals(1, operations.interrupted.get());
    operations.permits.release(100);
    assertEquals("slowly", run(0, "cat", mountPoint.resolve("slow").toString()));
    unmount();
  }

  @Test
  void anInterruptEndsTheWaitForALock() throws Exception {
    mount(Opened.Mode.CACHED, Capability.FLOCK_LOCKS);
    Path file = Files.createFile(mountPoint.resolve("f"));
    Process holder = start("flock", file.toString(), "sh", "-c", "echo held; read line");
    try (BufferedReader says = holder.inputReader()) {
      assertEquals("held", says.readLine());
      Process second = start("flock", file.toString(), "true");
      while (server.gauges().lockWaits() == 0) {
        Thread.onSpinWait();
      }
      run(0, "kill", "-TERM", Long.toString(second.pid()));
      assertEquals(143, second.waitFor());
      assertEquals(1, operations.interrupted.get());
      assertEquals(0, server.gauges().lockWaits());
    }
    holder.outputWriter().close();
    holder.waitFor();
    assertEquals("", run(0, "flock", file.toString(), "true"));
    unmount();
  }

  @Test
  void theKernelIsToldOfChanges() throws Exception {
    mount(Opened.Mode.KEEP_CACHE);
    Path file = Files.writeString(mountPoint.resolve("f"), "before");
    assertEquals("before", Files.readString(file));
    assertFalse(Files.exists(mountPoint.resolve("new")));
    Files.writeString(backing.resolve("f"), "behind"); // as long: another size would be noticed
    Files.writeString(backing.resolve("new"), "new");
    assertEquals("before", Files.readString(file));
    assertFalse(Files.exists(mountPoint.resolve("new")));
    long node = (Long) Files.getAttribute(backing.resolve("f"), "unix:ino");
    server.notifier().invalidateInode(node, 0, 0);
    server.notifier().invalidateEntry(1, "new".getBytes(UTF_8));
    assertEquals("behind", Files.readString(file));
    assertEquals("new", Files.readString(mountPoint.resolve("new")));
    Files.delete(backing.resolve("f"));
    assertTrue(Files.exists(file));
    server.notifier().delete(1, node, "f".getBytes(UTF_8));
    assertFalse(Files.exists(file));
    server.notifier().invalidateInode(123_456_789, 0, 0); // known to nobody
    unmount();
    server.notifier().invalidateInode(node, 0, 0);
  }

  private FileChannel open(Opened.Mode mode, String name) throws IOException {
    operations.mode = mode;
    return FileChannel.open(
        mountPoint.resolve(name), StandardOpenOption.READ, StandardOpenOption.WRITE);
  }

  private static void exchange(FileChannel a, FileChannel b, int seed) throws IOException {
    byte[] bytes = ("written " + seed).getBytes(UTF_8);
    a.write(ByteBuffer.wrap(bytes), 5000L + seed);
    ByteBuffer back = ByteBuffer.allocate(bytes.length);
    b.read(back, 5000L + seed);
    assertEquals("written " + seed, new String(back.array(), UTF_8));
  }

  /** The kernel says EIO to some of these, if it is asked for them as they are. */
  @Test
  void oneFileOpenInAllWaysAtOnce() throws Exception {
    mount(Opened.Mode.PASSTHROUGH, Capability.PASSTHROUGH);
    int seed = 0;
    for (Opened.Mode first : Opened.Mode.values()) {
      for (Opened.Mode second : Opened.Mode.values()) {
        for (Opened.Mode third : Opened.Mode.values()) {
          String name = "f" + seed;
          Files.write(mountPoint.resolve(name), new byte[10_000]);
          FileChannel a = open(first, name);
          FileChannel b = open(second, name);
          exchange(a, b, ++seed);
          exchange(b, a, ++seed);
          a.close();
          try (b;
              FileChannel c = open(third, name)) {
            exchange(c, b, ++seed);
            exchange(b, c, ++seed);
          }
        }
      }
    }
    assertNotEquals(0, operations.reads.get());
    unmount();
  }

  /** The kernel drops a file's pages when it is opened to be passed through. */
  @Test
  void noStalePagesAfterPassthrough() throws Exception {
    mount(Opened.Mode.PASSTHROUGH, Capability.PASSTHROUGH);
    Files.write(mountPoint.resolve("f"), new byte[10_000]);
    awaitReleases();
    for (int i = 0; i < 3; i++) {
      try (FileChannel cached = open(Opened.Mode.KEEP_CACHE, "f")) {
        cached.read(ByteBuffer.allocate(10_000), 0);
      }
      awaitReleases();
      try (FileChannel through = open(Opened.Mode.PASSTHROUGH, "f")) {
        through.write(ByteBuffer.wrap(new byte[] {(byte) (i + 1)}), 7000);
      }
      awaitReleases();
      try (FileChannel cached = open(Opened.Mode.KEEP_CACHE, "f")) {
        ByteBuffer back = ByteBuffer.allocate(1);
        cached.read(back, 7000);
        assertEquals(i + 1, back.get(0));
      }
      awaitReleases();
    }
    unmount();
  }

  /** The kernel asks for them after close() has returned. */
  private void awaitReleases() {
    while (server.gauges().openFiles() != 0) {
      Thread.onSpinWait();
    }
  }

  @Test
  void unmountedByOthers() throws Exception {
    mount(Opened.Mode.PASSTHROUGH, Capability.PASSTHROUGH);
    Files.writeString(mountPoint.resolve("f"), "x");
    run(0, "umount", mountPoint.toString());
    server.awaitEnd();
    assertEquals(NOTHING, server.gauges());
    assertEquals(1, operations.destroyed.get());
  }

  @Test
  void aMountInUseIsTakenAwayOnlyByForce() throws Exception {
    mount(Opened.Mode.DIRECT);
    Files.writeString(mountPoint.resolve("slow"), "slowly");
    Process cat = start("cat", mountPoint.resolve("slow").toString());
    operations.arrivals.acquire();
    VfsException busy = assertThrows(VfsException.class, () -> server.unmount());
    assertEquals(Errno.EBUSY, busy.errno());
    assertTrue(busy.getMessage().contains(mountPoint.toString()), busy.getMessage());
    assertTrue(busy.getMessage().contains("fuser"), busy.getMessage());
    assertEquals("slow\n", run(0, "ls", mountPoint.toString()));
    server.abort();
    assertEquals(1, cat.waitFor());
    assertEquals(1, operations.interrupted.get());
    assertEquals(NOTHING, server.gauges());
  }

  private VfsException refused(BytePath where, Capability... capabilities) throws Exception {
    FuseServer other = new FuseServer();
    LoopbackOperations wanting =
        new LoopbackOperations(BytePath.of(backing), other.waits(), Set.of(capabilities), 1);
    VfsException refused =
        assertThrows(
            VfsException.class, () -> other.mount(where, "test", wanting, Optional.empty()));
    assertEquals(NOTHING, other.gauges());
    return refused;
  }

  @Test
  void whatCantBeIsRefusedByName() throws Exception {
    BytePath where = BytePath.of(mountPoint);
    VfsException both = refused(where, Capability.PASSTHROUGH, Capability.WRITEBACK_CACHE);
    assertTrue(both.getMessage().contains("WRITEBACK_CACHE"), both.getMessage());
    assertFalse(FuseMount.isMounted(where));
    VfsException missing = refused(where.resolve("none"));
    assertEquals(Errno.ENOENT, missing.errno());
    assertTrue(missing.getMessage().contains("make the directory"), missing.getMessage());
    Files.createFile(temp.resolve("file"));
    assertEquals(Errno.ENOTDIR, refused(BytePath.of(temp.resolve("file"))).errno());
    mount(Opened.Mode.CACHED);
    VfsException busy = refused(where);
    assertEquals(Errno.EBUSY, busy.errno());
    assertTrue(busy.getMessage().contains("umount"), busy.getMessage());
    unmount();
  }

  /** The next line that begins so; others tell of the kill, or are the log. */
  private static String next(BufferedReader says, String begin) throws IOException {
    StringBuilder others = new StringBuilder();
    for (String line; (line = says.readLine()) != null; others.append(line).append('\n')) {
      if (line.startsWith(begin)) {
        return line;
      }
    }
    throw new AssertionError("no line begins with " + begin + ":\n" + others);
  }

  /** A shell that holds the descriptor, and starts another server whenever one is killed. */
  private Process startServers(String how) throws IOException {
    String java =
        String.join(
            " ",
            FuseProcess.java(FuseProcess.class).stream().map(word -> "'" + word + "'").toList());
    String script =
        """
        exec 9<>/dev/fuse
        generation=1
        how=mount
        until %s $how 9 '%s' '%s' '%s' $generation %s; do
          generation=$((generation + 1))
          how=takeOver
        done
        """
            .formatted(java, backing, mountPoint, temp.resolve("record"), how);
    return start("bash", "-c", script);
  }

  private static void kill(String serving) {
    long pid = Long.parseLong(serving.substring("serving ".length()));
    ProcessHandle.of(pid).orElseThrow().destroyForcibly();
  }

  /** The shell holds the descriptor; servers come and are killed while programs use the mount. */
  @ParameterizedTest
  @ValueSource(strings = {"passthrough", "plain"})
  void aServerIsKilledAndNobodyNotices(String how) throws Exception {
    Process holder = startServers(how);
    try (BufferedReader says = holder.inputReader()) {
      String serving = next(says, "serving ");
      List<Process> loads = new ArrayList<>();
      List<BufferedReader> progress = new ArrayList<>();
      for (int i = 0; i < 2; i++) {
        Path own = Files.createDirectory(mountPoint.resolve("load" + i));
        Process load =
            start(FuseProcess.java(FuseProcess.class, "load", own.toString(), "" + (42 + i)));
        loads.add(load);
        progress.add(load.inputReader());
        assertEquals("load of seed " + (42 + i), progress.get(i).readLine());
      }
      for (int kill = 0; kill < 3; kill++) {
        for (BufferedReader each : progress) {
          String line = each.readLine();
          assertTrue(line != null && line.startsWith("rounds "), line);
        }
        kill(serving);
        serving = next(says, "serving ");
      }
      for (int i = 0; i < loads.size(); i++) {
        loads.get(i).outputWriter().write("end\n");
        loads.get(i).outputWriter().flush();
        String last = "";
        for (String line; (line = progress.get(i).readLine()) != null; ) {
          last = last.startsWith("rounds") ? line : last + line + "\n";
        }
        assertEquals(0, loads.get(i).waitFor(), last);
      }
      run(0, "umount", mountPoint.toString());
      assertEquals("ended " + NOTHING, next(says, "ended "));
      assertEquals(0, holder.waitFor());
    }
  }

  /** What the dead server had read and not answered is asked of the next one. */
  @Test
  void aRequestThatWasReadIsSentAgain() throws Exception {
    Files.writeString(backing.resolve("slow"), "slowly");
    Process holder = startServers("plain");
    try (BufferedReader says = holder.inputReader()) {
      String first = next(says, "serving ");
      Process cat = start("cat", mountPoint.resolve("slow").toString());
      next(says, "arrived");
      kill(first);
      next(says, "arrived");
      assertEquals("slowly", new String(cat.getInputStream().readAllBytes(), UTF_8));
      assertEquals(0, cat.waitFor());
      run(0, "umount", mountPoint.toString());
      assertEquals("ended " + NOTHING, next(says, "ended "));
      assertEquals(0, holder.waitFor());
    }
  }
}
