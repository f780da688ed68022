package org.lifeboat.deploy;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.lifeboat.init.Frames;

/**
 * Says what lifeboat-init would, so that an engine begins and ends a run in the training: it starts
 * nothing, and the task ends as soon as it is asked for. An engine that orders the end of the run
 * is interrupted, as nobody kills it here.
 */
final class StandInInit implements AutoCloseable {

  private final ServerSocketChannel listener;
  private final Thread engine;
  private volatile boolean started;

  /**
   * @param engine the thread that the engine runs on
   */
  StandInInit(Path runDirectory, Thread engine) throws IOException {
    this.engine = engine;
    listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    listener.bind(UnixDomainSocketAddress.of(runDirectory.resolve("init.sock")));
    Thread.ofPlatform().daemon().name("stand-in-init").start(this::serve);
  }

  /** Whether a task was asked for. */
  boolean started() {
    return started;
  }

  private void serve() {
    try (SocketChannel connection = listener.accept()) {
      for (List<String> request = Frames.read(connection);
          request != null;
          request = Frames.read(connection)) {
        List<String> reply = new ArrayList<>(List.of("ok", request.get(1)));
        switch (request.getFirst()) {
          case "hello" -> reply.addAll(List.of("none", "0", "0", "1", "2", "1", "0", "0"));
          case "lastpid" -> reply.add("write");
          case "task" -> {
            started = true;
            reply.add("1000");
          }
          case "exit" -> {
            while (engine.getState() != Thread.State.TIMED_WAITING) { // in the midst of the order
              Thread.onSpinWait();
            }
            engine.interrupt();
            return;
          }
          default -> {}
        }
        Frames.write(connection, reply);
        if (request.getFirst().equals("task")) {
          Frames.write(connection, List.of("taskexit", "1000", "0"));
        }
      }
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  @Override
  public void close() throws IOException {
    listener.close();
  }
}
