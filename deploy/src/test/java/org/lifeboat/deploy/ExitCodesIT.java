package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

/** How a run ends, and what is said about it. */
final class ExitCodesIT {

  private static final List<String> SHORT =
      List.of("/bin/sh", "-c", "echo one; echo two >&2; exit 42");

  @Test
  void theTasksOwnCodeAndStreams() throws Exception {
    try (Scene scene = new Scene("codes", Site.Kind.FILE)) {
      Host host = scene.host();
      Program run = scene.run(host, SHORT).expect(42);
      assertEquals(List.of("one"), run.out());
      assertEquals(List.of("two"), run.lines("^two$"));

      Program zero = host.lifeboat("run", "--store", scene.site().url("zero"), "--", "/bin/true");
      zero.expect(0);

      Program again = scene.run(host, SHORT).expect(42);
      assertEquals(List.of("one"), again.out());
      assertEquals(
          1,
          again.lines("had ended with exit code 42.*anew").size(),
          () -> "a task that had ended is started anew, and that is said\n" + again);
    }
  }

  @Test
  void signals() throws Exception {
    try (Scene scene = new Scene("signals", Site.Kind.FILE)) {
      Host host = scene.host();
      Program self = scene.run(host, List.of("/bin/sh", "-c", "kill -KILL $$"));
      self.expect(128 + 9);
      long before = System.nanoTime();
      Program run =
          host.lifeboat(
              "run",
              "--store",
              scene.site().url("term"),
              "--",
              "/bin/sh",
              "-c",
              "echo up; exec sleep 1000");
      run.awaitLine("^up$");
      host.run("pkill", "-TERM", "-o", "-f", "lifeboat-init.*/term");
      run.expect(128 + 15);
      assertTrue(System.nanoTime() - before < 60_000_000_000L);

      Program handled =
          host.lifeboat(
              "run",
              "--store",
              scene.site().url("handled"),
              "--",
              "/bin/bash",
              "-c",
              "trap 'echo caught; exit 7' TERM; echo up; while :; do sleep 0.05; done");
      handled.awaitLine("^up$");
      host.run("pkill", "-TERM", "-o", "-f", "lifeboat-init.*/handled");
      handled.expect(7);
      assertEquals(1, handled.lines("^caught$").size());
    }
  }

  @Test
  void whatCannotBeStarted() throws Exception {
    try (Scene scene = new Scene("start", Site.Kind.FILE)) {
      Host host = scene.host();
      Program missing = scene.run(host, List.of("no-such-command", "x")).expect(127);
      assertEquals(1, missing.lines("no-such-command.*not found").size(), missing::toString);

      host.run("sh", "-c", "echo data >plain; chmod 644 plain");
      Program plain = host.lifeboat("run", "--store", scene.site().url("plain"), "--", "./plain");
      plain.expect(126);
      assertEquals(1, plain.lines("\\./plain.*ermission").size(), plain::toString);

      for (List<String> wrong :
          List.<List<String>>of(
              List.of("run", "--store", scene.url()),
              List.of("run", "--", "true"),
              List.of("run", "--store", "ftp://x/y", "--", "true"),
              List.of("run", "--store", scene.url(), "--every", "soon", "--", "true"),
              List.of("run", "--store", scene.url(), "--after-dump", "dance", "--", "true"),
              List.of("nonsense"),
              List.of())) {
        Program usage = host.lifeboat(wrong.toArray(String[]::new));
        assertEquals(2, usage.await(), () -> wrong + "\n" + usage);
        assertTrue(usage.lines("^lifeboat: ").size() >= 1, usage::toString);
      }
      Program nothing = host.lifeboat("checkpoint", "--store", scene.site().url("other")).expect(2);
      assertEquals(1, nothing.lines("no run of .* on this host").size(), nothing::toString);
    }
  }

  @Test
  void anotherCommandIsNotRestored() throws Exception {
    try (Scene scene = new Scene("other", Site.Kind.FILE)) {
      Host host = scene.host();
      Program run = scene.run(host, Workload.COUNTER, 100);
      run.awaitLine("^step 5 ");
      Program second = scene.run(host, Workload.COUNTER, 100).expect(2);
      assertEquals(1, second.lines("another run").size(), second::toString);
      scene.checkpoint(host).expect(0);
      run.expect(75);

      Program other = scene.run(host, List.of("/bin/echo", "something else")).expect(2);
      assertEquals(
          1,
          other.lines("counter\\.sh.*/bin/echo something else.*--fresh").size(),
          other::toString);
      assertEquals(List.of(), other.out());

      Program on = scene.run(host, Workload.COUNTER, 100);
      on.awaitLine("^step ");
      scene.checkpoint(host).expect(0);
      on.expect(75);

      Program fresh = scene.run(host, List.of("/bin/echo", "something else"), "--fresh").expect(0);
      assertEquals(List.of("something else"), fresh.out());
    }
  }
}
