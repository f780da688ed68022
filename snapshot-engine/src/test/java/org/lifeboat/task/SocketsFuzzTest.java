package org.lifeboat.task;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.criu.HookServer;
import org.lifeboat.init.Frames;
import org.lifeboat.init.InitClient;
import org.lifeboat.init.InitException;
import org.lifeboat.init.LocalSocket;
import org.lifeboat.store.Fuzz;

/** Whoever reaches a run's sockets and sends what nobody understands costs that connection only. */
@Timeout(120)
final class SocketsFuzzTest {

  @TempDir private Path folder;

  private SocketChannel connect(String name) throws IOException {
    SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    channel.connect(UnixDomainSocketAddress.of(folder.resolve(name)));
    return channel;
  }

  private static void send(SocketChannel channel, byte[] bytes) {
    try {
      ByteBuffer buffer = ByteBuffer.wrap(bytes);
      while (buffer.hasRemaining()) {
        channel.write(buffer);
      }
      channel.shutdownOutput();
    } catch (IOException e) { // closed as soon as the beginning was seen
      assertTrue(e.getMessage().matches("Broken pipe|Connection reset.*"), e.getMessage());
    }
  }

  private static String answer(SocketChannel channel) {
    try {
      return new String(
          Channels.newInputStream(channel).readNBytes(200), StandardCharsets.ISO_8859_1);
    } catch (IOException e) {
      return "";
    }
  }

  private static byte[] frame(List<String> fields) throws IOException {
    byte[] body = String.join("\0", fields).getBytes(StandardCharsets.ISO_8859_1);
    return ByteBuffer.allocate(4 + body.length)
        .order(java.nio.ByteOrder.LITTLE_ENDIAN)
        .putInt(body.length)
        .put(body)
        .array();
  }

  @Test
  void controlSocket() throws Exception {
    ControlRequests requests =
        new ControlRequests(
            event -> {
              if (event instanceof Event.Checkpoint c) {
                c.reply().send(new ControlServer.Failed(true, 175, "no"));
              }
            });
    byte[] good =
        "{\"op\":\"checkpoint\",\"leaveRunning\":false,\"deadlineMillis\":1000}\n"
            .getBytes(StandardCharsets.UTF_8);
    try (ControlServer server = ControlServer.listen(folder.resolve("c"), requests)) {
      assertNotNull(server);
      Fuzz.run(
          "control socket",
          1_000,
          2 << 20,
          random -> {
            byte[] bytes = Fuzz.mutate(random, good, 3);
            try (SocketChannel peer = connect("c")) {
              send(peer, bytes);
              String said = answer(peer);
              assertTrue(said.isEmpty() || said.startsWith("{\"done\":true,"), said);
              assertTrue(!said.contains("lifeboat failed"), said);
            }
          });
      try (SocketChannel peer = connect("c")) {
        send(peer, "{\"op\":\"ping\"}\n".getBytes(StandardCharsets.UTF_8));
        assertEquals("{\"done\":true,\"code\":0}\n", answer(peer));
      }
    }
  }

  /** They all get through, or are closed at once, and who comes then is served. */
  @Test
  void aThousandConnectionsAtOnce() throws Exception {
    ControlRequests requests = new ControlRequests(event -> {});
    try (ControlServer server = ControlServer.listen(folder.resolve("c"), requests)) {
      assertNotNull(server);
      int threads = Thread.activeCount();
      List<SocketChannel> peers = new ArrayList<>();
      for (int i = 0; i < 1000; i++) {
        peers.add(connect("c")); // and sends nothing
      }
      assertTrue(Thread.activeCount() < threads + 40, Thread.activeCount() + " threads");
      for (SocketChannel peer : peers) {
        peer.close();
      }
      String said = "";
      while (said.isEmpty()) { // as soon as one of them is known to have gone
        try (SocketChannel peer = connect("c")) {
          send(peer, "{\"op\":\"ping\"}\n".getBytes(StandardCharsets.UTF_8));
          said = answer(peer);
        }
      }
      assertEquals("{\"done\":true,\"code\":0}\n", said);
    }
  }

  @Test
  void hookSocket() throws Exception {
    try (HookServer server = HookServer.listen(folder.resolve("h"))) {
      server.handler((action, images) -> action.equals("post-dump") ? 1 : 0);
      byte[] good = frame(List.of("hook", "post-dump", "/images", "12"));
      Fuzz.run(
          "hook socket",
          1_000,
          4 << 20,
          random -> {
            try (SocketChannel peer = connect("h")) {
              send(peer, Fuzz.mutate(random, good, 3));
              String said = answer(peer);
              assertTrue(said.isEmpty() || said.contains("done"), said);
            }
          });
      try (SocketChannel peer = connect("h")) {
        Frames.write(peer, List.of("hook", "post-dump", "/images", "12"));
        assertEquals(List.of("done", "1"), Frames.read(peer));
      }
    }
  }

