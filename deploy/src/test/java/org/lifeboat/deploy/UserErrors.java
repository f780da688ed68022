package org.lifeboat.deploy;

import static java.util.stream.Collectors.toCollection;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Makes mistakes on a host and looks at what a user gets: one line that names the thing and the
 * remedy, the exit code that `docs/errors.md` promises, and nothing that is left behind.
 */
final class UserErrors {

  /** A line that says that something is wrong, by whichever part of Lifeboat says it. */
  static final Pattern ERROR =
      Pattern.compile("^(?:lifeboat|lifeboat-init): .*|^\\S+Z lifeboat ERROR .*");

  /** Other lines that may stand beside it: ours, and what any shell says where it cannot start. */
  private static final Pattern OTHER =
      Pattern.compile("^\\S+Z lifeboat (?:INFO|WARN) .*|.*: getcwd\\(\\) failed: .*");

  private static final Pattern FOREIGN =
      Pattern.compile("\\tat |Exception|java\\.|software\\.amazon|null\\b");

  /** A row of the table: what is wrong, exit code, line. */
  private static final Pattern ROW = Pattern.compile("^\\| (.+?) \\| `(\\d+)` \\| `(.+)` \\|$");

  private final Host host;
  private final Map<String, String> environment = new TreeMap<>();
  private final List<String> failures = new ArrayList<>();
  private List<String> wrap = List.of();

  UserErrors(Host host) {
    this.host = host;
  }

  /** For the next mistake only. */
  UserErrors with(String name, String value) {
    environment.put(name, value);
    return this;
  }

  /** What the next mistake's command is started by. */
  UserErrors under(String... command) {
    wrap = List.of(command);
    return this;
  }

  /** A run of /bin/true. */
  void run(String row, String store) throws IOException, InterruptedException {
    lifeboat(row, "run", "--store", store, "--", "/bin/true");
  }

  /** A mistake on Lifeboat's command line, or in what it finds. */
  void lifeboat(String row, String... arguments) throws IOException, InterruptedException {
    Set<String> before = state();
    check(row, start(arguments));
    nothingLeft(row, before);
  }

  /** A run of /bin/true behind a shell's commands. */
  void inside(String row, String script, String store) throws IOException, InterruptedException {
    Set<String> before = state();
    List<String> run = List.of(Host.LIFEBOAT, "run", "--store", store, "--", "/bin/true");
    check(row, host.start(List.of("sh", "-c", script + " && exec " + String.join(" ", run))));
    nothingLeft(row, before);
  }

  private void nothingLeft(String row, Set<String> before) throws IOException {
    Set<String> after = state();
    after.removeAll(before);
    if (!after.isEmpty()) {
      failures.add(row + ": left behind: " + after);
    }
  }

  /** Starts a mistake that takes its time, for {@link #check}. */
  Program start(String... arguments) throws IOException {
    List<String> command = new ArrayList<>(List.of(Host.LIFEBOAT));
    command.addAll(List.of(arguments));
    Program program = host.start(Map.copyOf(environment), wrap, command);
    environment.clear();
    wrap = List.of();
    return program;
  }

  /** What it prints, and its exit code, are those of the table's row. */
  void check(String row, Program program) throws IOException, InterruptedException {
    int code = program.await();
    Matcher expected = table().get(row);
    if (expected == null) {
      failures.add(row + ": not in the table\n" + program);
      return;
    }
    List<String> lines = program.lines("");
    List<String> errors = lines.stream().filter(ERROR.asMatchPredicate()).toList();
    List<String> foreign =
        lines.stream()
            .filter(
                line ->
                    FOREIGN.matcher(line).find()
                        || (!ERROR.matcher(line).matches() && !OTHER.matcher(line).matches()))
            .toList();
    if (code != Integer.parseInt(expected.group(2))
        || errors.size() != 1
        || !foreign.isEmpty()
        || !pattern(expected.group(3)).matcher(errors.getFirst()).find()) {
      failures.add(
          row
              + ": expected "
              + expected.group(2)
              + " and: "
              + expected.group(3)
              + "\n  found "
              + code
              + " and:\n  "
              + String.join("\n  ", lines));
    }
  }

  /** The line as the table has it; `...` stands for anything. */
  private static Pattern pattern(String line) {
    return Pattern.compile(
        Stream.of(line.split("\\.\\.\\.", -1))
                .map(Pattern::quote)
                .reduce((a, b) -> a + ".*" + b)
                .orElseThrow()
            + "$");
  }

  /** The rows of docs/errors.md. */
  static Map<String, Matcher> table() throws IOException {
    Map<String, Matcher> rows = new TreeMap<>();
    for (String line : Files.readAllLines(Host.DEPLOY.resolve("../docs/errors.md"))) {
      Matcher matcher = ROW.matcher(line);
      if (matcher.matches()) {
        rows.put(matcher.group(1), matcher);
      }
    }
    return rows;
  }

  /** Files, mounts and processes of the host but for folders that stay and CRIU's own notes. */
  private Set<String> state() throws IOException {
    Set<String> state = new TreeSet<>();
    Path root = Path.of("/proc/" + host.pid() + "/root");
    for (String folder : List.of("run", "var/cache", "tmp", "var/tmp", "dev/shm", "mnt", "media")) {
      Path top = root.resolve(folder);
      if (!Files.isDirectory(top)) {
        continue;
      }
      try (Stream<Path> all = Files.walk(top)) {
        state.addAll(
            all.map(path -> root.relativize(path).toString())
                .filter(UserErrors::counts)
                .collect(toCollection(TreeSet::new)));
      } catch (UncheckedIOException e) {
        if (!(e.getCause() instanceof NoSuchFileException)) {
          throw e;
        }
      }
    }
    Files.readAllLines(Path.of("/proc/" + host.pid() + "/mounts"))
        .forEach(line -> state.add("mount " + line));
    host.processes().values().forEach(command -> state.add("process " + command));
    return state;
  }

  private static boolean counts(String path) {
    return !path.matches(
        "run/lifeboat|run/criu\\.kdat|var/cache/lifeboat|media/s3.*"
            + "|.*\\.lifeboat-store.*|.*/\\.fusion(/dump(/(dump_metadata|heartbeat|copies.*))?)?|media/[^/]+|mnt/full/store");
  }

  void assertNone() {
    if (!failures.isEmpty()) {
      throw new AssertionError(String.join("\n\n", failures));
    }
  }

  /** Whether a file is there on the host. */
  static boolean exists(Host host, String path) {
    return Files.exists(Path.of("/proc/" + host.pid() + "/root" + path), LinkOption.NOFOLLOW_LINKS);
  }
}
