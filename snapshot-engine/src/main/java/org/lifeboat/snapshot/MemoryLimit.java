package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * How much memory is left to us, who share the task's limit: the machine's, and those of our own
 * cgroup and of every one above it, in both versions of cgroups.
 *
 * <p>What counts is the smallest room of all, not the smallest limit: a pod's limit that other
 * containers have used up is nearer than our own. The page cache counts as room, but for what is
 * dirty: the kernel drops it before it kills anybody. Memory of tmpfs stands in the page cache's
 * figures too, yet cannot be dropped; so the lists of files are taken and not "cache".
 *
 * <pre>
 *               limit                           used                     of that, can be dropped
 *   machine     /proc/meminfo MemTotal          MemTotal - MemAvailable  -
 *   version 1   memory.limit_in_bytes           memory.usage_in_bytes    memory.stat: total_inactive_file,
 *                                                                        total_active_file, less total_dirty,
 *                                                                        total_writeback
 *   version 2   the less of memory.max, .high   memory.current           the same without total_, as
 *                                                                        file_dirty, file_writeback;
 *                                                                        slab_reclaimable
 * </pre>
 *
 * <p>Where a group stands is told by {@code /proc/self/cgroup} and {@code /proc/self/mountinfo}. A
 * container may see its group at the mount's root, whatever its path is called outside.
 */
public final class MemoryLimit {

  private static final Logger log = LoggerFactory.getLogger(MemoryLimit.class);

  /** Version 1 writes "no limit" as the largest number of whole pages. */
  private static final long UNLIMITED = 1L << 60;

  private MemoryLimit() {}

  /**
   * The nearest limit.
   *
   * @param limit in bytes
   * @param room bytes that may still be taken; 0 or less when there is none
   * @param where the folder of the cgroup, or /proc/meminfo
   */
  public record Nearest(long limit, long room, String where) {

    @Override
    public String toString() {
      return (room >> 20) + " MiB of " + (limit >> 20) + " MiB left in " + where;
    }
  }

  /** The nearest limit now; empty when nothing of it can be read. */
  public static Optional<Nearest> read() {
    return read(Path.of("/"));
  }

  /** As if {@code root} were the root of the file system. */
  static Optional<Nearest> read(Path root) {
    List<Nearest> all = new ArrayList<>();
    try {
      machine(root).ifPresent(all::add);
      Map<String, String> paths = paths(root.resolve("proc/self/cgroup"));
      for (String line : lines(root.resolve("proc/self/mountinfo"))) {
        mount(root, line, paths, all);
      }
    } catch (IOException e) {
      log.debug("the memory limit is not known: {}", e.toString());
    }
    return all.stream().min((a, b) -> Long.compare(a.room, b.room));
  }

  private static Optional<Nearest> machine(Path root) throws IOException {
    Map<String, Long> figures = figures(root.resolve("proc/meminfo"), ":? +| kB");
    Long total = figures.get("MemTotal");
    Long available = figures.get("MemAvailable");
    return total == null || available == null
        ? Optional.empty()
        : Optional.of(new Nearest(total << 10, available << 10, "/proc/meminfo"));
  }

  /** Our group's path by its controller; version 2 is the controller "". */
  private static Map<String, String> paths(Path file) throws IOException {
    Map<String, String> paths = new HashMap<>();
    for (String line : lines(file)) {
      String[] fields = line.split(":", 3);
      if (fields.length == 3) {
        for (String controller : fields[1].split(",", -1)) {
          paths.put(controller, fields[2]);
        }
      }
    }
    return paths;
  }

