package org.lifeboat.deploy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * What one test has: a store, hosts, and a task's URL. When it closes nothing of it may be left on
 * this machine.
 */
final class Scene implements AutoCloseable {

  static final String NAME = "task";
  private static final JsonMapper JSON = JsonMapper.builder().build();

  private final Path folder;
  private final Site site;
  private final Deque<Host> hosts = new ArrayDeque<>();
  private int booted;

  /**
   * @param name of the folder below target/it where all output and the store are kept until the
   *     next run
   */
  Scene(String name, Site.Kind kind) throws IOException, InterruptedException {
    this(name, kind, null);
  }

  /**
   * @param size of the store's disk, or null
   */
  Scene(String name, Site.Kind kind, String size) throws IOException, InterruptedException {
    this(name, kind, size, null);
  }

  /**
   * @param size of the store's disk, or null
   * @param store another scene's, closed, which this one begins with; or null
   */
  Scene(String name, Site.Kind kind, String size, Path store)
      throws IOException, InterruptedException {
    if (!Files.isExecutable(Host.DEPLOY.resolve("target/lifeboat/bin/lifeboat"))) {
      throw new AssertionError("there is no distribution in target/lifeboat: mvn package makes it");
    }
    folder = Host.DEPLOY.resolve("target/it").resolve(name + "-" + kind);
    delete(folder);
    if (store != null) {
      Files.createDirectories(folder);
      Host.command("cp", "-a", store.toString(), folder.resolve("store").toString());
    }
    site = new Site(kind, Files.createDirectories(folder), size);
  }

  static void delete(Path folder) throws IOException {
    if (!Files.exists(folder)) {
      return;
    }
    List<Path> all;
    try (Stream<Path> walk = Files.walk(folder)) {
      all = walk.sorted(Comparator.reverseOrder()).toList();
    }
    for (Path path : all) {
      Files.delete(path);
    }
  }

  /** Where the store lies; for another scene to begin with. */
  Path store() {
    return folder.resolve("store");
  }

  Site site() {
    return site;
  }

  String url() {
    return site.url(NAME);
  }

  /** Boots a further host. */
  Host host() throws IOException, InterruptedException {
    return host(Host.Kind.USUAL);
  }

  Host host(Host.Kind kind) throws IOException, InterruptedException {
    Host host = site.host("host" + ++booted, folder, kind);
    hosts.push(host);
    return host;
  }

  /** Takes a host away, and checks that nothing of it is left. */
  void drop(Host host) throws IOException {
    hosts.remove(host);
    host.close();
  }

  /** `lifeboat run` of a workload. */
  Program run(Host host, Workload workload, int steps, String... options)
      throws IOException, InterruptedException {
    workload.prepare();
    return run(host, workload.command(steps), options);
  }

  Program run(Host host, List<String> command, String... options) throws IOException {
    return host.lifeboat(runArguments(command, options));
  }

  String[] runArguments(List<String> command, String... options) {
    List<String> arguments = new ArrayList<>(List.of("run", "--store", url()));
    arguments.addAll(List.of(options));
    arguments.add("--");
    arguments.addAll(command);
    return arguments.toArray(String[]::new);
  }

  /** `lifeboat checkpoint`. */
  Program checkpoint(Host host, String... options) throws IOException {
    List<String> arguments = new ArrayList<>(List.of("checkpoint", "--store", url()));
    arguments.addAll(List.of(options));
    return host.lifeboat(arguments.toArray(String[]::new));
  }

  /** Another command on the store, which must succeed. */
  String ask(Host host, String command, String... options)
      throws IOException, InterruptedException {
    return command(host, command, options).expect(0).text();
  }

  Program command(Host host, String command, String... options) throws IOException {
    List<String> arguments = new ArrayList<>(List.of(command, "--store", url()));
    arguments.addAll(List.of(options));
    return host.lifeboat(arguments.toArray(String[]::new));
  }

  static JsonNode json(String text) {
    return JSON.readTree(text);
  }

  /** The dumps that `lifeboat list --json` shows, oldest first. */
  List<JsonNode> dumps(Host host) throws IOException, InterruptedException {
    List<JsonNode> dumps = new ArrayList<>();
    json(ask(host, "list", "--json")).path("dumps").forEach(dumps::add);
    return dumps;
  }

  /** Lets the task of a host run without pauses, to its end, which must have its own exit code. */
  void finish(Host host, Program run, Workload workload) throws IOException, InterruptedException {
    host.run("touch", "hurry");
    run.expect(workload.code());
  }

  /** The keys of a dump's objects whose names match. */
  List<String> keys(int dump, String pattern) throws IOException {
    return site.keys(NAME, ".fusion/dump/" + dump + "/").stream()
        .filter(key -> key.replaceFirst("^\\.fusion/dump/\\d+/", "").matches(pattern))
        .toList();
  }

  /** An object's text. */
  String object(String key) throws IOException {
    return Files.readString(site.object(NAME, key));
  }

  /** CRIU's own logs are in the store, whole: one of the last lines says that all went well. */
  void assertLog(int dump, String pattern, String success) throws IOException {
    List<String> logs = keys(dump, pattern);
    if (logs.isEmpty()) {
      throw new AssertionError(
          "dump " + dump + " has no log " + pattern + ": " + site.keys(NAME, ".fusion/dump/"));
    }
    for (String log : logs) {
      List<String> lines = object(log).lines().toList();
      List<String> last = lines.subList(Math.max(0, lines.size() - 3), lines.size());
      if (last.stream().noneMatch(line -> line.endsWith(success))) {
        throw new AssertionError(log + " does not end with '" + success + "': " + last);
      }
    }
  }

  @Override
  public void close() throws IOException {
    AssertionError failure = null;
    while (!hosts.isEmpty()) {
      try {
        hosts.pop().close();
      } catch (AssertionError e) {
        failure = e;
      }
    }
    site.close();
    if (failure != null) {
      throw failure;
    }
    String mounts = Files.readString(Path.of("/proc/self/mountinfo"));
    if (mounts.contains("lifeboat-test") || mounts.contains(folder.toString())) {
      throw new AssertionError("a mount is left:\n" + mounts);
    }
    for (Map.Entry<String, String> link :
        Map.of("up0", "a host's", "down1", "the store's").entrySet()) {
      if (Files.exists(Path.of("/sys/class/net", link.getKey()))) {
        throw new AssertionError(
            link.getValue() + " network interface " + link.getKey() + " is left");
      }
    }
  }
}
