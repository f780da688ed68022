package org.lifeboat.deploy;

import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.lifeboat.deploy.CrashCase.Stage;
import org.lifeboat.deploy.CrashCase.Victim;
import org.lifeboat.snapshot.DumpPoint;
import org.lifeboat.snapshot.RestorePoint;

/**
 * Deaths at random instants, some milliseconds behind a random event of freeze, receive, upload,
 * commit, thaw and restore. {@code -Dlifeboat.instants=300} plays as many, {@code
 * -Dlifeboat.seed=S} plays the one with that seed, or as many from it on; each prints its seed.
 */
final class RandomDeathIT {

  /** So many where nothing is said; the rest is for the long suite. */
  private static final int FEW = 2;

  static Stream<Arguments> seeds() {
    int instants = Integer.getInteger("lifeboat.instants", FEW);
    Long chosen = Long.getLong("lifeboat.seed");
    long first = chosen != null ? chosen : new SplittableRandom().nextLong(1L << 40);
    int count = chosen != null && System.getProperty("lifeboat.instants") == null ? 1 : instants;
    List<Arguments> seeds = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      seeds.add(Arguments.of(first + i));
    }
    return seeds.stream();
  }

  @ParameterizedTest
  @MethodSource("seeds")
  void nothingIsLost(long seed) throws Exception {
    System.out.println(play(seed));
  }

  /** One instant, and what became of it. */
  static String play(long seed) throws Exception {
    SplittableRandom random = new SplittableRandom(seed);
    Victim victim = List.of(Victim.values()).get(random.nextInt(Victim.values().length));
    Site.Kind kind =
        victim.isStore() || random.nextInt(3) == 0 ? Site.Kind.VERSITYGW : Site.Kind.FILE;
    Stage stage =
        switch (random.nextInt(8)) {
          case 0, 1, 2 -> Stage.FINAL;
          case 3, 4 -> Stage.KEEP;
          case 5 -> Stage.FIRST;
          case 6 -> Stage.RESTORE;
          default -> victim.isCriu() ? Stage.RESTORE : Stage.END;
        };
    List<String> events = new ArrayList<>();
    switch (stage) {
      case RESTORE, START -> {
        if (!victim.isCriu()) {
          events.addAll(List.of("RESTORE_CHOSEN", "RESTORE_FETCHED", "ROLL_BACK_STAGED"));
        }
        events.add(RestorePoint.RESTORE_CRIU_STARTED.name());
        events.add(RestorePoint.RESTORE_READY.name());
        events.add(RestorePoint.RESTORE_RESUMING.name());
      }
      case END -> events.addAll(List.of("RUN_TASK_ENDED", "RUN_END_RECORDED", "RUN_RELEASED"));
      case FINAL, KEEP, FIRST -> {
        DumpPoint last = stage == Stage.KEEP ? DumpPoint.DUMP_SEALED : DumpPoint.DUMP_VOTED;
        if (!victim.isCriu() && stage == Stage.KEEP) {
          last = DumpPoint.DUMP_COMMITTED;
        }
        for (DumpPoint point : DumpPoint.values()) {
          if (point.compareTo(DumpPoint.DUMP_CRIU_STARTED) >= 0 && point.compareTo(last) <= 0) {
            events.add(point.name());
          }
        }
      }
    }
    String event = events.get(random.nextInt(events.size()));
    // mostly close behind it: a whole dump of this task takes some 300 ms
    long delay = random.nextInt(4) == 0 ? random.nextLong(400) : random.nextLong(60);
    if (victim.isCriu() && stage == Stage.RESTORE) {
      delay %= 8; // it is over soon then
    }
    String what =
        "seed " + seed + " " + kind + " " + stage + " " + event + " + " + delay + " ms " + victim;
    try {
      return what + ": " + new CrashCase(kind, stage, event, victim).play("instant-" + seed, delay);
    } catch (AssertionError e) {
      throw new AssertionError(what + "\n" + e.getMessage(), e.getCause());
    }
  }
}
