package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Counts the processes of the namespace. A process that is neither Lifeboat's own nor below the
 * task's root would be lost by a dump in silence, so it fails the dump by name; a process that has
 * a number which a restore needs fails the restore by name.
 */
public final class Census {

  private final Map<Long, Entry> processes;

  private Census(Map<Long, Entry> processes) {
    this.processes = processes;
  }

  /** Looks at /proc now. */
  public static Census take() throws IOException {
    return take(Path.of("/proc"));
  }

  static Census take(Path proc) throws IOException {
    Map<Long, Entry> found = new HashMap<>();
    try (DirectoryStream<Path> folders = Files.newDirectoryStream(proc, "[0-9]*")) {
      for (Path folder : folders) {
        try {
          String stat =
              new String(Files.readAllBytes(folder.resolve("stat")), StandardCharsets.ISO_8859_1);
          int open = stat.indexOf('(');
          int close = stat.lastIndexOf(')');
          String[] rest = stat.substring(close + 2).split(" ", 4);
          long pid = Long.parseLong(folder.getFileName().toString());
          found.put(
              pid,
              new Entry(
                  pid,
                  stat.substring(open + 1, close),
                  rest[0].charAt(0),
                  Long.parseLong(rest[1])));
        } catch (IOException e) {
          if (Files.exists(folder)) { // otherwise it has ended since the folder was listed
            throw e;
          }
        }
      }
    }
    return new Census(found);
  }

  /** The processes of the tree below and with {@code root} that have not ended. */
  public Set<Long> living(long root) {
    Set<Long> living = tree(root);
    living.removeIf(pid -> processes.get(pid).state() == 'Z');
    return living;
  }

  /** The processes of the tree below and with {@code root} that are neither stopped nor over. */
  public Set<Long> running(long root) {
    Set<Long> running = tree(root);
    running.removeIf(pid -> "TtZX".indexOf(processes.get(pid).state()) >= 0);
    return running;
  }

  /** The processes of the tree that stand stopped by a signal. */
  public Set<Long> stopped(long root) {
    Set<Long> stopped = tree(root);
    stopped.removeIf(pid -> processes.get(pid).state() != 'T');
    return stopped;
  }

  /**
   * The processes of the tree below and with {@code root}; also those that nobody has waited for.
   */
  public Set<Long> tree(long root) {
    Set<Long> tree = new LinkedHashSet<>();
    if (processes.containsKey(root)) {
      tree.add(root);
    }
    boolean grown = !tree.isEmpty();
    while (grown) {
      grown = false;
      for (Entry process : processes.values()) {
        if (!tree.contains(process.pid()) && tree.contains(process.parent())) {
          tree.add(process.pid());
          grown = true;
        }
      }
    }
    return tree;
  }

  /**
   * The processes that a dump of the tree would leave behind. Who entered the namespace from
   * outside (a shell in the container, and {@code lifeboat checkpoint} itself) has no parent in it:
   * what the task leaves behind always ends up below its root or PID 1.
   *
   * @param root the task's root
   * @param own processes of ours, whose children are ours too
   */
  public List<Entry> strangers(long root, Set<Long> own) {
    Set<Long> known = new LinkedHashSet<>(tree(root));
    for (long pid : own) {
      known.addAll(tree(pid));
    }
    for (Entry visitor : visitors()) {
      known.add(visitor.pid());
    }
    List<Entry> strangers = new ArrayList<>();
    for (Entry process : processes.values()) {
      if (process.pid() != 1 && !known.contains(process.pid()) && process.state() != 'Z') {
        strangers.add(process);
      }
    }
    return strangers;
  }

  /** Who entered the namespace from outside, and what they started. */
  public List<Entry> visitors() {
    List<Entry> visitors = new ArrayList<>();
    for (Entry process : processes.values()) {
      if (process.parent() == 0 && process.pid() != 1) {
        for (long pid : tree(process.pid())) {
          visitors.add(processes.get(pid));
        }
      }
    }
    return visitors;
  }

  /** Which of these ids are taken by a process or thread, with the name of the process. */
  public static Map<Integer, String> taken(Set<Integer> ids) {
    Map<Integer, String> taken = new HashMap<>();
    for (int id : ids) {
      name(id).ifPresent(name -> taken.put(id, name));
    }
    return taken;
  }

  /** The name of the process or thread; /proc/ID answers for threads too. */
  private static Optional<String> name(int id) {
    try {
      return Optional.of(
          new String(
                  Files.readAllBytes(Path.of("/proc", Integer.toString(id), "comm")),
                  StandardCharsets.ISO_8859_1)
              .strip());
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  /** A process. */
  public record Entry(long pid, String name, char state, long parent) {
    @Override
    public String toString() {
      return "process " + pid + " (" + name + ")";
    }
  }
}
