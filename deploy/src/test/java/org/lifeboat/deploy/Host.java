package org.lifeboat.deploy;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Another machine on this one: mount, IPC, UTS, network and PID namespaces of its own. Its root
 * file system is this machine's, as two instances of one image are the same, but read-only;
 * whatever can be written is an empty tmpfs (`hosts/boot.sh`). It shares one folder with others
 * when the store is a folder; when the store speaks S3, a cable leads to it and nowhere else.
 *
 * <p>{@link #kill} is what a reclaimed spot instance looks like: everything in it gets SIGKILL at
 * once, and its memory, files, mounts and network are gone.
 */
final class Host implements AutoCloseable {

  /** Of the module; seen as /srv on a host. */
  static final Path DEPLOY = Path.of(System.getProperty("basedir", "")).toAbsolutePath();

  static final String WORK = "/mnt/work";
  private static final String PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  private static final String[] NAMESPACES = {"mnt", "ipc", "uts", "net", "pid"};

  private final String name;
  private final Path folder;
  private final Process holder;
  private final long pid;
  private final Map<String, String> environment = new TreeMap<>();
  private final Set<String> namespaces = new HashSet<>();

  /** As long as they are open nobody else's namespaces get the same numbers. */
  private final List<InputStream> held = new ArrayList<>();

  private final List<Program> started = new ArrayList<>();
  private final MemoryGroup memory;
  private int programs;

  /** Boots a host as most tests need it. */
  Host(String name, Path folder, Path shared) throws IOException {
    this(name, folder, shared, Kind.USUAL);
  }

  /** The kinds of machine. */
  enum Kind {
    /** All that can be written is a tmpfs. */
    USUAL,
    /**
     * Its processes are in a memory cgroup, see {@link #memory}; the cache, with the working
     * directory on it, is on the disk, as memory of tmpfs counts.
     */
    SMALL
  }

  /**
   * Boots a host.
   *
   * @param folder where what its programs print is kept
   * @param shared the folder that it sees as /media, or null
   */
  Host(String name, Path folder, Path shared, Kind kind) throws IOException {
    this.name = name;
    this.folder = folder;
    this.memory = kind == Kind.SMALL ? new MemoryGroup() : null;
    Files.createDirectories(folder);
    List<String> command = new ArrayList<>(memory == null ? List.of() : memory.enter());
    Path disk = folder.resolve(name + ".disk");
    if (kind == Kind.SMALL) {
      Scene.delete(disk);
      Files.createDirectories(disk.resolve("cache"));
      Files.createDirectories(disk.resolve("work"));
    }
    command.addAll(
        List.of(
            "unshare",
            "--mount",
            "--ipc",
            "--uts",
            "--net",
            "--pid",
            "--fork",
            "--propagation",
            "private",
            DEPLOY.resolve("src/test/hosts/boot.sh").toString(),
            name,
            DEPLOY.toString(),
            shared == null ? "-" : shared.toString(),
            kind == Kind.SMALL ? disk.toString() : "-"));
    ProcessBuilder boot =
        new ProcessBuilder(command).redirectError(folder.resolve(name + ".boot").toFile());
    holder = boot.start();
    String said = holder.inputReader().readLine();
    if (!"booted".equals(said)) {
      holder.destroyForcibly();
      throw new AssertionError(
          "host " + name + " does not boot: " + Files.readString(folder.resolve(name + ".boot")));
    }
    pid =
        Long.parseLong(
            Files.readString(
                    Path.of("/proc/" + holder.pid() + "/task/" + holder.pid() + "/children"))
                .strip());
    for (String namespace : NAMESPACES) {
      Path link = Path.of("/proc/" + pid + "/ns/" + namespace);
      namespaces.add(Files.readSymbolicLink(link).toString());
      held.add(Files.newInputStream(link));
    }
    environment.put("PATH", PATH);
    environment.put("HOME", "/mnt/home");
    environment.put("LC_ALL", "C.UTF-8");
    environment.put("LIFEBOAT_CRIU", Tools.criu().toString());
  }

  String name() {
    return name;
  }

  /** The cgroup of a small host. */
  MemoryGroup memory() {
    return java.util.Objects.requireNonNull(memory, "this host has no memory cgroup");
  }

  /** The process id of its PID 1 as seen from outside. */
  long pid() {
    return pid;
  }

  /** What its programs find in their environment. */
  Map<String, String> environment() {
    return environment;
  }

  /** Starts a program in the working directory. */
  Program start(List<String> command) throws IOException {
    return start(Map.of(), List.of(), command);
  }

  /**
   * Starts a program.
   *
   * @param more added to its environment
   * @param unshare further arguments for nsenter(1)'s program: what to wrap the command with
   */
  Program start(Map<String, String> more, List<String> unshare, List<String> command)
      throws IOException {
    List<String> all = new ArrayList<>(memory == null ? List.of() : memory.enter());
    all.addAll(enter());
    all.addAll(unshare);
    all.addAll(List.of("/bin/sh", "-c", "cd " + WORK + " && exec \"$@\"", "sh"));
    all.addAll(command);
    ProcessBuilder builder = new ProcessBuilder(all).redirectInput(new java.io.File("/dev/null"));
    builder.environment().clear();
    builder.environment().putAll(environment);
    builder.environment().putAll(more);
    Program program = new Program(name + "-" + ++programs, builder.start(), folder);
    started.add(program);
    return program;
  }

  private List<String> enter() {
    return List.of("nsenter", "-t", Long.toString(pid), "-m", "-i", "-u", "-n", "-p", "--");
  }

  /** Runs a program to its end, which must be exit code 0, and returns what it printed. */
  String run(String... command) throws IOException, InterruptedException {
    return start(List.of(command)).expect(0).text();
  }

  /** Starts `lifeboat` with these arguments. */
  Program lifeboat(String... arguments) throws IOException {
    return lifeboat(Map.of(), arguments);
  }

  Program lifeboat(Map<String, String> more, String... arguments) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(LIFEBOAT);
    command.addAll(List.of(arguments));
    return start(more, List.of(), command);
  }

  static final String LIFEBOAT = "/srv/target/lifeboat/bin/lifeboat";

  /**
   * The processes of the host, nested PID namespaces included: ids as seen from outside, and
   * command lines.
   */
  Map<Long, String> processes() throws IOException {
    Map<Long, String> found = new HashMap<>();
    for (Path process : Tools.processes()) {
      if (inHere(process)) {
        String command = Tools.read(process.resolve("cmdline")).replace('\0', ' ').strip();
        found.put(Long.parseLong(process.getFileName().toString()), command);
      }
    }
    return found;
  }

  private boolean inHere(Path process) {
    // unshare and nsenter, which wait outside, have entered all namespaces but that of processes
    return namespaces.contains(Tools.link(process.resolve("ns/net")))
        && !Tools.link(process.resolve("ns/pid")).equals(Tools.link(Path.of("/proc/self/ns/pid")));
  }

  /** The one process of the host whose command line has this in it. */
  long find(String part) throws IOException {
    List<Long> found =
        processes().entrySet().stream()
            .filter(entry -> entry.getValue().contains(part))
            .map(Map.Entry::getKey)
            .toList();
    if (found.size() != 1) {
      throw new AssertionError(found.size() + " processes with " + part + ": " + processes());
    }
    return found.getFirst();
  }

  /** The processes of the host whose command lines start so: of a task, not of who starts it. */
  List<Long> starting(String start) throws IOException {
    return processes().entrySet().stream()
        .filter(entry -> entry.getValue().startsWith(start))
        .map(Map.Entry::getKey)
        .sorted()
        .toList();
  }

  /**
   * Every socket of the host that could be reached over a network, as /proc/net has it: protocol,
   * address and state.
   */
  Set<String> ports() throws IOException {
    Set<String> ports = new HashSet<>();
    for (String protocol : List.of("tcp", "tcp6", "udp", "udp6", "raw", "raw6")) {
      List<String> lines =
          Tools.read(Path.of("/proc/" + pid + "/net/" + protocol)).lines().skip(1).toList();
      for (String line : lines) {
        String[] fields = line.strip().split("\\s+", -1);
        boolean listens = fields[3].equals("0A") || !protocol.startsWith("tcp");
        if (listens) {
          ports.add(protocol + " " + fields[1] + " " + fields[3]);
        }
      }
    }
    return ports;
  }

  /** A file of the host, as seen from outside. */
  Path file(String path) {
    return Path.of("/proc/" + pid + "/root" + path);
  }

  /**
   * Stops it where it stands, as a machine that is suspended: every process of it. Returns when all
   * stand still.
   */
  void stop() throws IOException, InterruptedException {
    long limit = System.nanoTime() + Program.LIMIT.toNanos();
    for (boolean moving = true; moving; ) {
      moving = false;
      for (long process : processes().keySet()) {
        String stat = Tools.read(Path.of("/proc/" + process + "/stat"));
        if (!stat.isEmpty() && !stat.matches("(?s).*\\) [TtZX] .*")) {
          moving = true;
          new ProcessBuilder("kill", "-STOP", Long.toString(process)).start().waitFor();
        }
      }
      if (System.nanoTime() > limit) {
        throw new AssertionError("host " + name + " does not stop: " + processes());
      }
    }
  }

  /** Lets it go on, whatever runs in it first and Lifeboat last: the worst order. */
  void goOn() throws IOException, InterruptedException {
    List<Long> others = new ArrayList<>();
    List<Long> ours = new ArrayList<>();
    processes().forEach((id, line) -> (line.contains("lifeboat") ? ours : others).add(id));
    others.addAll(ours);
    for (Program program : started) {
      if (program.running()) {
        others.add(program.process().pid()); // nsenter stops when its child does
      }
    }
    List<String> command = new ArrayList<>(List.of("kill", "-CONT"));
    others.forEach(id -> command.add(Long.toString(id)));
    new ProcessBuilder(command).start().waitFor(); // some may have ended by then
  }

  /** Takes it away without any notice. */
  void kill() {
    ProcessHandle.of(pid).ifPresent(ProcessHandle::destroyForcibly);
    for (Program program : started) {
      program
          .process()
          .destroyForcibly(); // nsenter, outside; it has stopped when its child was stopped
    }
    holder.onExit().join();
  }

  @Override
  public void close() throws IOException {
    if (holder.isAlive()) {
      kill();
    }
    for (Path process : Tools.processes()) {
      for (String namespace : NAMESPACES) {
        String link = Tools.link(process.resolve("ns").resolve(namespace));
        if (namespaces.contains(link) && alive(process)) {
          throw new AssertionError(
              "process "
                  + process
                  + " of host "
                  + name
                  + " is left: "
                  + Tools.read(process.resolve("cmdline")));
        }
      }
    }
    for (InputStream namespace : held) {
      namespace.close();
    }
    if (memory != null) {
      memory.close();
    }
  }

  /** A zombie that nobody has waited for yet has no namespaces but these in its links. */
  private static boolean alive(Path process) {
    return !Tools.read(process.resolve("stat")).contains(") Z ");
  }

  /** Runs a command on the machine itself; a failure is an error. */
  static String command(String... command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    int code = process.waitFor();
    if (code != 0) {
      throw new AssertionError(String.join(" ", command) + " ended with " + code + ": " + said);
    }
    return said;
  }
}
