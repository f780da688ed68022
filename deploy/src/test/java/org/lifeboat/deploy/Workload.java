package org.lifeboat.deploy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import javax.tools.ToolProvider;

/**
 * The tasks. Each prints a line `step N CHECKSUM` a step and is deterministic, so that what a task
 * printed, on however many hosts, can be compared with what a run prints that is left alone. It
 * pauses after each step until there is a file `hurry` in its working directory, so that a test has
 * the time that it needs and takes no more.
 */
enum Workload {
  /** Processes, threads, files and descriptors of every kind. */
  TREE(42, "tree.py"),
  /** A shell loop that starts processes all the time. */
  PIPELINE(3, "pipeline.sh"),
  /** A JVM. */
  HEAP(5, "Heap.java"),
  /** sqlite3 in the middle of a transaction. */
  DATABASE(0, "database.sh"),
  /** redis-server and a client. */
  CACHE(7, "cache.py"),
  /** One small process. */
  COUNTER(9, "counter.sh"),
  /** Two processes and a thread, strict and light: for cases of which there are hundreds. */
  PAIR(11, "pair.py");

  private static final double PAUSE = 0.1;

  private final int code;
  private final String program;

  Workload(int code, String program) {
    this.code = code;
    this.program = "/srv/src/test/workloads/" + program;
  }

  /** Its own exit code. */
  int code() {
    return code;
  }

  /** Its command line on a host. */
  List<String> command(int steps) {
    String n = Integer.toString(steps);
    String pause = String.format(Locale.ROOT, "%.3f", PAUSE);
    return switch (this) {
      case TREE ->
          List.of(
              "/usr/bin/python3",
              program,
              "--steps",
              n,
              "--pause",
              pause,
              "--exit",
              Integer.toString(code));
      case HEAP ->
          List.of(
              System.getProperty("java.home") + "/bin/java",
              "-cp",
              "/srv/target/workloads",
              "Heap",
              n,
              Long.toString(Math.round(PAUSE * 1000)));
      case CACHE -> List.of("/usr/bin/python3", program, Tools.redis().toString(), n, pause);
      case COUNTER -> List.of(program, n, pause, Integer.toString(code));
      case PAIR -> List.of("/usr/bin/python3", program, n, "0.200", Integer.toString(code));
      case PIPELINE, DATABASE -> List.of(program, n, pause);
    };
  }

  /** Compiles what has to be; before the first host needs it. */
  void prepare() throws IOException {
    if (this == HEAP) {
      Path classes = Files.createDirectories(Host.DEPLOY.resolve("target/workloads"));
      int result =
          ToolProvider.getSystemJavaCompiler()
              .run(
                  null,
                  null,
                  null,
                  "-d",
                  classes.toString(),
                  Host.DEPLOY.resolve("src/test/workloads/Heap.java").toString());
      if (result != 0) {
        throw new AssertionError("Heap.java does not compile");
      }
    }
  }

  private static final Map<Workload, Map<Integer, List<String>>> EXPECTED =
      new EnumMap<>(Workload.class);

  /** What it prints when it is left alone, without Lifeboat. */
  List<String> expected(int steps) throws IOException, InterruptedException {
    synchronized (EXPECTED) {
      Map<Integer, List<String>> known = EXPECTED.computeIfAbsent(this, key -> new TreeMap<>());
      if (!known.containsKey(steps)) {
        prepare();
        Path folder = Host.DEPLOY.resolve("target/it/reference");
        try (Host host = new Host(name().toLowerCase(Locale.ROOT) + steps, folder, null)) {
          host.run("touch", "hurry");
          known.put(steps, host.start(command(steps)).expect(code).out());
        }
      }
      return known.get(steps);
    }
  }

  /**
   * Nothing lost, nothing repeated, nothing else: the runs together printed what one run prints.
   */
  void assertExact(int steps, Program... runs) throws IOException, InterruptedException {
    List<String> printed = new ArrayList<>();
    for (Program run : runs) {
      printed.addAll(run.out());
    }
    assertSame(expected(steps), printed, runs);
  }

  /**
   * After a host was lost without notice: the second run went on from a step that the first had
   * printed, and from there on printed what one run prints.
   *
   * @return the step with which the second run began
   */
  int assertGoesOn(int steps, Program lost, Program next) throws IOException, InterruptedException {
    List<String> expected = expected(steps);
    List<String> before = new ArrayList<>(lost.out());
    if (expected.get(before.size() - 1).startsWith(before.getLast())) {
      before.set(before.size() - 1, expected.get(before.size() - 1)); // cut off in its middle
    }
    assertSame(expected.subList(0, before.size()), before, lost);
    List<String> after = next.out();
    if (after.isEmpty() || !after.getFirst().matches("step \\d+ .*")) {
      throw new AssertionError("no first step\n" + next);
    }
    int first = Integer.parseInt(after.getFirst().split(" ", 3)[1]);
    if (first < 2 || first > before.size() + 1) {
      throw new AssertionError(
          "the first host printed "
              + before.size()
              + " steps, the second began with "
              + first
              + "\n"
              + next);
    }
    assertSame(expected.subList(first - 1, expected.size()), after, next);
    return first;
  }

  private static void assertSame(List<String> expected, List<String> printed, Program... runs) {
    for (int i = 0; i < Math.max(expected.size(), printed.size()); i++) {
      String wanted = i < expected.size() ? expected.get(i) : "nothing more";
      String found = i < printed.size() ? printed.get(i) : "nothing more";
      if (!wanted.equals(found)) {
        StringBuilder all = new StringBuilder();
        for (Program run : runs) {
          all.append('\n').append(run);
        }
        throw new AssertionError(
            "line " + (i + 1) + " should be '" + wanted + "' but is '" + found + "'" + all);
      }
    }
  }
}
