package org.lifeboat.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.lifeboat.criu.CriuException;
import org.lifeboat.snapshot.Folders;
import org.lifeboat.snapshot.SnapshotException;
import org.lifeboat.store.StoreException;
import org.lifeboat.task.ExitCodes;
import org.lifeboat.task.Version;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The entry of the {@code lifeboat} command. */
@Command(
    name = "lifeboat",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Versions.class,
    synopsisSubcommandLabel = "COMMAND",
    description = {
      "Saves running process trees to object storage and brings them back on another machine, "
          + "at the exact instruction where they stopped.",
      "",
    },
    footer = {
      "",
      "A task that survives its machine:",
      "  lifeboat run --store s3://bucket/job-7 --every 10m -- ./analyse input.bam",
      "  (the machine is taken away; on another one, the same command again)",
      "  lifeboat run --store s3://bucket/job-7 --every 10m -- ./analyse input.bam",
      "",
      "Save it now and stop it here:",
      "  lifeboat checkpoint --store s3://bucket/job-7",
      "",
      "Exit codes: the task's own; 2 usage; 75 stopped because a checkpoint was taken; "
          + "125 this host cannot do it; 126 cannot be executed; 127 command not found; 128+n ended by signal n; "
          + "175 a dump failed; 176 a restore failed (the snapshots are kept).",
      "",
      "lifeboat COMMAND --help tells more of each command.",
    },
    subcommands = {
      RunCommand.class,
      CheckpointCommand.class,
      ListCommand.class,
      InspectCommand.class,
      VerifyCommand.class,
      RemoveCommand.class,
      CollectCommand.class
    })
public final class Main implements Callable<Integer> {

  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    throw new ParameterException(spec.commandLine(), "which command?");
  }

  /** Runs the command; the process ends with its exit code. */
  public static void main(String[] args) {
    System.exit(execute(args));
  }

  static int execute(String... args) {
    return execute(System.getenv(), args);
  }

  /**
   * Runs the command and returns its exit code.
   *
   * @param environment the settings of {@code run}; all other commands take this process's own
   */
  public static int execute(Map<String, String> environment, String... args) {
    Optional<RunCommand> run = RunCommand.plain(environment, args);
    if (run.isPresent()) {
      try {
        return run.get().call();
      } catch (IOException e) {
        System.err.println("lifeboat: " + (e.getMessage() == null ? e : e.getMessage()));
        return ExitCodes.FAILURE;
      }
    }
    return line(environment).execute(args);
  }

  /** All commands. */
  public static CommandLine line() {
    return line(System.getenv());
  }

  private static CommandLine line(Map<String, String> environment) {
    CommandLine line =
        new CommandLine(
            new Main(),
            new CommandLine.IFactory() {
              @Override
              public <K> K create(Class<K> type) throws Exception {
                return type == RunCommand.class
                    ? type.cast(new RunCommand(environment))
                    : CommandLine.defaultFactory().create(type);
              }
            });
    line.setExpandAtFiles(false); // an @file is the task's own argument
    line.setExecutionExceptionHandler((e, command, parsed) -> failed(e, command));
    line.setParameterExceptionHandler(Main::misused);
    line.setUsageHelpAutoWidth(true);
    return line;
  }

  private static int misused(ParameterException e, String[] args) {
    CommandLine command = e.getCommandLine();
    String message = e.getMessage().replace('\n', ' ');
    command
        .getErr()
        .println(
            "lifeboat: "
                + message
                + (message.contains(" (") && message.endsWith(")")
                    ? ""
                    : " (" + command.getCommandSpec().qualifiedName() + " --help tells more)"));
    removeRunDirectory(command);
    return ExitCodes.USAGE;
  }

  /** Of a run that does not come to be; its launcher has made it, and is this process by now. */
  private static void removeRunDirectory(CommandLine command) {
    String folder = System.getenv("LIFEBOAT_RUN_DIR");
    if (folder == null || !command.getCommandName().equals("run")) {
      return;
    }
    try {
      Folders.delete(Path.of(folder));
    } catch (IOException e) {
      command.getErr().println("lifeboat: " + folder + " is left behind: " + e.getMessage());
    }
  }

  private static int failed(Exception e, CommandLine command) throws Exception {
    if (e instanceof StoreException
        || e instanceof SnapshotException
        || e instanceof CriuException
        || e instanceof IOException) {
      command.getErr().println("lifeboat: " + (e.getMessage() == null ? e : e.getMessage()));
      return e instanceof StoreException s && s.operation().equals("open")
          ? ExitCodes.USAGE
          : ExitCodes.FAILURE;
    }
    throw e;
  }

  /** Says which Lifeboat this is. */
  static final class Versions implements IVersionProvider {
    @Override
    public String[] getVersion() {
      return new String[] {"lifeboat " + Version.current()};
    }
  }
}
