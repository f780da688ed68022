package org.lifeboat.task;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.concurrent.Semaphore;
import jdk.net.ExtendedSocketOptions;
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
 * the user of the engine. A caller that stalls or sends rubbish costs one thread and 64 KiB, and at
 * most 16 of them at a time.
 */
public final class ControlServer implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(ControlServer.class);
  private static final int MAX_LINE = 64 << 10;
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
        log.warn("the control socket failed: {}", e.getMessage());
        return;
      }
    }
  }

  private void serve(SocketChannel peer) {
    try (peer) {
      String user = peer.getOption(ExtendedSocketOptions.SO_PEERCRED).user().getName();
      if (!user.equals("root") && !user.equals(System.getProperty("user.name"))) {
        log.warn("refused a request of user {} on the control socket", user);
        return;
      }
      String line = readLine(peer);
      if (line == null) {
        return;
      }
      OutputStream out = Channels.newOutputStream(peer);
      Reply reply =
          message -> {
            byte[] bytes =
                (WRITER.writeValueAsString(message) + "\n").getBytes(StandardCharsets.UTF_8);
            try {
              out.write(bytes);
              out.flush();
            } catch (IOException e) {
              log.debug("who asked has gone: {}", e.getMessage());
            }
          };
      JsonNode request;
      try {
        request = SealedJson.mapper().readTree(line);
      } catch (JacksonException e) {
        reply.send(new Failed(true, ExitCodes.USAGE, "malformed request"));
        return;
      }
      handler.handle(request, reply);
    } catch (IOException e) {
      log.debug("a control connection failed: {}", e.getMessage());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static String readLine(SocketChannel peer) throws IOException {
    BufferedReader in =
        new BufferedReader(
            new InputStreamReader(Channels.newInputStream(peer), StandardCharsets.UTF_8), 4096);
    StringBuilder line = new StringBuilder();
    int c = in.read();
    while (c >= 0 && c != '\n') {
      if (line.length() >= MAX_LINE) {
        return null;
      }
      line.append((char) c);
      c = in.read();
    }
    return c < 0 ? null : line.toString();
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
