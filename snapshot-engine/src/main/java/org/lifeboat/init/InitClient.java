package org.lifeboat.init;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * Asks lifeboat-init to do what only PID 1 can or should: start the task and CRIU as its own
 * children, signal them, drain the task's output, move the PID counter, and end everything.
 *
 * <p>One thread reads the socket, hands replies to whoever waits for them, and events to the
 * listener; the listener must not block and must not call back into this client. All other methods
 * may be called from any thread and block until init has answered.
 */
public final class InitClient implements AutoCloseable {

  /** The descriptors that a program started by {@link #spawn} has besides its stdio. */
  public static final int PAGE_SOCKET_FD = 9;

  public static final int TASK_STDOUT_FD = 10;
  public static final int TASK_STDERR_FD = 11;

  /** No such process. */
  public static final int ESRCH = 3;

  private final SocketChannel channel;
  private final Consumer<InitEvent> listener;
  private final Map<Long, CompletableFuture<List<String>>> waiting = new HashMap<>();
  private long nextSequence = 1;
  private String lost;

  private InitClient(SocketChannel channel, Consumer<InitEvent> listener) {
    this.channel = channel;
    this.listener = listener;
  }

  /** Connects to the socket in the run directory. */
  public static InitClient connect(Path socket, Consumer<InitEvent> listener) throws InitException {
    SocketChannel channel = null;
    try {
      channel = SocketChannel.open(StandardProtocolFamily.UNIX);
      channel.connect(UnixDomainSocketAddress.of(socket));
    } catch (IOException e) {
      InitException failure =
          new InitException(
              "connect",
              0,
              socket + ": " + e.getMessage() + " (start it with the launcher: lifeboat run ...)",
              e);
      if (channel != null) {
        try {
          channel.close();
        } catch (IOException suppressed) {
          failure.addSuppressed(suppressed);
        }
      }
      throw failure;
    }
    InitClient client = new InitClient(channel, listener);
    Thread.ofPlatform().daemon().name("init-events").start(client::readLoop);
    return client;
  }

  /** What init knows when an engine says hello. */
  public State hello() throws InitException {
    return understand("hello", call("hello"), InitClient::state);
  }

  /** Makes sense of an answer. */
  private static <T> T understand(
      String verb, List<String> reply, Function<List<String>, T> meaning) throws InitException {
    try {
      return meaning.apply(reply);
    } catch (IndexOutOfBoundsException | IllegalArgumentException e) {
      throw new InitException(verb, 0, "malformed answer", e);
    }
  }

  private static long number(String verb, List<String> reply) throws InitException {
    return understand(verb, reply, fields -> Long.parseLong(fields.get(0)));
  }

  private static State state(List<String> reply) {
    Map<String, Long> spawned = pairs(reply, 6);
    Map<String, Long> held = pairs(reply, 7 + 2 * spawned.size());
    return new State(
        TaskState.valueOf(reply.get(0).toUpperCase(java.util.Locale.ROOT)),
        Long.parseLong(reply.get(1)),
        new WaitStatus(Integer.parseInt(reply.get(2))),
        Long.parseLong(reply.get(3)),
        Long.parseLong(reply.get(4)),
        Long.parseLong(reply.get(5)),
        spawned,
        held);
  }

  /** A number of pairs, and the pairs. */
  private static Map<String, Long> pairs(List<String> reply, int at) {
    Map<String, Long> pairs = new HashMap<>();
    for (int i = Integer.parseInt(reply.get(at)); i > 0; i--) {
      pairs.put(reply.get(at + 2 * i - 1), Long.parseLong(reply.get(at + 2 * i)));
    }
    return Map.copyOf(pairs);
  }

  /**
   * Starts the task and returns its PID.
   *
   * @param environment names and values as {@link Frames#raw} bytes
   * @param command program and arguments as raw bytes
   * @throws InitException with the errno of {@code execve} when the command cannot be started
   */
  public long startTask(Path directory, Map<String, String> environment, List<String> command)
      throws InitException {
    List<String> request = new ArrayList<>();
    request.add(Frames.raw(directory.toString()));
    request.add(Integer.toString(environment.size()));
    environment.forEach((name, value) -> request.add(name + "=" + value));
    request.addAll(command);
    return number("task", call("task", request));
  }

  /**
   * Starts a program as init's direct child.
   *
   * @param pageSocket a listening socket that is connected and handed on as {@link #PAGE_SOCKET_FD}
   * @param output the file that its stdout and stderr are appended to
   */
  public long spawn(String id, Optional<Path> pageSocket, Path output, List<String> command)
      throws InitException {
    List<String> request = new ArrayList<>();
    request.add(id);
    request.add(pageSocket.map(socket -> Frames.raw(socket.toString())).orElse("-"));
    request.add(Frames.raw(output.toString()));
    command.forEach(argument -> request.add(Frames.raw(argument)));
    return number("spawn", call("spawn", request));
  }

  public void signal(long pid, int signal) throws InitException {
    call("signal", List.of(Long.toString(pid), Integer.toString(signal)));
  }

  /** Kills every process of the namespace but init and the engine; that there is none is fine. */
  public void killAll() throws InitException {
    try {
      signal(-1, 9);
    } catch (InitException e) {
      if (e.errno() != ESRCH) {
        throw e;
      }
    }
  }

