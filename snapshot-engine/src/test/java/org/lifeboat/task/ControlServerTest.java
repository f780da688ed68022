package org.lifeboat.task;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.snapshot.DumpProgress;

@Timeout(60)
final class ControlServerTest {

  @TempDir private Path folder;
  private ControlServer server;

  @AfterEach
  void end() throws IOException {
    if (server != null) {
      server.close();
    }
  }

  private void listen(ControlServer.Handler handler) throws IOException {
    server = ControlServer.listen(folder.resolve("control.sock"), handler);
  }

  private SocketChannel connect() throws IOException {
    SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    channel.connect(UnixDomainSocketAddress.of(folder.resolve("control.sock")));
    return channel;
  }

  private static void send(SocketChannel channel, byte[] bytes) throws IOException {
    ByteBuffer buffer = ByteBuffer.wrap(bytes);
    while (buffer.hasRemaining()) {
      channel.write(buffer);
    }
  }

  private static BufferedReader reader(SocketChannel channel) {
    return new BufferedReader(
        new InputStreamReader(Channels.newInputStream(channel), StandardCharsets.UTF_8));
  }

  private String ask(String request) throws IOException {
    try (SocketChannel channel = connect()) {
      send(channel, request.getBytes(StandardCharsets.UTF_8));
      return reader(channel).readLine();
    }
  }

  private static DumpProgress progress(long raw) {
    return new DumpProgress(1, "receiving", raw, 1, 2, 3, 4);
  }

  @Test
  void answersALineWithLines() throws IOException {
    listen(
        (request, reply) -> {
          reply.send(progress(request.path("n").asLong(0)));
          reply.send(new ControlServer.Failed(true, 175, "why"));
        });
    try (SocketChannel channel = connect()) {
      send(channel, "{\"n\":".getBytes(StandardCharsets.UTF_8));
      send(channel, "41}\nrest".getBytes(StandardCharsets.UTF_8));
      BufferedReader in = reader(channel);
      assertTrue(in.readLine().contains("\"rawBytes\":41"));
      assertEquals("{\"done\":true,\"code\":175,\"error\":\"why\"}", in.readLine());
      assertNull(in.readLine());
    }
  }

  @Test
  void itsSocketIsPrivate() throws IOException {
    listen((request, reply) -> {});
    assertEquals(
        "rw-------",
        PosixFilePermissions.toString(
            Files.getPosixFilePermissions(folder.resolve("control.sock"))));
  }

  @Test
  void garbageIsMalformed() throws IOException {
    listen((request, reply) -> reply.send(new ControlServer.Failed(true, 0, "handled")));
    for (String garbage : List.of("not json\n", "{\"op\":\n", "\u0000\u0001\n")) {
      assertTrue(ask(garbage).contains("malformed request"), garbage);
    }
    assertTrue(ask("{}\n").contains("handled"));
  }

  @Test
  void aLineThatDoesNotEndIsNotRead() throws IOException {
    listen((request, reply) -> reply.send(new ControlServer.Failed(true, 0, "handled")));
    try (SocketChannel channel = connect()) {
      try {
        send(channel, new byte[1 << 20]);
      } catch (IOException e) {
        assertTrue(e.getMessage().contains("Broken pipe"), e.getMessage());
      }
      try {
        assertNull(reader(channel).readLine());
      } catch (IOException e) { // closed with bytes unread
        assertTrue(e.getMessage().contains("reset"), e.getMessage());
      }
    }
    try (SocketChannel channel = connect()) {
      send(channel, "{}".getBytes(StandardCharsets.UTF_8));
      channel.shutdownOutput();
      assertNull(reader(channel).readLine());
    }
    assertTrue(ask("{}\n").contains("handled"));
  }

