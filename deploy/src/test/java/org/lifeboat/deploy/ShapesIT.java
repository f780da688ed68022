package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;

/**
 * Tasks that are large in one way: each is saved twice, the second time for good, and checks itself
 * on another host. Prints a line with what it cost.
 */
final class ShapesIT {

  @ParameterizedTest
  @CsvSource({"descriptors,1000", "processes,12"})
  void inSmall(String kind, int count) throws Exception {
    moves(kind, count);
  }

  @Tag("long")
  @ParameterizedTest
  @CsvSource({
    "threads,60",
    "mappings,5000",
    "descriptors,10000",
    "processes,500",
    "threads,200",
    "mappings,100000",
    "deleted,1024",
    "mapping,3072"
  })
  void inFull(String kind, int count) throws Exception {
    moves(kind, count);
  }

  private static void moves(String kind, int count) throws Exception {
    List<String> task =
        List.of(
            "/usr/bin/python3", "/srv/src/test/workloads/shapes.py", kind, Integer.toString(count));
    try (Scene scene = new Scene("shape-" + kind + "-" + count, Site.Kind.FILE)) {
      Host first = scene.host(Host.Kind.SMALL);
      Program before = scene.run(first, task);
      before.awaitLine("^up$");
      if (kind.equals("mappings")) {
        before.awaitLine("^(child|up)$", 1 + (count - 1) / 20000);
      }
      scene.checkpoint(first, "--leave-running").expect(0);
      scene.checkpoint(first).expect(0);
      before.expect(75);
      long most = first.memory().most() >> 20;
      List<JsonNode> dumps = scene.dumps(first);
      first.kill();

      Host second = scene.host(Host.Kind.SMALL);
      Program after = scene.run(second, task);
      String restored = after.awaitLine("restored snapshot 2");
      second.run("touch", "check");
      assertEquals(List.of("whole"), after.expect(0).out());
      assertEquals(2, dumps.size());
      System.out.println(
          "shape %s %d: kept running: %s; final: %s; %s; %d MiB of memory at most, page cache included"
              .formatted(
                  kind,
                  count,
                  times(before, 1),
                  times(before, 2),
                  restored.replaceFirst(".*of memory; ", "restore: "),
                  most));
    }
  }

  private static String times(Program run, int dump) {
    String line = run.lines("dump " + dump + " committed").getFirst();
    Matcher times =
        Pattern.compile("frozen for ([0-9.]+) s, committed after ([0-9.]+) s").matcher(line);
    assertTrue(times.find(), line);
    return "frozen " + times.group(1) + " s, committed after " + times.group(2) + " s";
  }
}
