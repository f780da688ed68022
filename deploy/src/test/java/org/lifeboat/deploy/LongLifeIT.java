package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/**
 * A task that is saved and brought back again and again, and an engine that takes snapshot after
 * snapshot, are at the end as they were at the start. {@code -Dlifeboat.cycles} says how often.
 */
final class LongLifeIT {

  private static final int CYCLES = Integer.getInteger("lifeboat.cycles", 100);

  /** Of a value that may swing, in per cent: what the last tenth may have more than the first. */
  private static final int SWING = 25;

  /** Figures of each cycle, by name. */
  private final Map<String, List<Long>> series = new LinkedHashMap<>();

  private void note(String name, long value) {
    series.computeIfAbsent(name, key -> new ArrayList<>()).add(value);
  }

  private static long median(List<Long> values) {
    return values.stream().sorted().toList().get(values.size() / 2);
  }

  /**
   * The median of the last tenth is no more than that of the first tenth, after the first two
   * cycles in which everything is new.
   */
  private void assertNoDrift(String name, int swing, long slack) {
    List<Long> all = series.get(name);
    List<Long> values = all.subList(Math.min(2, all.size() - 2), all.size());
    int tenth = Math.max(1, values.size() / 10);
    long first = median(values.subList(0, tenth));
    long last = median(values.subList(values.size() - tenth, values.size()));
    System.out.println(
        "long life, %s: first %d, last %d, least %d, most %d"
            .formatted(
                name,
                first,
                last,
                values.stream().mapToLong(v -> v).min().orElseThrow(),
                values.stream().mapToLong(v -> v).max().orElseThrow()));
    assertTrue(
        last <= first * (100 + swing) / 100 + slack,
        () -> name + " drifts from " + first + " to " + last + ": " + all);
  }

  private static long kib(long pid, String field) throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/" + pid + "/status"))) {
      if (line.startsWith(field + ":")) {
        return Long.parseLong(line.replaceAll("\\D", ""));
      }
    }
    throw new AssertionError("process " + pid + " has no " + field);
  }

  private static long entries(Path folder) throws IOException {
    try (Stream<Path> all = Files.list(folder)) {
      return all.count();
    }
  }

  private static long lines(Path file) throws IOException {
    try (Stream<String> all = Files.lines(file, java.nio.charset.StandardCharsets.ISO_8859_1)) {
      return all.count();
    }
  }

  /** What the processes of the task are, seen from outside. */
  private void noteTask(Host host) throws IOException {
    List<Long> pids = host.starting("/usr/bin/python3");
    note("processes", pids.size());
    long memory = 0;
    long descriptors = 0;
    long mappings = 0;
    long highest = 0;
    for (long pid : pids) {
      Path proc = Path.of("/proc/" + pid);
      memory += kib(pid, "RssAnon");
      descriptors += entries(proc.resolve("fd"));
      mappings += lines(proc.resolve("maps"));
      String[] ids = Tools.read(proc.resolve("status")).split("NSpid:", 2)[1].split("\n", 2);
      String[] numbers = ids[0].strip().split("\\s+", -1);
      highest = Math.max(highest, Long.parseLong(numbers[numbers.length - 1]));
    }
    note("task memory (KiB)", memory);
    note("task descriptors", descriptors);
    note("task mappings", mappings);
    note("highest process id", highest);
  }

  /** Each cycle on a host of its own, as after the loss of the one before. */
  @Tag("long")
  @Test
  void oneTaskOnManyHosts() throws Exception {
    int steps = CYCLES * 40 + 400;
    try (Scene scene = new Scene("long-life", Site.Kind.FILE)) {
      List<Program> runs = new ArrayList<>();
      for (int cycle = 1; ; cycle++) {
        Host host = scene.host();
        Program run = scene.run(host, Workload.TREE, steps);
        runs.add(run);
        run.awaitLine("^step ", 2);
        if (cycle > CYCLES) {
          scene.finish(host, run, Workload.TREE);
          break;
        }
        noteTask(host);
        scene.checkpoint(host).expect(0);
        run.expect(75);
        List<JsonNode> dumps = scene.dumps(host);
        note("dumps in the list", dumps.size());
        note("stored bytes", dumps.getLast().path("storedBytes").asLong());
        note("objects", scene.site().keys(Scene.NAME, ".fusion/dump/").size());
        note("frozen (us)", dumps.getLast().path("frozenMicros").asLong());
        scene.drop(host);
      }
      Workload.TREE.assertExact(steps, runs.toArray(Program[]::new));
    }
    assertNoDrift("processes", 0, 0);
    assertNoDrift("task memory (KiB)", 10, 512);
    assertNoDrift("task descriptors", 0, 2);
    assertNoDrift("task mappings", 0, 4);
    assertNoDrift("stored bytes", SWING, 64 << 10);
    assertNoDrift("frozen (us)", 100, 1_000_000);
    assertNoDrift("highest process id", 0, 50L * CYCLES);
    assertNoDrift("objects", SWING, 4L * CYCLES);
  }

  /** One engine, one task, as many snapshots that leave it running. */
  @Tag("long")
  @Test
  void oneEngineThatGoesOn() throws Exception {
    int steps = 1_000_000;
    try (Scene scene = new Scene("long-engine", Site.Kind.VERSITYGW)) {
      Host host = scene.host(Host.Kind.SMALL);
      Program run = scene.run(host, Workload.TREE, steps);
      run.awaitLine("^step 3 ");
      long engine = host.starting("/srv/target/lifeboat/jre/bin/java").getFirst();
      Path proc = Path.of("/proc/" + engine);
      for (int cycle = 1; cycle <= CYCLES; cycle++) {
        scene.checkpoint(host, "--leave-running").expect(0);
        noteTask(host);
        note("engine memory (KiB)", kib(engine, "VmRSS"));
        note("engine's own memory (KiB)", kib(engine, "RssAnon"));
        note("engine descriptors", entries(proc.resolve("fd")));
        note("engine threads", entries(proc.resolve("task")));
        note("engine mappings", lines(proc.resolve("maps")));
        long limit = System.nanoTime() + Program.LIMIT.toNanos();
        while (!host.run("find", "/var/cache/lifeboat", "-type", "f").isEmpty()) {
          assertTrue(System.nanoTime() < limit, "the cache keeps what it was cleaned of");
          Thread.sleep(20); // that comes behind the answer
        }
      }
      List<JsonNode> dumps = scene.dumps(host);
      note("objects", scene.site().keys(Scene.NAME, ".fusion/dump/").size());
      assertEquals(
          2,
          dumps.stream().filter(dump -> dump.path("state").asString().equals("COMPLETE")).count());
      assertEquals(List.of(), run.lines("^FAIL"));
      host.kill();
      run.await();
    }
    assertNoDrift("processes", 0, 0);
    assertNoDrift("task memory (KiB)", 10, 512);
    assertNoDrift("task descriptors", 0, 2);
    assertNoDrift("task mappings", 0, 4);
    assertNoDrift("engine memory (KiB)", 15, 16 << 10);
    assertNoDrift("engine's own memory (KiB)", 15, 16 << 10);
    assertNoDrift("engine descriptors", 0, 4);
    assertNoDrift("engine threads", 0, 6);
    assertNoDrift("engine mappings", 10, 32);
  }
}