  /** A client that does not read holds up neither who answers nor other clients. */
  @Test
  void regression_aStalledClientHoldsUpNobody() throws Exception {
    BlockingQueue<ControlServer.Reply> replies = new LinkedBlockingQueue<>();
    CountDownLatch told = new CountDownLatch(1);
    listen(
        (request, reply) -> {
          replies.add(reply);
          told.await();
        });
    try (SocketChannel stalled = connect()) {
      send(stalled, "{}\n".getBytes(StandardCharsets.UTF_8));
      ControlServer.Reply reply = replies.take();
      for (int i = 0; i < 50_000; i++) { // 8 MB, to a socket that takes some 200 KB
        reply.send(progress(i));
      }
      reply.send(new ControlServer.Failed(true, 175, "the last"));
      told.countDown();
      BufferedReader in = reader(stalled);
      List<String> lines = new ArrayList<>();
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        lines.add(line);
      }
      assertTrue(lines.size() > 100 && lines.size() < 20_000, lines.size() + " lines");
      assertTrue(lines.getLast().contains("the last"), lines.getLast());
      for (String line : lines) {
        assertTrue(line.startsWith("{") && line.endsWith("}"), line);
      }
    }
  }

  @Test
  void ofTwentyClientsSixteenAreServedAtATime() throws Exception {
    BlockingQueue<ControlServer.Reply> served = new LinkedBlockingQueue<>();
    CountDownLatch open = new CountDownLatch(1);
    listen(
        (request, reply) -> {
          served.add(reply);
          open.await();
          reply.send(new ControlServer.Failed(true, 0, "served"));
        });
    List<SocketChannel> clients = new ArrayList<>();
    int refused = 0;
    for (int i = 0; i < 20; i++) {
      SocketChannel client = connect();
      clients.add(client);
      try {
        send(client, "{}\n".getBytes(StandardCharsets.UTF_8));
      } catch (IOException e) {
        assertTrue(e.getMessage().contains("Broken pipe"), e.getMessage());
      }
    }
    for (int i = 0; i < 16; i++) {
      served.take();
    }
    open.countDown();
    for (SocketChannel client : clients) {
      try (client) {
        String line = reader(client).readLine();
        if (line == null) {
          refused++;
        }
      } catch (IOException e) {
        assertTrue(e.getMessage().contains("reset"), e.getMessage());
        refused++;
      }
    }
    assertEquals(4, refused);
    assertEquals(0, served.size());
    String again = null;
    while (again == null) { // the places are free again as soon as their threads have ended
      again = ask("{}\n");
    }
    assertTrue(again.contains("served"));
  }

  @Test
  void aClientThatGoesAwayDoesNotHurt() throws Exception {
    CountDownLatch gone = new CountDownLatch(1);
    CountDownLatch sent = new CountDownLatch(1);
    listen(
        (request, reply) -> {
          gone.await();
          for (int i = 0; i < 100; i++) {
            reply.send(progress(i));
          }
          sent.countDown();
        });
    try (SocketChannel client = connect()) {
      send(client, "{}\n".getBytes(StandardCharsets.UTF_8));
    }
    gone.countDown();
    assertTrue(sent.await(30, TimeUnit.SECONDS));
  }

  // ---- what the engine makes of requests

  private final BlockingQueue<Event> events = new LinkedBlockingQueue<>();

  @Test
  void aPingIsAnswered() throws IOException {
    listen(new ControlRequests(events::add));
    assertEquals("{\"done\":true,\"code\":0}", ask("{\"op\":\"ping\"}\n"));
    assertTrue(ask("{\"op\":\"dance\"}\n").contains("unknown request"));
    assertTrue(ask("\n").contains("unknown request"));
    assertTrue(ask("[1]\n").contains("unknown request"));
    assertTrue(events.isEmpty());
  }

  @Test
  void aCheckpointIsAnEvent() throws Exception {
    listen(new ControlRequests(events::add));
    try (SocketChannel client = connect()) {
      send(
          client,
          "{\"op\":\"checkpoint\",\"leaveRunning\":true,\"deadlineMillis\":1500}\n"
              .getBytes(StandardCharsets.UTF_8));
      Event.Checkpoint event = assertInstanceOf(Event.Checkpoint.class, events.take());
      assertTrue(event.dump().leaveRunning());
      assertEquals(1500, event.dump().deadline().orElseThrow().toMillis());
      event.reply().send(progress(7));
      BufferedReader in = reader(client);
      assertTrue(in.readLine().contains("\"rawBytes\":7"));
      event.reply().send(new ControlServer.Failed(true, 175, "no"));
      assertTrue(in.readLine().contains("\"code\":175"));
      assertNull(in.readLine());
    }
  }

  @Test
  void aDeadlineBeyondAllMeasureIsNoOverflow() throws Exception {
    listen(new ControlRequests(events::add));
    for (long deadline : new long[] {0, -5, Long.MAX_VALUE}) {
      try (SocketChannel client = connect()) {
        send(
            client,
            ("{\"op\":\"checkpoint\",\"deadlineMillis\":" + deadline + "}\n")
                .getBytes(StandardCharsets.UTF_8));
        Event.Checkpoint event = assertInstanceOf(Event.Checkpoint.class, events.take());
        assertFalse(event.dump().leaveRunning());
        Optional<Long> nanos = event.dump().deadline().map(java.time.Duration::toNanos);
        assertEquals(deadline > 0, nanos.isPresent());
        event.reply().send(new ControlServer.Failed(true, 175, "no"));
      }
    }
  }
}
