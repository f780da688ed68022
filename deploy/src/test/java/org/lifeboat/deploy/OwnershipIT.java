package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Two hosts, one store: the task lives once. */
final class OwnershipIT {

  private static final int STEPS = 250;

  @ParameterizedTest
  @EnumSource(names = {"FILE", "VERSITYGW"})
  void theSecondHostIsRefusedUntilItTakesOver(Site.Kind kind) throws Exception {
    try (Scene scene = new Scene("owner", kind)) {
      Host first = scene.host();
      Program one = scene.run(first, Workload.TREE, STEPS);
      one.awaitLine("^step 3 ");
      scene.checkpoint(first, "--leave-running").expect(0);

      Host second = scene.host();
      Program refused = scene.run(second, Workload.TREE, STEPS);
      assertNotEquals(0, refused.await());
      assertEquals(
          1, refused.lines("is in use by a run on host1.*--takeover").size(), refused::toString);
      assertEquals(0, refused.out().size());
      int printed = one.lines("^step ").size();
      one.awaitLine("^step " + (printed + 3) + " ");

      Program two = scene.run(second, Workload.TREE, STEPS, "--takeover");
      two.awaitLine("^step ");
      one.expect(175);
      assertEquals(
          0, first.processes().values().stream().filter(c -> c.contains("tree.py")).count());
      scene.finish(second, two, Workload.TREE);
      Workload.TREE.assertGoesOn(STEPS, one, two);
    }
  }
}
