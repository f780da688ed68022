package org.lifeboat.deploy;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Programs of others, unmodified, in the middle of their work. */
final class ProgramsIT {

  private static final int STEPS = 120;

  @ParameterizedTest
  @EnumSource(
      value = Workload.class,
      names = {"HEAP", "DATABASE", "CACHE"})
  void movesTwice(Workload workload) throws Exception {
    try (Scene scene = new Scene("program-" + workload, Site.Kind.FILE)) {
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
}
