package org.lifeboat.task;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.lifeboat.init.LocalSocket;
import org.lifeboat.snapshot.SealedJson;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectWriter;
import tools.jackson.databind.SerializationFeature;

/**
 * The control socket of a run: one request a connection, a line of JSON; the answers are lines of
 * JSON, the last one with {@code "done":true}. The socket is 0600, and who connects must be root or
 * the user of the engine. A caller that sends rubbish, or does not read what it asked for, costs
 * one thread and 64 KiB, and at most 16 of them at a time; a request must be there within {@link
 * #REQUEST_LIMIT}. Nobody who answers waits for a caller: of what does not fit into the socket all
 * but the last answer is dropped.
 */
public final class ControlServer implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(ControlServer.class);
  private static final int MAX_LINE = 64 << 10;

  /** How long a caller may take to send its request, in milliseconds. */
  private static final long REQUEST_LIMIT = 10_000;

  private static final ObjectWriter WRITER =
      SealedJson.mapper().writer().without(SerializationFeature.INDENT_OUTPUT);

  private final ServerSocketChannel server;
  private final Handler handler;
  private final Semaphore places = new Semaphore(16);

  private ControlServer(ServerSocketChannel server, Handler handler) {
    this.server = server;
    this.handler = handler;
  }

  /** Listens on a socket, mode 0600. */
  public static ControlServer listen(Path socket, Handler handler) throws IOException {
    ServerSocketChannel server = LocalSocket.listen(socket);
    ControlServer control = new ControlServer(server, handler);
    Thread.ofPlatform().daemon().name("control").start(control::acceptLoop);
    return control;
  }

  private void acceptLoop() {
    while (server.isOpen()) {
      try {
        SocketChannel peer = server.accept();
        if (!places.tryAcquire()) {
          peer.close();
          continue;
        }
        Thread.ofPlatform()
            .daemon()
            .name("control-peer")
            .start(
                () -> {
                  try {
                    serve(peer);
                  } finally {
                    places.release();
                  }
                });
      } catch (ClosedChannelException e) {
        return;
      } catch (IOException e) {
        log.warn("the control socket failed, trying again: {}", e.getMessage());
        LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(100));
      }
    }
  }

  private void serve(SocketChannel peer) {
    try (peer) {
      Optional<String> stranger = LocalSocket.stranger(peer);
      if (stranger.isPresent()) {
        log.warn("refused a request of user {} on the control socket", stranger.get());
        return;
      }
      peer.configureBlocking(false);
      String line = readLine(peer);
      if (line == null) {
        return;
      }
      Answers answers = new Answers(peer);
      try {
        handler.handle(SealedJson.mapper().readTree(line), answers);
      } catch (JacksonException e) {
        answers.send(new Failed(true, ExitCodes.USAGE, "malformed request"));
      } catch (RuntimeException e) {
        log.error("a request on the control socket failed", e);
        answers.send(new Failed(true, ExitCodes.FAILURE, "lifeboat failed: " + e));
      }
      answers.flush();
    } catch (IOException e) {
      log.debug("a control connection failed: {}", e.getMessage());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** The first line; null when it is too long, late, or not ended. */
  private static String readLine(SocketChannel peer) throws IOException {
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(REQUEST_LIMIT);
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    ByteBuffer chunk = ByteBuffer.allocate(4096);
    try (Selector selector = Selector.open()) {
      peer.register(selector, SelectionKey.OP_READ);
      while (true) {
        long left = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
        if (left <= 0) {
          return null;
        }
        selector.select(left);
        selector.selectedKeys().clear();
        if (peer.read(chunk.clear()) < 0) {
          return null;
        }
        chunk.flip();
        while (chunk.hasRemaining()) {
          byte b = chunk.get();
          if (b == '\n') {
            return line.toString(StandardCharsets.UTF_8);
          }
          if (line.size() >= MAX_LINE) {
            return null;
          }
          line.write(b);
        }
      }
    }
  }

  /** What one caller still has to get. */
  private static final class Answers implements Reply {
    private final SocketChannel peer;
    private ByteBuffer rest = ByteBuffer.allocate(0);
    private boolean gone;

    Answers(SocketChannel peer) {
      this.peer = peer;
    }

    @Override
    public synchronized void send(Object message) {
      JsonNode tree = SealedJson.mapper().valueToTree(message);
      write();
      if (gone || (rest.hasRemaining() && !tree.path("done").asBoolean(false))) {
        return;
      }
      byte[] line = (WRITER.writeValueAsString(tree) + "\n").getBytes(StandardCharsets.UTF_8);
      rest = ByteBuffer.allocate(rest.remaining() + line.length).put(rest).put(line).flip();
      write();
    }

    private void write() {
      try {
        while (rest.hasRemaining() && peer.write(rest) > 0) {}
      } catch (IOException e) {
        log.debug("who asked has gone: {}", e.getMessage());
        gone = true;
        rest = ByteBuffer.allocate(0);
      }
    }

    /** On the connection's own thread, which may wait. */
    synchronized void flush() throws IOException {
      if (rest.hasRemaining()) {
        peer.configureBlocking(true);
        write();
      }
    }
  }

  @Override
  public void close() throws IOException {
    server.close();
  }

  /** Answers requests, on a thread of the connection's own. */
  @FunctionalInterface
  public interface Handler {
    void handle(JsonNode request, Reply reply) throws InterruptedException;
  }

  /** Sends a line back; that the other side has gone is no error. */
  @FunctionalInterface
  public interface Reply {
    void send(Object message);
  }

  /** The last answer when a request failed. */
  public record Failed(boolean done, int code, String error) {}
}
