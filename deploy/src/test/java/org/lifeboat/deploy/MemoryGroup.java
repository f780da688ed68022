package org.lifeboat.deploy;

import java.io.IOException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A memory cgroup (version 1) of this test's own, below the one that the test runs in. Whoever is
 * started in it is charged for every page that it is first to touch, the page cache and tmpfs
 * included, as in a container with a limit.
 */
final class MemoryGroup implements AutoCloseable {

  private static final AtomicInteger NUMBER = new AtomicInteger();

  private final Path folder;

  MemoryGroup() throws IOException {
    Path root = Path.of("/sys/fs/cgroup/memory");
    String own =
        Files.readAllLines(Path.of("/proc/self/cgroup")).stream()
            .map(line -> line.split(":", 3))
            .filter(fields -> List.of(fields[1].split(",")).contains("memory"))
            .map(fields -> fields[2])
            .findFirst()
            .orElseThrow(
                () -> new AssertionError("there is no memory cgroup of version 1 in " + root));
    Path parent = root.resolve(own.substring(1));
    folder =
        Files.createDirectory(
            (Files.isDirectory(parent) ? parent : root)
                .resolve(
                    "lifeboat-test-"
                        + ProcessHandle.current().pid()
                        + "-"
                        + NUMBER.incrementAndGet()));
  }

  /** What to put before a command so that it runs in here. */
  List<String> enter() {
    return List.of(
        "/bin/sh", "-c", "echo 0 >" + folder.resolve("cgroup.procs") + " && exec \"$@\"", "sh");
  }

  /** Sets the limit in bytes. */
  void limit(long bytes) throws IOException {
    Files.writeString(folder.resolve("memory.limit_in_bytes"), Long.toString(bytes));
  }

  private long number(String name) throws IOException {
    return Long.parseLong(Files.readString(folder.resolve(name)).strip());
  }

  /** Bytes that are charged now, the page cache included. */
  long used() throws IOException {
    return number("memory.usage_in_bytes");
  }

  /** The most bytes that were charged at a time. */
  long most() throws IOException {
    return number("memory.max_usage_in_bytes");
  }

  /** Processes that were killed because the limit was reached and nothing could be dropped. */
  long kills() throws IOException {
    for (String line : Files.readAllLines(folder.resolve("memory.oom_control"))) {
      if (line.startsWith("oom_kill ")) {
        return Long.parseLong(line.substring("oom_kill ".length()));
      }
    }
    throw new AssertionError("this kernel does not count the kills of a group");
  }

  /** One of the figures of memory.stat, in bytes. */
  long stat(String name) throws IOException {
    for (String line : Files.readAllLines(folder.resolve("memory.stat"))) {
      if (line.startsWith(name + " ")) {
        return Long.parseLong(line.substring(name.length() + 1));
      }
    }
    throw new AssertionError("memory.stat has no " + name);
  }

  @Override
  public String toString() {
    try {
      return "limit %d MiB, at most %d MiB used, limit met %d times, %d killed"
          .formatted(
              number("memory.limit_in_bytes") >> 20,
              number("memory.max_usage_in_bytes") >> 20,
              number("memory.failcnt"),
              kills());
    } catch (IOException e) {
      return folder + ": " + e;
    }
  }

  /** Waits for the last process to be gone: the kernel lets go of them a little later. */
  @Override
  public void close() throws IOException {
    long limit = System.nanoTime() + Program.LIMIT.toNanos();
    while (Files.exists(folder)) {
      try {
        Files.delete(folder);
      } catch (DirectoryNotEmptyException e) {
        throw new AssertionError("groups are left below " + folder, e);
      } catch (FileSystemException e) {
        if (System.nanoTime() > limit) {
          throw new AssertionError(
              "processes are left in "
                  + folder
                  + ": "
                  + Files.readString(folder.resolve("cgroup.procs")),
              e);
        }
        Thread.onSpinWait();
      }
    }
  }
}
