package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import tools.jackson.databind.JsonNode;

/** The commands that look at a store, and the one that tidies it. */
final class CommandsIT {

  private static final int STEPS = 100;

  @ParameterizedTest
  @EnumSource
  void listInspectVerifyAndRemove(Site.Kind kind) throws Exception {
    try (Scene scene = new Scene("commands", kind)) {
      Host first = scene.host();
      assertTrue(scene.ask(first, "list").contains("nothing was ever saved"));

      Program run = scene.run(first, Workload.COUNTER, STEPS);
      run.awaitLine("^step 3 ");
      Program saved = scene.checkpoint(first, "--leave-running", "--json").expect(0);
      assertEquals(1, Scene.json(saved.text()).path("dump").asInt());
      Program second = scene.checkpoint(first, "--deadline", "60s").expect(0);
      assertEquals(1, second.lines("^saved as snapshot 2: 1 process").size(), second::toString);
      run.expect(75);
      first.kill();

      Host host = scene.host();
      String list = scene.ask(host, "list");
      assertTrue(list.contains("saved, not running"), list);
      assertEquals(
          2, list.lines().filter(line -> line.matches(" +\\d+ +COMPLETE .*")).count(), list);
      JsonNode listing = Scene.json(scene.ask(host, "list", "--json"));
      assertEquals(scene.url(), listing.path("store").asString());
      assertEquals("ACTIVE", listing.path("task").path("state").asString());
      assertEquals(2, listing.path("dumps").size());
      assertTrue(listing.path("dumps").get(1).path("rawBytes").asLong() > 0);

      assertTrue(scene.ask(host, "inspect").contains("counter.sh"), "the command is shown");
      JsonNode inspection = Scene.json(scene.ask(host, "inspect", "1", "--json"));
      assertEquals(1, inspection.path("dump").path("id").asInt());
      assertEquals(1, inspection.path("manifest").path("processes").asInt());
      scene.command(host, "inspect", "99").expect(2);

      assertEquals(
          2, scene.ask(host, "verify").lines().filter(line -> line.endsWith(": whole")).count());
      JsonNode findings = Scene.json(scene.ask(host, "verify", "2", "--json"));
      assertEquals(1, findings.size());
      assertTrue(findings.get(0).path("whole").asBoolean());

      scene.ask(host, "rm", "1");
      if (kind != Site.Kind.MINIO) {
        assertEquals(0, scene.keys(1, ".*\\.(img|pack)|manifest\\.json").size());
        assertFalse(scene.keys(1, "dump_.*\\.log").isEmpty(), "logs stay");
      }
      Program refused = scene.command(host, "rm", "2").expect(2);
      assertEquals(1, refused.lines("--force").size(), refused::toString);

      Program after = scene.run(host, Workload.COUNTER, STEPS);
      after.awaitLine("^step ");
      scene.finish(host, after, Workload.COUNTER);
      Workload.COUNTER.assertExact(STEPS, run, after);
      assertTrue(scene.ask(host, "list").contains("ended with exit code 9"));
      JsonNode removed = Scene.json(scene.ask(host, "rm", "--all", "--json"));
      assertTrue(removed.size() >= 1);
      scene.command(host, "list").expect(0);
    }
  }
}
