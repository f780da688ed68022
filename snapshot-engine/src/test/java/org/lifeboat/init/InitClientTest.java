package org.lifeboat.init;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Against the real lifeboat-init, whose engine is a program that only waits; this test speaks in
 * its place. Needs root, as lifeboat-init makes namespaces.
 */
final class InitClientTest {

  private static final Path INIT = Path.of("target/init/lifeboat-init").toAbsolutePath();
  private static final long LIMIT = 60;

  @TempDir private Path folder;
  private Path run;
  private Process process;
  private Children children;
  private InitClient client;
  private final BlockingQueue<InitEvent> events = new LinkedBlockingQueue<>();

  @BeforeEach
  void begin() throws Exception {
    run =
        Files.createDirectory(
            folder.resolve("run"),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    // the engine says that it is there, and with it init.sock, and waits for an end that never
    // comes
    ProcessBuilder builder =
        new ProcessBuilder(INIT.toString(), "run", "--", "sh", "-c", "echo there; exec sleep 600");
    builder.environment().put("LIFEBOAT_RUN_DIR", run.toString());
    builder.redirectError(folder.resolve("stderr").toFile());
    process = builder.start();
    byte[] there = process.getInputStream().readNBytes(6);
    assertEquals("there\n", new String(there, StandardCharsets.US_ASCII), this::stderr);
    children = new Children(events::add);
    client = InitClient.connect(run.resolve("init.sock"), children);
  }

  private String stderr() {
    try {
      return Files.readString(folder.resolve("stderr"));
    } catch (IOException e) {
      return e.toString();
    }
  }

  @AfterEach
  void end() throws Exception {
    client.close();
    process.destroyForcibly();
    assertTrue(process.waitFor(LIMIT, TimeUnit.SECONDS));
  }

  private <T extends InitEvent> T event(Class<T> type) throws InterruptedException {
    return assertInstanceOf(type, events.poll(LIMIT, TimeUnit.SECONDS));
  }

  private WaitStatus end(String id) throws Exception {
    return children.end(id).get(LIMIT, TimeUnit.SECONDS);
  }

  private long task(String... command) throws InitException {
    return client.startTask(
        folder, Map.of("PATH", "/usr/bin:/bin", "A", Frames.raw("\u00e4 b")), List.of(command));
  }

  @Test
  void knowsWhatThereIs() throws Exception {
    InitClient.State state = client.hello();
    assertEquals(InitClient.TaskState.NONE, state.task());
    assertEquals(Map.of(), state.spawned());
    assertEquals(process.pid(), state.outerPid());
    assertTrue(state.stdoutInode() > 0 && state.stdoutInode() != state.stderrInode());
    long pid = task("sleep", "600");
    state = client.hello();
    assertEquals(InitClient.TaskState.RUNNING, state.task());
    assertEquals(pid, state.taskPid());
    client.signal(pid, 9);
    event(InitEvent.TaskExited.class);
    state = client.hello();
    assertEquals(InitClient.TaskState.ENDED, state.task());
    assertEquals(9, state.status().signal());
  }

  @Test
  void runsTheTaskWithItsEnvironmentAndFolder() throws Exception {
    client.hello();
    long pid = task("sh", "-c", "echo \"$A|$PWD|$0|${HOME-none}\"; exit 7", "zero");
    InitEvent.TaskExited exited = event(InitEvent.TaskExited.class);
    assertEquals(pid, exited.pid());
    assertEquals(7, exited.status().exitCode());
    byte[] expected = ("\u00e4 b|" + folder + "|zero|none\n").getBytes(StandardCharsets.UTF_8);
    assertEquals(
        new String(expected, StandardCharsets.UTF_8),
        new String(process.getInputStream().readNBytes(expected.length), StandardCharsets.UTF_8));
    assertEquals(0, client.drain());
  }

  @Test
  void tellsWhyATaskDoesNotStart() throws Exception {
    client.hello();
    assertEquals(2, assertThrows(InitException.class, () -> task("no-such-program")).errno());
    Path file = Files.writeString(folder.resolve("plain"), "x");
    assertEquals(13, assertThrows(InitException.class, () -> task(file.toString())).errno());
    assertEquals(InitClient.TaskState.NONE, client.hello().task());
  }

  @Test
  void signalsTheTask() throws Exception {
    client.hello();
    long pid = task("sleep", "600");
    client.signal(pid, 15);
    assertEquals(15, event(InitEvent.TaskExited.class).status().signal());
    InitException gone =
        assertThrows(InitException.class, () -> client.signal(pid, 15), "the task has ended");
    assertEquals(InitClient.ESRCH, gone.errno());
    assertThrows(InitException.class, () -> client.signal(1, 15));
  }

  @Test
  void killsAllAndDoesNotMindWhenThereIsNone() throws Exception {
    client.hello();
    client.killAll();
    task("sh", "-c", "sleep 600 & sleep 600");
    client.spawn("s", Optional.empty(), folder.resolve("out"), List.of("/bin/sleep", "600"));
    assertEquals(1, client.hello().spawned().size());
    client.killAll();
    assertEquals(9, event(InitEvent.TaskExited.class).status().signal());
    assertEquals(9, end("s").signal());
    assertEquals(Map.of(), client.hello().spawned());
  }

  @Test
  void spawnsWithThePageSocketAndTheTasksPipes() throws Exception {
    InitClient.State state = client.hello();
    Path socket = run.resolve("page.sock");
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      server.bind(UnixDomainSocketAddress.of(socket));
      client.spawn(
          "p",
          Optional.of(socket),
          folder.resolve("out"),
          List.of(
              "/bin/sh",
              "-c",
              "readlink /proc/self/fd/10 /proc/self/fd/11; echo page >&9; echo task > /proc/self/fd/10; exit 3"));
      try (SocketChannel peer = server.accept()) {
        java.nio.ByteBuffer word = java.nio.ByteBuffer.allocate(5);
        while (word.hasRemaining() && peer.read(word) >= 0) {}
        assertEquals("page\n", new String(word.array(), StandardCharsets.US_ASCII));
      }
    }
    assertEquals(3, end("p").exitCode());
    assertEquals(
        "pipe:[" + state.stdoutInode() + "]\npipe:[" + state.stderrInode() + "]\n",
        Files.readString(folder.resolve("out")));
    assertEquals("rw-------", mode(folder.resolve("out")));
    assertEquals(
        "task\n", new String(process.getInputStream().readNBytes(5), StandardCharsets.US_ASCII));
  }

