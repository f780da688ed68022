package org.lifeboat.cli;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import org.lifeboat.snapshot.Retention;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.task.Durations;
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
      "The same line does both: where URL holds a snapshot of this command, the newest one that can"
          + " be restored is brought back; where it holds none, the command is started. When a task"
          + " has ended, that is recorded too, and the next run starts it anew.",
      ""
    },
    footer = {
      "",
      "What is saved: the memory of the command and all its children, and the files that it changed"
          + " or has open: below the working directory, /tmp, /var/tmp, /dev/shm, $TMPDIR and"
          + " --preserve.",
      "",
      "Settings (environment): LIFEBOAT_CACHE_LOCATION (default /var/cache/lifeboat),"
          + " LIFEBOAT_POOL_SIZE (memory for a dump, default 256m), LIFEBOAT_CRIU (the criu to"
          + " use), LIFEBOAT_LOG_LEVEL (error, warn, info, debug), LIFEBOAT_REQUEST_LOG (a file for"
          + " a line of JSON per request to the store); for s3:// the AWS variables and"
          + " AWS_ENDPOINT_URL_S3."
    })
final class RunCommand implements Callable<Integer> {

  private static final Path SELF = Path.of("/proc/self");

  private final Map<String, String> environment;

  RunCommand(Map<String, String> environment) {
    this.environment = environment;
  }

  @Spec private CommandSpec spec;

  @Mixin private StoreOption store;

  @Option(
      names = "--every",
      paramLabel = "DURATION",
      converter = DurationConverter.class,
      description =
          "Take a snapshot that often, as in 5m, without stopping the task: a machine that is lost"
              + " without any notice then costs that much at the most.")
  private Duration every;

  @Option(
      names = "--keep",
      paramLabel = "N",
      defaultValue = "${env:LIFEBOAT_KEEP:-2}",
      description =
          "How many snapshots stay in the store while the task lives, the newest ones (default 2,"
              + " or LIFEBOAT_KEEP; 1 to "
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
          "What to do when the task was saved and stopped: exit with code 75 (the default), or stay"
              + " until the machine is gone.")
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

  /**
   * The command without picocli, which takes 100 ms to look at each option of each command, while a
   * task waits for its start. This reads only what is beyond doubt ({@code run}, options with their
   * values, {@code --}, a command); for anything else, and for help and complaints, it is empty,
   * and picocli decides.
   */
  static Optional<RunCommand> plain(Map<String, String> environment, String... args) {
    if (args.length == 0 || !args[0].equals("run")) {
      return Optional.empty();
    }
    RunCommand run = new RunCommand(environment);
    run.afterDump = "exit";
    if (!run.set("--keep", environment.getOrDefault("LIFEBOAT_KEEP", "2"))) {
      return Optional.empty();
    }
    Set<String> seen = new HashSet<>();
    for (int at = 1; at < args.length; at++) {
      String name = args[at];
      if (name.equals("--")) {
        run.command = List.of(args).subList(at + 1, args.length);
        return run.store == null || run.command.isEmpty() ? Optional.empty() : Optional.of(run);
      }
      boolean takesValue = !name.equals("--fresh") && !name.equals("--takeover");
      boolean isRepeated = !seen.add(name) && !name.equals("--preserve");
      String value = takesValue && at + 1 < args.length ? args[++at] : "";
      if (isRepeated || (takesValue && (value.isEmpty() || value.startsWith("-")))) {
        return Optional.empty();
      }
      if (!run.set(name, value)) {
        return Optional.empty();
      }
    }
    return Optional.empty();
  }

  /** Sets an option; false for one that picocli is to look at. */
  private boolean set(String name, String value) {
    try {
      switch (name) {
        case "--store" -> {
          StoreUrl.parse(value);
          store = new StoreOption(value);
        }
        case "--every" -> every = Durations.parse(value);
        case "--keep" -> keep = value.matches("[1-9]\\d{0,3}") ? Integer.parseInt(value) : 0;
        case "--preserve" -> preserve.add(Path.of(value));
        case "--after-dump" -> afterDump = value;
        case "--fresh" -> fresh = true;
        case "--takeover" -> takeover = true;
        default -> {
          return false;
        }
      }
    } catch (IllegalArgumentException e) {
      return false;
    }
    return (afterDump.equals("exit") || afterDump.equals("park"))
        && keep >= 1
        && keep <= Retention.MAX_KEEP;
  }

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
    return Engine.run(options, environment);
  }

  /** What was read, for tests. */
  @Override
  public String toString() {
    return String.join(
        " ",
        store.url().toString(),
        String.valueOf(every),
        preserve.toString(),
        keep + " " + afterDump,
        fresh + "/" + takeover,
        command.toString());
  }

  /**
   * The command's arguments as the bytes that they are: Java's strings lose what is no valid text.
   */
  private List<String> rawCommand() throws IOException {
    List<String> all = fields(SELF.resolve("cmdline"));
    return List.copyOf(all.subList(all.size() - command.size(), all.size()));
  }

  /** The user's: the launcher has kept it, as its shell loses what is no shell variable's name. */
  private Map<String, String> rawEnvironment() throws IOException {
    Map<String, String> raw = new LinkedHashMap<>();
    String runDirectory = environment.get("LIFEBOAT_RUN_DIR");
    boolean kept = runDirectory != null && Files.exists(Path.of(runDirectory, "environ"));
    for (String entry : fields(kept ? Path.of(runDirectory, "environ") : SELF.resolve("environ"))) {
      int equals = entry.indexOf('=');
      if (equals > 0) {
        raw.put(entry.substring(0, equals), entry.substring(equals + 1));
      }
    }
    return raw;
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
