package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Snapshots that are damaged in the store: the older one is taken, or it is said that none is left;
 * never a clean start.
 */
final class DamageIT {

  private static final int STEPS = 150;

  @ParameterizedTest
  @CsvSource({"FILE,pages/.*", "FILE,manifest.json", "FILE,files/.*", "VERSITYGW,pages/.*"})
  void passesOverWhatIsDamaged(Site.Kind kind, String what) throws Exception {
    String name = "damaged-" + what.replaceAll("\\W.*", "");
    try (Scene scene = new Scene(name, kind)) {
      Host first = scene.host();
      Program before = scene.run(first, Workload.TREE, STEPS);
      before.awaitLine("^step 3 ");
      int printed = 0;
      for (int i = 1; i <= 2; i++) {
        scene.checkpoint(first, "--leave-running").expect(0);
        if (i == 1) {
          printed = before.lines("^step ").size();
        }
        before.awaitLine("^step " + (before.lines("^step ").size() + 3) + " ");
      }
      first.kill();
      String damaged = scene.keys(2, what).getFirst();
      if (what.equals("manifest.json")) {
        Files.delete(scene.site().object(Scene.NAME, damaged));
      } else {
        scene.site().damage(Scene.NAME, damaged);
      }

      Host second = scene.host();
      Program verify = scene.command(second, "verify").expect(176);
      assertEquals(1, verify.lines("snapshot 1: whole").size(), verify::toString);
      assertEquals(1, verify.lines("snapshot 2: DAMAGED").size(), verify::toString);

      Program after = scene.run(second, Workload.TREE, STEPS);
      after.awaitLine("^step ");
      List<String> said = after.lines("snapshot 2 cannot be restored: ");
      assertEquals(1, said.size(), after::toString);
      String file = damaged.substring(damaged.lastIndexOf('/') + 1);
      assertTrue(said.getFirst().contains(file), () -> file + " is not named: " + said);
      scene.finish(second, after, Workload.TREE);
      int step = Workload.TREE.assertGoesOn(STEPS, before, after);
      int last = printed;
      assertTrue(
          step <= last + 1, () -> "went on with step " + step + ", snapshot 1 was at " + last);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FILE", "VERSITYGW"})
  void keepsThemWhenNoneIsLeft(Site.Kind kind) throws Exception {
    try (Scene scene = new Scene("all-damaged", kind)) {
      Host first = scene.host();
      Program before = scene.run(first, Workload.COUNTER, STEPS);
      before.awaitLine("^step 3 ");
      scene.checkpoint(first, "--leave-running").expect(0);
      scene.checkpoint(first).expect(0);
      before.expect(75);
      first.kill();
      for (int dump : List.of(1, 2)) {
        for (String pack : scene.keys(dump, "pages/.*\\.pack")) {
          scene.site().damage(Scene.NAME, pack);
        }
      }
      List<String> objects = scene.site().keys(Scene.NAME, ".fusion/dump/1/");

      Host second = scene.host();
      Program after = scene.run(second, Workload.COUNTER, STEPS).expect(176);
      assertEquals(List.of(), after.out());
      assertEquals(1, after.lines("none of the 2 committed snapshots").size(), after::toString);
      assertTrue(
          scene.site().keys(Scene.NAME, ".fusion/dump/1/").containsAll(objects),
          "snapshots are kept");

      Program fresh = scene.run(second, Workload.COUNTER, STEPS, "--fresh");
      fresh.awaitLine("^step 1 ");
      scene.finish(second, fresh, Workload.COUNTER);
      Workload.COUNTER.assertExact(STEPS, fresh);
    }
  }
}
