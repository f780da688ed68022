package org.lifeboat.criu;

import java.io.IOException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.lifeboat.init.Frames;
import org.lifeboat.init.LocalSocket;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Answers CRIU's action script. CRIU waits for the answer, with the tree frozen where the action
 * says so: a handler may take its time, and its answer is the vote.
 *
 * <p>Until the first handler is set, nothing is answered: the hook of a dump that an engine which
 * died had begun asks at once, and a "no" before it is known whether that dump was committed would
 * thaw a tree that lives on in the store.
 */
public final class HookServer implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(HookServer.class);

  /** CRIU asks one at a time; one that died may still be waited for. */
  private static final int MOST = 64;

  /** While no dump is under way: what CRIU may still ask for, after a death, is not committed. */
  public static final Handler REFUSING = (action, images) -> action.equals("post-dump") ? 1 : 0;

  private final ServerSocketChannel server;
  private final Semaphore places = new Semaphore(MOST);
  private Handler handler;

  private HookServer(ServerSocketChannel server) {
    this.server = server;
  }

  /** Listens on a socket, mode 0600. */
  public static HookServer listen(Path socket) throws IOException {
    ServerSocketChannel server = LocalSocket.listen(socket);
    HookServer hooks = new HookServer(server);
    Thread.ofPlatform().daemon().name("hooks").start(hooks::acceptLoop);
    return hooks;
  }

  /** Who answers from now on. */
  public synchronized void handler(Handler next) {
    handler = next;
    notifyAll();
  }

  private synchronized Handler awaitHandler() throws InterruptedException {
    while (handler == null) {
      wait();
    }
    return handler;
  }

  private void acceptLoop() {
    while (server.isOpen()) {
      try {
        SocketChannel peer = server.accept();
        if (!places.tryAcquire()) {
          peer.close(); // a hook that asks for a vote asks again
          continue;
        }
        Thread.ofPlatform()
            .daemon()
            .name("hook")
            .start(
                () -> {
                  try {
                    answer(peer);
                  } finally {
                    places.release();
                  }
                });
      } catch (ClosedChannelException e) {
        return;
      } catch (IOException e) {
        // out of descriptors, for a while: a server that is gone would freeze a tree for ever
        log.warn("the hook socket failed, trying again: {}", e.getMessage());
        LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(100));
      }
    }
  }

  private void answer(SocketChannel peer) {
    try (peer) {
      Optional<String> stranger = LocalSocket.stranger(peer);
      if (stranger.isPresent()) {
        log.warn("refused a connection of user {} on the hook socket", stranger.get());
        return;
      }
      List<String> message = Frames.read(peer);
      if (message == null || message.size() < 3 || !message.getFirst().equals("hook")) {
        log.warn("a malformed message on the hook socket");
        return;
      }
      int code;
      try {
        code = awaitHandler().answer(message.get(1), Path.of(Frames.text(message.get(2))));
      } catch (RuntimeException | Error e) {
        log.error("the hook {} failed", message.get(1), e);
        code = 1;
      }
      // a handler may have been interrupted just when it was done: that would close the socket
      // instead of writing the answer
      if (Thread.interrupted()) {
        log.debug("interrupted at the end of the hook {}", message.get(1));
      }
      Frames.write(peer, List.of("done", Integer.toString(code)));
    } catch (IOException e) {
      log.debug("a hook went away: {}", e.getMessage());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
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
