package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.lifeboat.deploy.CrashCase.Stage;
import org.lifeboat.deploy.CrashCase.Victim;
import org.lifeboat.files.CapturePoint;
import org.lifeboat.files.RollBackPoint;
import org.lifeboat.snapshot.DumpPoint;
import org.lifeboat.snapshot.RestorePoint;
import org.lifeboat.task.RunPoint;

/** At every named point everything is killed that can be, one at a time. */
final class CrashPointIT {

  /** A few that stand for the rest. */
  @ParameterizedTest
  @CsvSource({
    "FILE,RESTORE,RESTORE_RESUMING,ENGINE",
    "FILE,FINAL,DUMP_RECEIVING,CRIU",
    "FILE,FINAL,DUMP_COMMITTED,ENGINE_AND_CRIU",
    "VERSITYGW,FINAL,DUMP_COMMITTING,STORE",
  })
  void nothingIsLost(Site.Kind kind, Stage stage, String point, Victim victim) throws Exception {
    play(kind, stage, point, victim);
  }

  /** All of them. */
  @Tag("long")
  @ParameterizedTest
  @MethodSource("all")
  void nothingIsLostAnywhere(Site.Kind kind, Stage stage, String point, Victim victim)
      throws Exception {
    play(kind, stage, point, victim);
  }

  private static void play(Site.Kind kind, Stage stage, String point, Victim victim)
      throws Exception {
    String story =
        new CrashCase(kind, stage, point, victim)
            .play("point-" + stage + "-" + point + "-" + victim, -1);
    System.out.println(kind + " " + stage + " " + point + " " + victim + ": " + story);
    assertTrue(story.startsWith(victim + " killed"), story);
  }

  static List<Arguments> all() {
    List<Arguments> all = new ArrayList<>();
    Set<RunPoint> ends = EnumSet.range(RunPoint.RUN_TASK_ENDED, RunPoint.RUN_LEAVING);
    for (RunPoint point : RunPoint.values()) {
      add(all, ends.contains(point) ? Stage.END : Stage.START, point.name(), false);
    }
    for (RestorePoint point : RestorePoint.values()) {
      if (point != RestorePoint.RESTORE_FAILED) {
        boolean criu =
            EnumSet.range(RestorePoint.RESTORE_CRIU_STARTED, RestorePoint.RESTORE_RESUMING)
                .contains(point);
        add(all, Stage.RESTORE, point.name(), criu);
      }
    }
    for (RollBackPoint point : RollBackPoint.values()) {
      add(all, Stage.RESTORE, point.name(), false);
    }
    Set<DumpPoint> behindThaw =
        EnumSet.range(DumpPoint.DUMP_PACKS_STORED, DumpPoint.DUMP_COMMITTED);
    for (Stage stage : List.of(Stage.FINAL, Stage.KEEP)) {
      for (DumpPoint point : EnumSet.range(DumpPoint.DUMP_UNKNOWN, DumpPoint.DUMP_CRIU_ENDED)) {
        boolean criu =
            point.compareTo(DumpPoint.DUMP_CRIU_STARTED) >= 0
                && point != DumpPoint.DUMP_CRIU_ENDED
                && !(stage == Stage.KEEP && behindThaw.contains(point));
        add(all, stage, point.name(), criu);
      }
      for (CapturePoint point : CapturePoint.values()) {
        add(all, stage, point.name(), true);
      }
    }
    return all;
  }

  private static void add(List<Arguments> all, Stage stage, String point, boolean criu) {
    Stream.of(Victim.values())
        .filter(victim -> criu || !victim.isCriu())
        .forEach(
            victim ->
                all.add(
                    Arguments.of(
                        victim.isStore() ? Site.Kind.VERSITYGW : Site.Kind.FILE,
                        stage,
                        point,
                        victim)));
  }
}