  private static String mode(Path file) throws IOException {
    return PosixFilePermissions.toString(Files.getPosixFilePermissions(file));
  }

  @Test
  void itsSocketIsPrivate() throws IOException {
    assertEquals("rw-------", mode(run.resolve("init.sock")));
  }

  @Test
  void aProgramThatIsNotThereIsAnError() throws Exception {
    client.hello();
    InitException e =
        assertThrows(
            InitException.class,
            () -> client.spawn("x", Optional.empty(), folder.resolve("o"), List.of("/no/criu")));
    assertEquals(2, e.errno());
  }

  @Test
  void movesThePidCounter() throws Exception {
    client.hello();
    client.lastPid(5000);
    assertTrue(task("true") > 5000);
  }

  @Test
  void handsSignalsOn() throws Exception {
    client.hello();
    process.destroy();
    assertEquals("TERM", event(InitEvent.Signalled.class).name());
  }

  @Test
  void adoptsOnlyItsOwnChild() throws Exception {
    client.hello();
    assertThrows(InitException.class, () -> client.adopt(4711, "restore-1-1"));
  }

  @Test
  void exitEndsEverythingWithItsCode() throws Exception {
    client.hello();
    task("tail", "-f", "/dev/null");
    client.exit(75);
    assertTrue(process.isAlive(), "it waits for the engine, which may tidy up");
    process
        .descendants()
        .filter(each -> each.info().command().orElse("").endsWith("/sleep"))
        .forEach(ProcessHandle::destroyForcibly);
    assertTrue(process.waitFor(LIMIT, TimeUnit.SECONDS));
    assertEquals(75, process.exitValue());
    event(InitEvent.Lost.class);
    assertThrows(InitException.class, () -> client.hello());
  }

  @Test
  void regression_anInterruptedThreadDoesNotCloseTheConnection() throws Exception {
    client.hello();
    Thread.currentThread().interrupt();
    try {
      client.drain();
    } catch (InitException e) { // unless the answer was quicker
      assertInstanceOf(InterruptedException.class, e.getCause());
    }
    assertTrue(Thread.interrupted());
    assertEquals(InitClient.TaskState.NONE, client.hello().task());
    assertTrue(events.isEmpty(), events::toString);
  }

  @Test
  void manyThreadsGetTheirOwnReplies() throws Exception {
    client.hello();
    Thread[] threads = new Thread[8];
    BlockingQueue<String> wrong = new LinkedBlockingQueue<>();
    for (int t = 0; t < threads.length; t++) {
      int number = t;
      threads[t] =
          Thread.ofPlatform()
              .start(
                  () -> {
                    for (int i = 0; i < 50; i++) {
                      try {
                        client.signal(100_000 + number, 0);
                        wrong.add("a process that is not there was signalled");
                      } catch (InitException e) {
                        if (e.errno() != InitClient.ESRCH) {
                          wrong.add(e.toString());
                        }
                      }
                    }
                  });
    }
    for (Thread thread : threads) {
      thread.join();
    }
    assertEquals(List.of(), List.copyOf(wrong));
  }

  @Test
  void nobodyThereIsOneLine() {
    InitException e =
        assertThrows(
            InitException.class, () -> InitClient.connect(run.resolve("none"), events::add));
    assertTrue(e.getMessage().contains("lifeboat run"), e.getMessage());
    assertFalse(e.getMessage().contains("\n"));
  }
}
