package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Programs of others, unmodified, in the middle of their work. */
final class ProgramsIT {

  private static final int STEPS = 120;

  @ParameterizedTest
  @CsvSource({
    "HEAP,FILE",
    "HEAP,VERSITYGW",
    "DATABASE,FILE",
    "DATABASE,VERSITYGW",
    "CACHE,FILE",
    "CACHE,VERSITYGW"
  })
  void movesTwice(Workload workload, Site.Kind kind) throws Exception {
    try (Scene scene = new Scene("program-" + workload, kind)) {
      Program[] runs = new Program[3];
      Host host = null;
      for (int i = 0; i < runs.length; i++) {
        host = scene.host();
        runs[i] = scene.run(host, workload, STEPS);
        runs[i].awaitLine("^step ", 5);
        if (i < runs.length - 1) {
          scene.checkpoint(host).expect(0);
          runs[i].expect(75);
          host.kill();
        }
      }
      scene.finish(host, runs[runs.length - 1], workload);
      workload.assertExact(STEPS, runs);
    }
  }

  /** Moved every other second, whatever they are doing; they print nothing meanwhile. */
  @Tag("long")
  @ParameterizedTest
  @CsvSource({"sorting.sh,FILE", "sorting.sh,VERSITYGW", "samples.sh,FILE", "samples.sh,VERSITYGW"})
  void movesAgainAndAgain(String script, Site.Kind kind) throws Exception {
    List<String> task =
        List.of(
            "/srv/src/test/workloads/" + script,
            script.equals("sorting.sh") ? "1500000" : "300000");
    List<String> expected;
    try (Scene scene = new Scene("reference-" + script, Site.Kind.FILE)) {
      expected = scene.host().start(task).expect(0).out();
    }
    try (Scene scene = new Scene("again-" + script, kind)) {
      List<String> printed = new ArrayList<>();
      int moves = 0;
      while (true) {
        Host host = scene.host();
        Program run = scene.run(host, task);
        if (run.running() && moves < 12) {
          run.awaitLine(moves == 0 ? "^step 1 " : "restored snapshot ");
          Thread.sleep(700); // the task works
          scene.checkpoint(host).await(); // refused when the task has just ended
        }
        int code = run.await();
        printed.addAll(run.out());
        host.kill();
        if (code != 75) {
          assertEquals(0, code, run::toString);
          break;
        }
        moves++;
      }
      assertEquals(expected, printed);
      assertEquals(true, moves >= 3, "it was moved " + moves + " times");
    }
  }
}
