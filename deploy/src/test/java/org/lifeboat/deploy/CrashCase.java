package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import tools.jackson.databind.JsonNode;

/**
 * One death: a run is brought to an instant, something of it is killed there, and what comes
 * afterwards must be as if nothing had happened. The run goes on and can be saved, or it is over;
 * on an empty host the next one restores exactly the newest committed snapshot, or starts cleanly
 * where there is none, and says which and why. All lines of the task are compared with what it
 * prints when it is left alone, and nothing is left behind.
 */
final class CrashCase {

  /** What is killed, by SIGKILL. */
  enum Victim {
    ENGINE,
    INIT,
    CRIU,
    /** And started again a little later. */
    STORE,
    /** And started again for the next run only. */
    STORE_FOR_GOOD,
    ENGINE_AND_CRIU;

    boolean isStore() {
      return this == STORE || this == STORE_FOR_GOOD;
    }

    boolean isCriu() {
      return this == CRIU || this == ENGINE_AND_CRIU;
    }
  }

  /** What the run is doing. */
  enum Stage {
    /** The first start, with nothing in the store. */
    START,
    /** A restore. */
    RESTORE,
    /** A final dump, after a restore. */
    FINAL,
    /** A leave-running dump, after a restore. */
    KEEP,
    /** A final dump of a first run. */
    FIRST,
    /** The task's end, after a restore. */
    END
  }

  private static final int STEPS = 300;
  private static final String HERE = "/mnt/home/here";
  private static final long LIMIT_NANOS = Program.LIMIT.toNanos();

  /** A store with one final snapshot, and what the task had printed until then. */
  private record Template(Path store, List<String> printed) {}

  private static final Map<Site.Kind, Template> TEMPLATES = new EnumMap<>(Site.Kind.class);

  private final Site.Kind kind;
  private final Stage stage;
  private final String point;
  private final Victim victim;
  private final StringBuilder story = new StringBuilder();

  private Scene scene;
  private Host host;
  private Program run;
  private Program checkpoint;
  private Path here;
  private String mounts;
  private boolean criuKilled;
  private boolean held;
  private boolean lost;

  /**
   * @param point as in LIFEBOAT_CRASH_POINT, or empty
   */
  CrashCase(Site.Kind kind, Stage stage, String point, Victim victim) {
    this.kind = kind;
    this.stage = stage;
    this.point = point;
    this.victim = victim;
  }

  private static Template template(Site.Kind kind) throws IOException, InterruptedException {
    synchronized (TEMPLATES) {
      if (!TEMPLATES.containsKey(kind)) {
        try (Scene scene = new Scene("crash-template", kind)) {
          Host host = scene.host();
          Program run = scene.run(host, Workload.PAIR, STEPS);
          run.awaitLine("^step 3 ");
          scene.checkpoint(host).expect(0);
          run.expect(75);
          TEMPLATES.put(kind, new Template(scene.store(), run.out()));
        }
      }
      return TEMPLATES.get(kind);
    }
  }

  private boolean afterRestore() {
    return stage != Stage.START && stage != Stage.FIRST;
  }

  /**
   * Runs it.
   *
   * @param name of the scene
   * @param delayMillis how long behind the point; below 0 the engine is held there while it happens
   * @return what happened, in words
   */
  String play(String name, long delayMillis) throws Exception {
    Path store = afterRestore() ? template(kind).store() : null;
    List<String> printed =
        new ArrayList<>(afterRestore() ? template(kind).printed() : List.<String>of());
    try (Scene opened = new Scene(name, kind, null, store)) {
      scene = opened;
      held = delayMillis < 0;
      begin();
      boolean met = meet(delayMillis);
      if (!met) {
        return "the instant never came: " + story;
      }
      if (!strike()) {
        return "nothing to kill: " + story;
      }
      if (delayMillis < 0 && !engineDied()) {
        Files.deleteIfExists(here);
      }
      Optional<Integer> code = outcome();
      printed.addAll(run.out());
      tell(code.map(c -> "ended with " + c).orElse("lost"));
      if (code.isPresent() && code.get() != 137) {
        Files.deleteIfExists(here);
        if (engineDied() && run.lines("starting it again").isEmpty()) {
          // it was killed while it tidied up, with its order given: the next run here goes on
          tell("in its last moment");
          Remains.assertAlone(host);
        } else {
          Remains.assertNone(host, mounts);
        }
      }
      if (!lost) {
        host.kill();
      }
      if (victim == Victim.STORE_FOR_GOOD) {
        scene.site().startServer();
      }
      next(printed, code);
      return story.toString();
    } catch (AssertionError | Exception e) {
      throw new AssertionError(
          kind
              + " "
              + stage
              + " "
              + point
              + " "
              + victim
              + " after "
              + delayMillis
              + " ms: "
              + story
              + "\n"
              + run,
          e);
    }
  }

