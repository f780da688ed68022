package org.lifeboat.criu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.init.Frames;

final class HookServerTest {

  private static final Path INIT = Path.of("target/init/lifeboat-init").toAbsolutePath();

  @TempDir private Path folder;
  private HookServer server;

  @BeforeEach
  void begin() throws IOException {
    server = HookServer.listen(folder.resolve("hook.sock"));
  }

  @AfterEach
  void end() throws IOException {
    server.close();
  }

  private SocketChannel connect() throws IOException {
    SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    channel.connect(UnixDomainSocketAddress.of(folder.resolve("hook.sock")));
    return channel;
  }

  private List<String> ask(String action) throws IOException {
    try (SocketChannel channel = connect()) {
      Frames.write(channel, List.of("hook", action, "/images", "0"));
      return Frames.read(channel);
    }
  }

  private Process hook(String action) throws IOException {
    ProcessBuilder builder = new ProcessBuilder(INIT.toString(), "--hook");
    builder.environment().put("LIFEBOAT_RUN_DIR", folder.toString());
    builder.environment().put("CRTOOLS_SCRIPT_ACTION", action);
    builder.environment().put("CRTOOLS_IMAGE_DIR", "/some/images");
    builder.environment().put("CRTOOLS_INIT_PID", "42");
    return builder.redirectErrorStream(true).start();
  }

  @Test
  void theHandlersAnswerIsTheVote() throws IOException {
    server.handler((action, images) -> action.equals("post-dump") ? 1 : 0);
    assertEquals(List.of("done", "1"), ask("post-dump"));
    assertEquals(List.of("done", "0"), ask("pre-dump"));
    server.handler((action, images) -> images.equals(Path.of("/images")) ? 5 : 6);
    assertEquals(List.of("done", "5"), ask("post-dump"));
  }

  @Test
  void theRealHookEndsWithTheVote() throws Exception {
    BlockingQueue<String> asked = new LinkedBlockingQueue<>();
    server.handler(
        (action, images) -> {
          asked.add(action + " " + images);
          return action.equals("post-dump") ? 1 : 0;
        });
    assertEquals(1, hook("post-dump").waitFor());
    assertEquals(0, hook("pre-resume").waitFor());
    assertEquals(0, hook("network-lock").waitFor());
    assertEquals(List.of("post-dump /some/images", "pre-resume /some/images"), List.copyOf(asked));
  }

  /** A new engine does not know yet whether its predecessor's dump was committed. */
  @Test
  void regression_nothingIsAnsweredBeforeItIsKnown() throws Exception {
    List<SocketChannel> hooks = new ArrayList<>();
    for (int i = 0; i < 30; i++) {
      SocketChannel channel = connect();
      hooks.add(channel);
      Frames.write(channel, List.of("hook", "post-dump", "/images", "0"));
    }
    try (SocketChannel last = connect()) { // when this one is served, the others have been
      last.shutdownOutput();
      assertNull(Frames.read(last));
    }
    server.handler((action, images) -> 0);
    for (SocketChannel channel : hooks) {
      try (channel) {
        assertEquals(List.of("done", "0"), Frames.read(channel));
      }
    }
  }

  @Test
  void theRealHookAsksAgainUntilItIsAnswered() throws Exception {
    server.close();
    Files.delete(folder.resolve("hook.sock"));
    Process hook;
    try (ServerSocketChannel dying = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      dying.bind(UnixDomainSocketAddress.of(folder.resolve("hook.sock")));
      hook = hook("post-dump");
      try (SocketChannel peer = dying.accept()) {
        assertEquals("post-dump", Frames.read(peer).get(1));
      }
    }
    server = HookServer.listen(folder.resolve("hook.sock"));
    server.handler((action, images) -> 0);
    assertEquals(0, hook.waitFor());
  }

  @Test
  void regression_aHandlerThatWasInterruptedStillVotes() throws IOException {
    server.handler(
        (action, images) -> {
          Thread.currentThread().interrupt();
          return 0;
        });
    assertEquals(List.of("done", "0"), ask("post-dump"));
  }

  @Test
  void aHandlerThatThrowsVotesNo() throws IOException {
    server.handler(
        (action, images) -> {
          throw new IllegalStateException("a bug");
        });
    assertEquals(List.of("done", "1"), ask("post-dump"));
    server.handler(
        (action, images) -> {
          throw new AssertionError("another");
        });
    assertEquals(List.of("done", "1"), ask("post-dump"));
  }

  @Test
  void rubbishGetsNoAnswerAndDoesNoHarm() throws IOException {
    server.handler((action, images) -> 0);
    for (byte[] rubbish :
        List.of(new byte[] {-1, -1, -1, -1}, new byte[] {1, 0, 0, 0, 'x'}, new byte[0])) {
      try (SocketChannel channel = connect()) {
        channel.write(ByteBuffer.wrap(rubbish));
        channel.shutdownOutput();
        assertNull(Frames.read(channel));
      }
    }
    assertEquals(List.of("done", "0"), ask("post-dump"));
  }

  @Test
  void itsSocketIsPrivate() throws IOException {
    assertEquals(
        "rw-------",
        PosixFilePermissions.toString(Files.getPosixFilePermissions(folder.resolve("hook.sock"))));
    assertFalse(Files.isRegularFile(folder.resolve("hook.sock")));
  }

  @Test
  void aSocketThatWasLeftIsReplaced() throws IOException {
    server.close();
    server = HookServer.listen(folder.resolve("hook.sock"));
    server.handler((action, images) -> 0);
    assertEquals(List.of("done", "0"), ask("pre-dump"));
  }
}
