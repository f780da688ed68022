package org.lifeboat.cli;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.net.ConnectException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.Callable;
import org.lifeboat.snapshot.DumpProgress;
import org.lifeboat.snapshot.SealedJson;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.task.ExitCodes;
import org.lifeboat.task.RunRegistry;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tools.jackson.databind.JsonNode;

@Command(
    name = "checkpoint",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Saves a task that runs on this machine.",
      "",
      "The task is frozen, its memory and files go to the store, and when all of it is there it is "
          + "stopped: its lifeboat run ends with exit code 75, and the same lifeboat run elsewhere goes on "
          + "with it. With --leave-running the task goes on here, and is frozen only until its memory is "
          + "on the local disk.",
      ""
    },
    footer = {
      "",
      "Exit codes: 0 saved; 175 not saved, the task goes on (the cause is printed); 2 no such run here."
    })
final class CheckpointCommand implements Callable<Integer> {

  /** How long the engine of a run may take to be there again. */
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  @Spec private CommandSpec spec;

  @Mixin private StoreOption store;

  @Option(names = "--leave-running", description = "Let the task go on after the snapshot.")
  private boolean leaveRunning;

  @Option(
      names = "--deadline",
      paramLabel = "DURATION",
      converter = DurationConverter.class,
      description = "Give up, and let the task go on, if it is not saved by then (as in 110s).")
  private Duration deadline;

  @Option(names = "--json", description = "Print the result as JSON.")
  private boolean json;

  @Override
  public Integer call() throws IOException, InterruptedException {
    StoreUrl url = store.url();
    PrintWriter err = spec.commandLine().getErr();
    Path socket = RunRegistry.controlSocket(RunRegistry.base(System.getenv()), url).orElse(null);
    Path base = RunRegistry.base(System.getenv());
    if (socket == null && Files.isDirectory(base) && !Files.isExecutable(base)) {
      err.println(
          "lifeboat: the runs of this host are those of another user (as root: sudo lifeboat checkpoint"
              + " ...)");
      return ExitCodes.USAGE;
    }
    if (socket == null) {
      err.println(
          "lifeboat: no run of "
              + url
              + " on this host (start it with lifeboat run --store "
              + url
              + " -- CMD)");
      return ExitCodes.USAGE;
    }
    try (SocketChannel channel = connect(socket)) {
      String request =
          "{\"op\":\"checkpoint\",\"leaveRunning\":"
              + leaveRunning
              + ",\"deadlineMillis\":"
              + (deadline == null ? 0 : deadline.toMillis())
              + "}\n";
      channel.write(ByteBuffer.wrap(request.getBytes(StandardCharsets.UTF_8)));
      return follow(channel, err);
    } catch (ConnectException e) {
      err.println(
          "lifeboat: the run of "
              + url
              + " on this host does not answer: "
              + e.getMessage()
              + " (does it still run? lifeboat list tells what is saved)");
      return ExitCodes.USAGE;
    }
  }

  /** Waits for an engine that has died and is being started again: until then nobody listens. */
  private static SocketChannel connect(Path socket) throws IOException, InterruptedException {
    long giveUp = System.nanoTime() + PATIENCE.toNanos();
    while (true) {
      SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
      try {
        channel.connect(UnixDomainSocketAddress.of(socket));
        return channel;
      } catch (ConnectException e) {
        channel.close();
        if (System.nanoTime() > giveUp) {
          throw e;
        }
      } catch (IOException e) {
        channel.close();
        throw e;
      }
      Thread.sleep(100);
    }
  }

  private int follow(SocketChannel channel, PrintWriter err) throws IOException {
    ProgressLine line = new ProgressLine(err);
    BufferedReader in =
        new BufferedReader(
            new InputStreamReader(Channels.newInputStream(channel), StandardCharsets.UTF_8));
    for (String text = in.readLine(); text != null; text = in.readLine()) {
      JsonNode message = SealedJson.mapper().readTree(text);
      if (!message.path("done").asBoolean(false)) {
        line.show(SealedJson.mapper().treeToValue(message, DumpProgress.class));
        continue;
      }
      line.end();
      int code = message.path("code").asInt(ExitCodes.DUMP);
      if (json) {
        spec.commandLine().getOut().println(text);
      } else if (code == 0) {
        spec.commandLine().getOut().println(ProgressLine.result(message));
      } else {
        err.println(
            "lifeboat: "
                + (code == ExitCodes.DUMP ? "not saved, the task goes on: " : "")
                + message.path("error").asString("unknown"));
      }
      spec.commandLine().getOut().flush();
      return code;
    }
    line.end();
    err.println(
        "lifeboat: the run ended before it answered; lifeboat list --store "
            + store.url()
            + " tells what was saved");
    return ExitCodes.DUMP;
  }
}