  private void tell(String what) {
    story.append(story.isEmpty() ? "" : "; ").append(what);
  }

  private boolean engineDied() {
    return victim == Victim.ENGINE || victim == Victim.INIT || victim == Victim.ENGINE_AND_CRIU;
  }

  private void begin() throws Exception {
    host = scene.host();
    mounts = Remains.mounts(host);
    here = Path.of("/proc/" + host.pid() + "/root" + HERE);
    Map<String, String> stop =
        point.isEmpty()
            ? Map.of()
            : Map.of("LIFEBOAT_CRASH_POINT", point, "LIFEBOAT_CRASH_FILE", HERE);
    if (point.startsWith("ROLL_BACK_MOVED_ASIDE")) {
      host.run("sh", "-c", "echo in the way >grows");
    }
    run = host.lifeboat(stop, scene.runArguments(Workload.PAIR.command(STEPS)));
    switch (stage) {
      case START, RESTORE -> {}
      case FINAL, KEEP, FIRST -> {
        run.awaitLine("^step ", 2);
        checkpoint =
            stage == Stage.KEEP
                ? scene.checkpoint(host, "--leave-running")
                : scene.checkpoint(host);
      }
      case END -> {
        run.awaitLine("^step ", 2);
        host.run("touch", "hurry");
      }
    }
  }

  /** Waits for the instant; false when the run was over before. */
  private boolean meet(long delayMillis) throws Exception {
    long limit = System.nanoTime() + LIMIT_NANOS;
    while (!point.isEmpty() && !Files.exists(here)) {
      if (System.nanoTime() > limit || (checkpoint != null && !checkpoint.running())) {
        return false;
      }
      if (!run.running()) {
        return false;
      }
      LockSupport.parkNanos(5_000_000);
    }
    if (delayMillis >= 0) {
      Files.deleteIfExists(here);
      Thread.sleep(delayMillis); // no synchronisation: the instant to die at
    }
    return run.running();
  }

  private boolean strike() throws Exception {
    boolean done =
        switch (victim) {
          case ENGINE -> kill(engine());
          case INIT -> kill(init());
          case CRIU -> {
            criuKilled = kill(criu());
            yield criuKilled;
          }
          case ENGINE_AND_CRIU -> {
            criuKilled = kill(criu());
            yield kill(engine()) && criuKilled;
          }
          case STORE, STORE_FOR_GOOD -> {
            scene.site().killServer();
            yield true;
          }
        };
    if (done) {
      tell(victim + " killed");
    }
    return done;
  }

  private static boolean kill(Optional<Long> pid) {
    return pid.flatMap(ProcessHandle::of).map(ProcessHandle::destroyForcibly).orElse(false);
  }

  private Optional<Long> engine() throws IOException {
    return host.processes().entrySet().stream()
        .filter(e -> e.getValue().startsWith("/srv/target/lifeboat/jre/bin/java"))
        .filter(e -> e.getValue().contains("Main run "))
        .map(Map.Entry::getKey)
        .findFirst();
  }

  private Optional<Long> init() throws IOException {
    return host.processes().entrySet().stream()
        .filter(e -> e.getValue().contains("lifeboat-init run"))
        .map(Map.Entry::getKey)
        .max(Long::compare);
  }

  /** What it restores has its command line too, at first, but was started later. */
  private Optional<Long> criu() throws IOException {
    return host.processes().entrySet().stream()
        .filter(
            e ->
                e.getValue().startsWith(Tools.criu() + " dump")
                    || e.getValue().startsWith(Tools.criu() + " restore"))
        .map(Map.Entry::getKey)
        .min(Long::compare);
  }

  /**
   * Lets the run come to its end, by a further snapshot if it has to.
   *
   * @return its exit code, or empty when its host is lost
   */
  private Optional<Integer> outcome() throws Exception {
    if (victim == Victim.INIT) {
      int code = run.await();
      assertEquals(137, code, "init was killed");
      Remains.assertAlone(host);
      return Optional.of(code);
    }
    if (victim == Victim.STORE_FOR_GOOD) {
      Thread.sleep(700); // it tries
      host.kill();
      lost = true;
      run.await();
      return Optional.empty();
    }
    if (victim == Victim.STORE) {
      Thread.sleep(700); // it tries
      scene.site().startServer();
    }
    long limit = System.nanoTime() + 2 * LIMIT_NANOS;
    while (stage == Stage.END && run.running()) {
      assertTrue(System.nanoTime() < limit, "the run does not end");
      letGoOn();
      Thread.sleep(20);
    }
    while (run.running()) {
      assertTrue(System.nanoTime() < limit, "the run can neither be saved nor ends");
      letGoOn();
      if (run.lines("^step ").isEmpty()) {
        Thread.sleep(50); // it starts
        continue;
      }
      if (criuKilled) {
        long mappings = Remains.mappings(host, "pair.py");
        assertTrue(mappings <= 2, () -> mappings + " mappings of CRIU's in one process");
      }
      Program again = scene.checkpoint(host);
      while (again.running()) {
        letGoOn();
        Thread.sleep(20);
      }
      if (again.await() == 0) {
        tell("saved");
      } else {
        tell("not saved: " + last(again));
        Thread.sleep(200);
      }
      if (again.await() == 0 && run.running()) {
        run.await();
      }
    }
    return Optional.of(run.await());
  }

