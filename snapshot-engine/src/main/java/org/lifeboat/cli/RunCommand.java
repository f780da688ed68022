package org.lifeboat.cli;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.lifeboat.snapshot.Retention;
import org.lifeboat.task.Engine;
import org.lifeboat.task.RunOptions;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(
    name = "run",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Runs a command so that it can be saved and brought back.",
      "",
      "The same line does both: where URL holds a snapshot of this command, the newest one that can "
          + "be restored is brought back; where it holds none, the command is started. When a task has "
          + "ended, that is recorded too, and the next run starts it anew.",
      ""
    },
    footer = {
      "",
      "What is saved: the memory of the command and all its children, and the files that it changed "
          + "or has open: below the working directory, /tmp, /var/tmp, /dev/shm, $TMPDIR and --preserve.",
      "",
      "Settings (environment): LIFEBOAT_CACHE_LOCATION (default /var/cache/lifeboat), "
          + "LIFEBOAT_POOL_SIZE (memory for a dump, default 256m), LIFEBOAT_CRIU (the criu to use), "
          + "LIFEBOAT_LOG_LEVEL (error, warn, info, debug), LIFEBOAT_REQUEST_LOG (a file for a line of "
          + "JSON per request to the store); for s3:// the AWS variables and AWS_ENDPOINT_URL_S3."
    })
final class RunCommand implements Callable<Integer> {

  private static final Path SELF = Path.of("/proc/self");

  @Spec private CommandSpec spec;

  @Mixin private StoreOption store;

  @Option(
      names = "--every",
      paramLabel = "DURATION",
      converter = DurationConverter.class,
      description =
          "Take a snapshot that often, as in 5m, without stopping the task: a machine that is lost without"
              + " any notice then costs that much at the most.")
  private Duration every;

  @Option(
      names = "--keep",
      paramLabel = "N",
      defaultValue = "${env:LIFEBOAT_KEEP:-2}",
      description =
          "How many snapshots stay in the store while the task lives, the newest ones (default 2, or"
              + " LIFEBOAT_KEEP; 1 to "
              + Retention.MAX_KEEP
              + "). One that turned out to be damaged does not count.")
  private int keep;

  @Option(
      names = "--preserve",
      paramLabel = "PATH",
      description =
          "A further file or folder whose changes belong to the snapshots; may be repeated.")
  private List<Path> preserve = new ArrayList<>();

  @Option(
      names = "--after-dump",
      paramLabel = "exit|park",
      defaultValue = "exit",
      description =
          "What to do when the task was saved and stopped: exit with code 75 (the default), or stay until"
              + " the machine is gone.")
  private String afterDump;

  @Option(names = "--fresh", description = "Start the command anew, whatever snapshots there are.")
  private boolean fresh;

  @Option(
      names = "--takeover",
      description = "Take the store from a run that still seems to live; that one ends then.")
  private boolean takeover;

  @Parameters(
      arity = "1..*",
      paramLabel = "CMD",
      description = "The command and its arguments, behind --.")
  private List<String> command = new ArrayList<>();

  @Override
  public Integer call() throws IOException {
    RunOptions.AfterDump after =
        switch (afterDump) {
          case "exit" -> RunOptions.AfterDump.EXIT;
          case "park" -> RunOptions.AfterDump.PARK;
          default ->
              throw new ParameterException(
                  spec.commandLine(), "--after-dump is exit or park, not " + afterDump);
        };
    if (keep < 1 || keep > Retention.MAX_KEEP) {
      throw new ParameterException(
          spec.commandLine(),
          "--keep (LIFEBOAT_KEEP) is 1 to " + Retention.MAX_KEEP + ", not " + keep);
    }
    RunOptions options =
        new RunOptions(
            store.url(),
            preserve.stream().map(Path::toAbsolutePath).map(Path::normalize).toList(),
            Optional.ofNullable(every),
            keep,
            after,
            fresh,
            takeover,
            rawCommand(),
            rawEnvironment(),
            Path.of("").toAbsolutePath());
    return Engine.run(options, System.getenv());
  }

  /**
   * The command's arguments as the bytes that they are: Java's strings lose what is no valid text.
   */
  private List<String> rawCommand() throws IOException {
    List<String> all = fields(SELF.resolve("cmdline"));
    return List.copyOf(all.subList(all.size() - command.size(), all.size()));
  }

  /** The user's: the launcher has kept it, as its shell loses what is no shell variable's name. */
  private static Map<String, String> rawEnvironment() throws IOException {
    Map<String, String> environment = new LinkedHashMap<>();
    String runDirectory = System.getenv("LIFEBOAT_RUN_DIR");
    boolean kept = runDirectory != null && Files.exists(Path.of(runDirectory, "environ"));
    for (String entry : fields(kept ? Path.of(runDirectory, "environ") : SELF.resolve("environ"))) {
      int equals = entry.indexOf('=');
      if (equals > 0) {
        environment.put(entry.substring(0, equals), entry.substring(equals + 1));
      }
    }
    return environment;
  }

  private static List<String> fields(Path file) throws IOException {
    String all = new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
    List<String> fields = new ArrayList<>();
    int start = 0;
    for (int end = all.indexOf('\0'); end >= 0; end = all.indexOf('\0', start)) {
      fields.add(all.substring(start, end));
      start = end + 1;
    }
    return fields;
  }
}
