package org.lifeboat.receive;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.page.MemoryStore;
import org.lifeboat.page.PackNames;
import org.lifeboat.serve.PageRestorer;
import org.lifeboat.serve.RestoreConfig;
import org.lifeboat.serve.RestoreObserver;

/**
 * CRIU itself dumps a Python process into the receiver and restores it from what the restorer
 * wrote. Needs root, Python 3 and CRIU 4.2 at LIFEBOAT_CRIU or ~/.cache/lifeboat/criu/bin/criu.
 */
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class RealCriuTest {

  @TempDir Path directory;
  private final Path criu =
      Path.of(
          System.getenv()
              .getOrDefault(
                  "LIFEBOAT_CRIU",
                  System.getProperty("user.home") + "/.cache/lifeboat/criu/bin/criu"));
  private Path fifo;
  private String pid;

  @BeforeEach
  void needsCriu() throws Exception {
    assertTrue(Files.isExecutable(criu), "no CRIU at " + criu + ": run deploy/setup");
    assertTrue("root".equals(System.getProperty("user.name")), "run it as root");
    fifo = directory.resolve("fifo");
    run(List.of("mkfifo", fifo.toString()));
  }

  @AfterEach
  void noProcessIsLeft() throws Exception {
    if (pid != null) {
      run(List.of("kill", "-KILL", pid));
    }
  }

  private Path resource(String name) throws IOException {
    Path file = directory.resolve(name);
    if (!Files.exists(file)) {
      try (InputStream in = RealCriuTest.class.getResourceAsStream(name)) {
        Files.copy(in, file);
      }
    }
    return file;
  }

  private static Process start(List<String> command) throws IOException {
    return new ProcessBuilder(command)
        .redirectInput(Path.of("/dev/null").toFile())
        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
        .redirectError(ProcessBuilder.Redirect.DISCARD)
        .start();
  }

  private static int run(List<String> command) throws Exception {
    Process process = start(command);
    assertTrue(process.waitFor(60, TimeUnit.SECONDS), command + " does not end");
    return process.exitValue();
  }

  /** The process id and checksum that the target writes. */
  private String[] report() throws IOException {
    return Files.readString(fifo).split(" ");
  }

  private String[] ask() throws Exception {
    assertEquals(0, run(List.of("kill", "-USR1", pid)));
    return report();
  }

  private Process target() throws IOException {
    return start(
        List.of(
            "python3",
            resource("target.py").toString(),
            fifo.toString(),
            directory.resolve("backing").toString(),
            "48"));
  }

  private Process dump(String pid, Path images, Path socket, String... more) throws IOException {
    List<String> command =
        new ArrayList<>(
            List.of(
                "python3",
                resource("with_socket.py").toString(),
                socket.toString(),
                criu.toString(),
                "dump",
                "--no-default-config",
                "-v3",
                "-t",
                pid,
                "-D",
                images.toString(),
                "-o",
                "dump.log",
                "--page-server",
                "--ps-socket",
                "9"));
    command.addAll(List.of(more));
    return start(command);
  }

  @Test
  void aProcessComesBack() throws Exception {
    MemoryStore store = new MemoryStore();
    Path images = Files.createDirectory(directory.resolve("images"));
    Path socket = directory.resolve("page.sock");
    Process target = target();
    String[] before = report();
    pid = before[0];
    PageSet set;
    try (PageReceiver receiver =
        PageReceiver.open(
            ReceiverConfig.defaults(),
            new UploadSink(store, PackNames.unique("pages", 1, new Random(1))),
            socket,
            directory.resolve("pages.index"),
            ReceiveObserver.NONE)) {
      receiver.start();
      Process dump = dump(before[0], images, socket);
      receiver.awaitReceived(Duration.ofSeconds(60));
      set = receiver.finish();
      assertTrue(dump.waitFor(60, TimeUnit.SECONDS), "criu dump does not end");
      assertEquals(0, dump.exitValue(), () -> log(images.resolve("dump.log")));
    }
    target.waitFor();
    assertTrue(set.totals().zeroPages() > 1000, set.toString());
    new PageRestorer(store, RestoreConfig.defaults(), RestoreObserver.NONE)
        .restore(set.indexFile(), images);
    assertEquals(
        0,
        run(
            List.of(
                criu.toString(),
                "restore",
                "--no-default-config",
                "-v3",
                "-d",
                "-D",
                images.toString(),
                "-o",
                "restore.log")),
        () -> log(images.resolve("restore.log")));
    String[] after = ask();
    assertEquals(String.join(" ", before), String.join(" ", after));
  }

  @Test
  void anAbortedDumpLeavesTheProcessUnharmed() throws Exception {
    MemoryStore store = new MemoryStore();
    Path images = Files.createDirectory(directory.resolve("images"));
    Path socket = directory.resolve("page.sock");
    target();
    String[] before = report();
    pid = before[0];
    PageReceiver[] self = new PageReceiver[1];
    ReceiveObserver observer =
        new ReceiveObserver() {
          @Override
          public void imageOpened(org.lifeboat.page.ImageId image) {
            if (image.kind() == org.lifeboat.page.ImageId.Kind.TASK) {
              self[0].abort("the test says so");
            }
          }
        };
    try (PageReceiver receiver =
        PageReceiver.open(
            ReceiverConfig.defaults(),
            new UploadSink(store, PackNames.unique("pages", 1, new Random(1))),
            socket,
            directory.resolve("pages.index"),
            observer)) {
      self[0] = receiver;
      receiver.start();
      Process dump = dump(before[0], images, socket);
      assertTrue(dump.waitFor(60, TimeUnit.SECONDS), "criu dump does not end");
      assertEquals(1, dump.exitValue(), () -> log(images.resolve("dump.log")));
    }
    String[] after = ask();
    assertEquals(String.join(" ", before), String.join(" ", after));
    assertEquals(0, store.pendingUploads());
    assertEquals(List.of(), store.keys());
  }

  private static String log(Path file) {
    try {
      List<String> lines = Files.readAllLines(file);
      return String.join("\n", lines.subList(Math.max(0, lines.size() - 30), lines.size()));
    } catch (IOException e) {
      return e.toString();
    }
  }
}