  /** The next engine stops there too, where the one before it was let go before it died. */
  private void letGoOn() throws IOException {
    if (!held) {
      Files.deleteIfExists(here);
    }
  }

  private static String last(Program program) {
    List<String> lines = program.lines("");
    return lines.isEmpty() ? "?" : lines.getLast();
  }

  /** On an empty host. */
  private void next(List<String> printed, Optional<Integer> code) throws Exception {
    Path file = scene.site().object(Scene.NAME, ".fusion/dump/dump_metadata");
    List<JsonNode> dumps = new ArrayList<>();
    boolean ended = false;
    int generation = 1;
    boolean any = Files.exists(file);
    if (any) {
      JsonNode metadata = Scene.json(Files.readString(file));
      metadata.path("dumps").forEach(dumps::add);
      ended = metadata.path("task").path("state").asString().equals("ENDED");
      generation = metadata.path("task").path("generation").asInt();
    }
    Optional<Integer> newest = Optional.empty();
    for (JsonNode dump : dumps) {
      if (dump.path("generation").asInt() == generation
          && dump.path("state").asString().matches("COMPLETE|RESTORING|RESTORED")) {
        newest = Optional.of(dump.path("id").asInt());
      }
    }
    if (code.isPresent() && code.get() == 75) {
      assertTrue(newest.isPresent(), "it ended with 75, and nothing is committed");
    }
    if (code.isPresent() && code.get() == Workload.PAIR.code()) {
      assertTrue(ended, "it ended by itself, and that is not recorded");
    }
    Host second = scene.host();
    String before = Remains.mounts(second);
    Program after = scene.run(second, Workload.PAIR, STEPS);
    after.awaitLine("^step ");
    scene.finish(second, after, Workload.PAIR);
    List<String> expected = Workload.PAIR.expected(STEPS);
    if (ended) {
      tell("the task had ended");
      assertEquals(1, after.lines("had ended with exit code 11: starting it anew").size());
      assertEquals(expected, printed, "the whole task, to its end");
      assertEquals(expected, after.out());
    } else if (newest.isPresent()) {
      int id = newest.get();
      tell("snapshot " + id + " restored");
      assertEquals(
          1, after.lines("restoring snapshot " + id + " of ").size(), () -> "the newest\n" + after);
      for (JsonNode dump : dumps) {
        if (dump.path("state").asString().equals("DUMPING")) {
          String torn =
              "dump " + dump.path("id").asInt() + " is marked as failed: its run on host1";
          assertEquals(1, after.lines(torn).size(), () -> torn + "\n" + after);
        }
      }
      int from = Integer.parseInt(after.out().getFirst().split(" ", 3)[1]);
      boolean saved = code.isPresent() && code.get() == 75;
      boolean finalOne = (id >= 2 && stage == Stage.FINAL) || (id >= 1 && stage == Stage.FIRST);
      if (saved || finalOne) {
        List<String> all = new ArrayList<>(printed);
        all.addAll(after.out());
        assertEquals(expected, all, "nothing lost, nothing twice");
      } else {
        if (!printed.isEmpty() && expected.get(printed.size() - 1).startsWith(printed.getLast())) {
          printed.set(printed.size() - 1, expected.get(printed.size() - 1)); // cut off
        }
        assertEquals(expected.subList(0, printed.size()), printed, "what the lost run printed");
        assertTrue(from <= printed.size() + 1, "a gap: goes on with step " + from);
        assertEquals(expected.subList(from - 1, expected.size()), after.out());
      }
    } else {
      tell("started anew");
      assertTrue(stage == Stage.START || stage == Stage.FIRST, "the first snapshot is lost");
      assertEquals(expected, after.out(), "a clean start");
      if (any && !dumps.isEmpty()) {
        assertEquals(1, after.lines("was ever committed: starting the command").size());
      }
    }
    Remains.assertNone(second, before);
    Remains.assertOnlyRecords(scene.site(), Scene.NAME);
  }
}