  /**
   * Makes a process the task that CRIU has restored and is about to resume; may be said again. It
   * is the task for good once that CRIU ends with success, whether or not an engine is there to see
   * it; if CRIU fails it is killed and never was one, and its end is not told.
   *
   * @param spawnId of the CRIU, which must still run
   */
  public void adopt(long pid, String spawnId) throws InitException {
    call("adopt", List.of(Long.toString(pid), spawnId));
  }

  /**
   * Has init keep a descriptor of this process beyond its life, in place of what it keeps of that
   * name. The next engine finds it in {@link State#held} and takes it back with pidfd_getfd(2).
   *
   * @param name 1 to 63 bytes
   * @param descriptor an open one of this process; at most 1024 are kept
   */
  public void hold(String name, int descriptor) throws InitException {
    call("hold", List.of(name, Integer.toString(descriptor)));
  }

  /** Has init close what it keeps of that name; that there is none is fine. */
  public void letGo(String name) throws InitException {
    call("hold", List.of(name, "-1"));
  }

  /** Writes out what stands in the task's pipes; returns the bytes. */
  public long drain() throws InitException {
    return number("drain", call("drain"));
  }

  /** Lets the next process get a number above {@code pid}. */
  public void lastPid(long pid) throws InitException {
    call("lastpid", List.of(Long.toString(pid)));
  }

  /**
   * Orders init to end everything, itself included, with this exit code; does not return an answer.
   * Init first waits, ten seconds at most, for the end of this process: it may still tidy up.
   */
  public void exit(int code) throws InitException {
    try {
      write(List.of("exit", "0", Integer.toString(code), "tidy"));
    } catch (IOException e) {
      throw new InitException("exit", 0, String.valueOf(e.getMessage()), e);
    }
  }

  private List<String> call(String verb) throws InitException {
    return call(verb, List.of());
  }

  private List<String> call(String verb, List<String> arguments) throws InitException {
    CompletableFuture<List<String>> reply = new CompletableFuture<>();
    List<String> message = new ArrayList<>();
    synchronized (waiting) {
      if (lost != null) {
        throw new InitException(verb, 0, lost, null);
      }
      long sequence = nextSequence++;
      waiting.put(sequence, reply);
      message.add(verb);
      message.add(Long.toString(sequence));
      message.addAll(arguments);
    }
    try {
      write(message);
      List<String> fields = reply.get();
      if (fields.getFirst().equals("ok")) {
        return fields.subList(2, fields.size());
      }
      throw new InitException(
          verb,
          understand(verb, fields, f -> f.size() > 2 ? Integer.parseInt(f.get(2)) : 0),
          fields.size() > 3 ? fields.get(3) : "refused",
          null);
    } catch (IOException e) {
      if (e instanceof InitException failure) {
        throw failure;
      }
      throw new InitException(verb, 0, String.valueOf(e.getMessage()), e);
    } catch (ExecutionException e) {
      throw new InitException(verb, 0, String.valueOf(e.getCause().getMessage()), e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InitException(verb, 0, "interrupted", e);
    }
  }

  /** A thread that is interrupted would close the channel by writing to it, and with it the run. */
  private void write(List<String> message) throws IOException {
    boolean interrupted = Thread.interrupted();
    try {
      synchronized (channel) {
        Frames.write(channel, message);
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  private void readLoop() {
    String why = "its connection ended";
    try {
      List<String> message = Frames.read(channel);
      while (message != null) {
        dispatch(message);
        message = Frames.read(channel);
      }
    } catch (IOException | RuntimeException e) {
      why = String.valueOf(e.getMessage());
    }
    List<CompletableFuture<List<String>>> orphans;
    synchronized (waiting) {
      lost = why;
      orphans = List.copyOf(waiting.values());
      waiting.clear();
    }
    for (CompletableFuture<List<String>> orphan : orphans) {
      orphan.completeExceptionally(new IOException(why));
    }
    listener.accept(new InitEvent.Lost(why));
  }

  private void dispatch(List<String> message) throws IOException {
    switch (message.getFirst()) {
      case "ok", "err" -> {
        CompletableFuture<List<String>> reply;
        synchronized (waiting) {
          reply = waiting.remove(Long.parseLong(message.get(1)));
        }
        if (reply == null) {
          throw new IOException("a reply that nobody asked for: " + message);
        }
        reply.complete(message);
      }
      case "exited" ->
          listener.accept(
              new InitEvent.Exited(
                  message.get(1), new WaitStatus(Integer.parseInt(message.get(2)))));
      case "taskexit" ->
          listener.accept(
              new InitEvent.TaskExited(
                  Long.parseLong(message.get(1)),
                  new WaitStatus(Integer.parseInt(message.get(2)))));
      case "sig" -> listener.accept(new InitEvent.Signalled(message.get(1)));
      default -> throw new IOException("an unknown message: " + message.getFirst());
    }
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  /** Whether init has a task. */
  public enum TaskState {
    NONE,
    /** CRIU, which still runs, has made it. */
    RESTORING,
    RUNNING,
    ENDED
  }

  /**
   * What stands when an engine begins.
   *
   * @param status how the task ended; meaningless unless it did
   * @param stdoutInode the inode of the pipe that is the task's stdout
   * @param outerPid the PID of the process outside the namespace, for messages
   * @param spawned the programs that an earlier engine started and that still run
   * @param held the descriptors that {@link #hold} gave it, as their numbers in init
   */
  public record State(
      TaskState task,
      long taskPid,
      WaitStatus status,
      long stdoutInode,
      long stderrInode,
      long outerPid,
      Map<String, Long> spawned,
      Map<String, Long> held) {}
}
