package org.lifeboat.files;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.sys.BytePath;

/** A roll-back in another JVM is killed at each of its points, and run again. */
class KilledRollBackTest {

  @TempDir Path temp;

  /** The child: stops at the given point, says so, and waits to be killed. */
  public static final class Child {
    private Child() {}

    @SuppressWarnings("CatchAndPrintStackTrace")
    public static void main(String[] args) throws Exception {
      RollBackPoint wanted = RollBackPoint.valueOf(args[2]);
      int[] left = {Integer.parseInt(args[3])};
      RollBack rollBack =
          new RollBack(
              Manifest.load(Path.of(args[0])),
              new PackFile(Path.of(args[1])),
              BytePath.ROOT,
              2,
              point -> {
                if (point == wanted && left[0]-- == 0) {
                  System.out.println("AT " + point);
                  try {
                    System.in.read();
                  } catch (IOException e) {
                    throw new UncheckedIOException(e);
                  }
                }
              });
      rollBack.apply();
      System.out.println("DONE");
    }
  }

  private boolean killAt(RollBackPoint point, int count, CaptureResult captured) throws Exception {
    Process child =
        new ProcessBuilder(
                ProcessHandle.current().info().command().orElseThrow(),
                "--enable-native-access=ALL-UNNAMED",
                "-XX:-UsePerfData",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                Child.class.getName(),
                captured.manifest().toString(),
                temp.resolve("0.pack").toString(),
                point.name(),
                Integer.toString(count))
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    try {
      String line = child.inputReader(StandardCharsets.UTF_8).readLine();
      assertTrue(("AT " + point).equals(line) || "DONE".equals(line), line);
      return !"DONE".equals(line);
    } finally {
      child.destroyForcibly();
      assertTrue(child.waitFor(20, TimeUnit.SECONDS));
    }
  }

  @Test
  void theSameResultWhereverItIsKilled() throws Exception {
    long seed = new SplittableRandom().nextLong();
    System.out.println("KilledRollBackTest seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    Task task = new Task(temp);
    RandomTree tree = new RandomTree(random, List.of(task.work, task.scratch));
    tree.mutate(100);
    task.start();
    task.tick();
    tree.mutate(100);
    CaptureResult captured = task.capture("m");
    Photo then = Photo.of(BytePath.ROOT, task.home);
    TreeMap<BytePath, String> expected = new TreeMap<>(then.shown);
    try (Manifest.UnchangedCursor cursor = Manifest.load(captured.manifest()).unchanged()) {
      while (cursor.head().isPresent()) {
        expected.remove(cursor.head().get().path());
        cursor.advance();
      }
    }
    expected.remove(task.home);
    List<String> reached = new ArrayList<>();
    for (RollBackPoint point : RollBackPoint.values()) {
      task.tick();
      tree.mutate(60);
      Photo before = Photo.of(BytePath.ROOT, task.home, true);
      int count =
          switch (point) {
            case ROLL_BACK_MOVED_ASIDE, ROLL_BACK_PLACED, ROLL_BACK_DIRECTORY -> random.nextInt(6);
            default -> 0;
          };
      // twice at the same place, then through
      boolean stopped = killAt(point, count, captured);
      if (stopped) {
        reached.add(point.name());
        killAt(point, count, captured);
      }
      RollBackPlan last = task.rollBack(captured, BytePath.ROOT).apply();
      Photo now = Photo.of(BytePath.ROOT, task.home);
      Map<BytePath, String> found = new TreeMap<>(now.shown);
      found.keySet().retainAll(expected.keySet());
      assertEquals(expected, found, () -> "killed at " + point + " " + count);
      if (point == RollBackPoint.ROLL_BACK_VERIFIED && stopped) {
        assertEquals(0, last.put(), "what the killed run had put in place is kept");
      }
      Photo all = Photo.of(BytePath.ROOT, task.home, true);
      List<String> lost = new ArrayList<>(before.contents.values());
      lost.removeAll(all.contents.values());
      assertEquals(List.of(), lost);
      for (BytePath path : all.shown.keySet()) {
        String text = path.toString();
        assertTrue(!text.contains(".lifeboat-stage") && !text.contains(".lifeboat-journal"), text);
      }
    }
    assertTrue(reached.size() >= 5, reached.toString());
  }
}