  /** A lifeboat-init that answers with rubbish: the engine's calls fail by name. */
  @Test
  void answersOfInit() throws Exception {
    try (ServerSocketChannel server = LocalSocket.listen(folder.resolve("i"))) {
      byte[] good =
          frame(List.of("ok", "1", "running", "1000", "0", "5", "6", "77", "1", "final-1", "1001"));
      int[] understood = {0};
      Fuzz.run(
          "answers of lifeboat-init",
          400,
          4 << 20,
          random -> {
            try (InitClient client = InitClient.connect(folder.resolve("i"), event -> {});
                SocketChannel peer = server.accept()) {
              byte[] bytes = Fuzz.mutate(random, good, 2);
              Thread answering =
                  Thread.ofVirtual()
                      .start(
                          () -> {
                            try {
                              assertNotNull(Frames.read(peer));
                              send(peer, bytes);
                            } catch (IOException e) {
                              throw new java.io.UncheckedIOException(e);
                            }
                          });
              try {
                client.hello();
                understood[0]++;
              } catch (InitException e) {
                assertTrue(e.getMessage().startsWith("lifeboat-init: hello: "), e.getMessage());
              }
              answering.join();
            }
          });
      assertTrue(understood[0] < 400);
    }
  }

  /** The modes of folder and socket keep other users out; so does the server where they don't. */
  @Test
  void anotherUserIsRefusedOnEverySocket() throws Exception {
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxr-xr-x"));
    ConcurrentLinkedQueue<Event> events = new ConcurrentLinkedQueue<>();
    List<String> asked = new ArrayList<>();
    try (ControlServer control =
            ControlServer.listen(folder.resolve("c"), new ControlRequests(events::add));
        HookServer hooks = HookServer.listen(folder.resolve("h"))) {
      assertNotNull(control);
      hooks.handler(
          (action, images) -> {
            asked.add(action);
            return 0;
          });
      for (String name : List.of("c", "h")) {
        Path socket = folder.resolve(name);
        assertEquals(
            "rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)));
        String script =
            "import socket,sys\n"
                + "s=socket.socket(socket.AF_UNIX)\n"
                + "try:\n s.connect(sys.argv[1])\n"
                + "except PermissionError: print('no permission'); sys.exit()\n"
                + "try:\n s.sendall(bytes.fromhex(sys.argv[2]))\n"
                + "except BrokenPipeError: pass\n"
                + "try: print('answer', s.recv(99))\n"
                + "except ConnectionResetError: print('answer', b'')\n";
        byte[] request =
            name.equals("c")
                ? "{\"op\":\"checkpoint\"}\n".getBytes(StandardCharsets.UTF_8)
                : frame(List.of("hook", "post-dump", "/images", "1"));
        for (String expected : List.of("no permission", "answer b''")) {
          Process other =
              new ProcessBuilder(
                      "setpriv",
                      "--reuid=65534",
                      "--regid=65534",
                      "--clear-groups",
                      "/usr/bin/env",
                      "python3",
                      "-c",
                      script,
                      socket.toString(),
                      java.util.HexFormat.of().formatHex(request))
                  .redirectErrorStream(true)
                  .start();
          try (BufferedReader said =
              new BufferedReader(
                  new InputStreamReader(other.getInputStream(), StandardCharsets.UTF_8))) {
            assertEquals(expected, said.readLine(), name);
            assertNull(said.readLine());
          }
          assertTrue(other.waitFor(60, TimeUnit.SECONDS));
          Files.setPosixFilePermissions(socket, PosixFilePermissions.fromString("rw-rw-rw-"));
        }
      }
      assertTrue(events.isEmpty() && asked.isEmpty(), events + " " + asked);
    }
  }

  @Test
  void ownerFiles() throws Exception {
    Path file = folder.resolve("owner");
    assertEquals(Optional.empty(), OwnerFile.read(file));
    OwnerFile.write(file, "0123456789abcdef");
    assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
    assertEquals("0123456789abcdef", OwnerFile.read(file).orElseThrow());
    byte[] good = Files.readAllBytes(file);
    Fuzz.run(
        "owner file",
        300,
        2 << 20,
        random -> {
          Files.write(file, Fuzz.mutate(random, good, 3));
          OwnerFile.read(file).ifPresent(id -> assertTrue(id.matches("[0-9A-Za-z-]{1,64}"), id));
        });
  }
}
