package org.lifeboat.criu;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.lifeboat.init.Frames;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Answers CRIU's action script. CRIU waits for the answer, with the tree frozen where the action
 * says so: a handler may take its time, and its answer is the vote.
 */
public final class HookServer implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(HookServer.class);

  private final ServerSocketChannel server;
  private volatile Handler handler = (action, images) -> action.equals("post-dump") ? 1 : 0;

  private HookServer(ServerSocketChannel server) {
    this.server = server;
  }

  /** Listens on a socket, mode 0600. */
  public static HookServer listen(Path socket) throws IOException {
    Files.deleteIfExists(socket);
    ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    try {
      server.bind(UnixDomainSocketAddress.of(socket));
      Files.setPosixFilePermissions(socket, PosixFilePermissions.fromString("rw-------"));
    } catch (IOException e) {
      try {
        server.close();
      } catch (IOException suppressed) {
        e.addSuppressed(suppressed);
      }
      throw e;
    }
    HookServer hooks = new HookServer(server);
    Thread.ofPlatform().daemon().name("hooks").start(hooks::acceptLoop);
    return hooks;
  }

  /** Who answers from now on. */
  public void handler(Handler next) {
    handler = next;
  }

  private void acceptLoop() {
    while (server.isOpen()) {
      try {
        SocketChannel peer = server.accept();
        Thread.ofPlatform().daemon().name("hook").start(() -> answer(peer));
      } catch (AsynchronousCloseException e) {
        return;
      } catch (ClosedChannelException e) {
        return;
      } catch (IOException e) {
        log.warn("the hook socket failed: {}", e.getMessage());
        return;
      }
    }
  }

  private void answer(SocketChannel peer) {
    try (peer) {
      List<String> message = Frames.read(peer);
      if (message == null || message.size() < 3 || !message.getFirst().equals("hook")) {
        log.warn("a malformed message on the hook socket");
        return;
      }
      int code;
      try {
        code = handler.answer(message.get(1), Path.of(Frames.text(message.get(2))));
      } catch (RuntimeException e) {
        log.error("the hook {} failed", message.get(1), e);
        code = 1;
      }
      Frames.write(peer, List.of("done", Integer.toString(code)));
    } catch (IOException e) {
      log.debug("a hook went away: {}", e.getMessage());
    }
  }

  @Override
  public void close() throws IOException {
    server.close();
  }

  /** Decides about an action. */
  @FunctionalInterface
  public interface Handler {
    /**
     * @param action CRIU's name of it, as in {@code post-dump}
     * @param images the images' directory
     * @return 0 to go on; anything else makes CRIU fail
     */
    int answer(String action, Path images);
  }
}