  /** {@code ID PARENT MAJOR:MINOR ROOT POINT OPTIONS ... - TYPE SOURCE SUPEROPTIONS}. */
  private static void mount(Path root, String line, Map<String, String> paths, List<Nearest> all) {
    String[] halves = line.split(" - ", 2);
    String[] fields = halves[0].split(" ", -1);
    if (halves.length < 2 || fields.length < 6) {
      return;
    }
    String[] type = halves[1].split(" ", -1);
    boolean second = type[0].equals("cgroup2");
    boolean first =
        type[0].equals("cgroup")
            && type.length > 2
            && List.of(type[2].split(",", -1)).contains("memory");
    String path = paths.get(second ? "" : "memory");
    if (!(first || second) || path == null) {
      return;
    }
    Path top = root.resolve(fields[4].substring(1));
    for (Path group = group(top, fields[3], path);
        group != null && group.startsWith(top);
        group = group.getParent()) {
      try {
        (second ? second(group) : first(group)).ifPresent(all::add);
      } catch (IOException | NumberFormatException e) {
        log.debug("the memory limit of {} is not known: {}", group, e.toString());
      }
    }
  }

  private static Path group(Path top, String mounted, String path) {
    if (mounted.equals("/")) {
      Path group = top.resolve(path.substring(1)).normalize();
      return group.startsWith(top) && Files.isDirectory(group) ? group : top;
    }
    if (path.equals(mounted) || path.startsWith(mounted + "/")) {
      Path group = top.resolve("." + path.substring(mounted.length())).normalize();
      return Files.isDirectory(group) ? group : top;
    }
    return top;
  }

  private static Optional<Nearest> first(Path group) throws IOException {
    Optional<Long> limit = number(group.resolve("memory.limit_in_bytes"));
    Optional<Long> used = number(group.resolve("memory.usage_in_bytes"));
    if (limit.isEmpty() || used.isEmpty() || limit.get() >= UNLIMITED) {
      return Optional.empty();
    }
    Map<String, Long> stat = figures(group.resolve("memory.stat"), " ");
    return nearest(
        group,
        limit.get(),
        used.get(),
        sum(stat, "total_inactive_file", "total_active_file")
            - sum(stat, "total_dirty", "total_writeback"));
  }

  private static Optional<Nearest> second(Path group) throws IOException {
    Optional<Long> max = number(group.resolve("memory.max"));
    Optional<Long> high = number(group.resolve("memory.high"));
    Optional<Long> used = number(group.resolve("memory.current"));
    if ((max.isEmpty() && high.isEmpty()) || used.isEmpty()) {
      return Optional.empty();
    }
    Map<String, Long> stat = figures(group.resolve("memory.stat"), " ");
    return nearest(
        group,
        Math.min(max.orElse(Long.MAX_VALUE), high.orElse(Long.MAX_VALUE)),
        used.get(),
        sum(stat, "inactive_file", "active_file", "slab_reclaimable")
            - sum(stat, "file_dirty", "file_writeback"));
  }

  private static Optional<Nearest> nearest(Path group, long limit, long used, long droppable) {
    return Optional.of(
        new Nearest(limit, limit - used + Math.clamp(droppable, 0, used), group.toString()));
  }

  private static long sum(Map<String, Long> figures, String... names) {
    long sum = 0;
    for (String name : names) {
      sum += figures.getOrDefault(name, 0L);
    }
    return sum;
  }

  /** Empty when there is no such file, or it says "max". */
  private static Optional<Long> number(Path file) throws IOException {
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    String text = Files.readString(file).strip();
    return text.equals("max") ? Optional.empty() : Optional.of(Long.valueOf(text));
  }

  private static Map<String, Long> figures(Path file, String separator) throws IOException {
    Map<String, Long> figures = new HashMap<>();
    for (String line : lines(file)) {
      String[] fields = line.split(separator, -1);
      if (fields.length > 1 && fields[1].matches("\\d{1,18}")) {
        figures.put(fields[0], Long.valueOf(fields[1]));
      }
    }
    return figures;
  }

  /** Empty when there is no such file. Mount points may have any bytes in their names. */
  private static List<String> lines(Path file) throws IOException {
    if (!Files.exists(file)) {
      return List.of();
    }
    return new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1).lines().toList();
  }
}
