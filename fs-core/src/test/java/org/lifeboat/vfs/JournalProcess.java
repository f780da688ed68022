package org.lifeboat.vfs;

import java.nio.file.Path;
import java.time.InstantSource;
import java.util.List;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Stat;

/** The process that {@link JournalCrashTest} kills. */
final class JournalProcess {

  static final long COMPACTION = 4000;
  static final int STEPS = 100;

  private JournalProcess() {}

  static ProcessBuilder command(Path journal) {
    return new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xshare:auto",
            "-XX:TieredStopAtLevel=1",
            "--enable-native-access=ALL-UNNAMED",
            "-cp",
            System.getProperty("java.class.path"),
            JournalProcess.class.getName(),
            journal.toString())
        .redirectError(ProcessBuilder.Redirect.INHERIT);
  }

  static State open(Path journal, CrashPoints points) throws VfsException {
    return State.open(BytePath.of(journal), InstantSource.system(), points, COMPACTION);
  }

  /** Makes directories 0, 1, 2, ..., and says so of each. */
  public static void main(String[] arguments) throws Exception {
    try (State state = open(Path.of(arguments[0]), CrashPoints.of(System.getenv()))) {
      for (int i = 0; i < STEPS; i++) {
        state.write().lock();
        try {
          step(state, i);
        } finally {
          state.write().unlock();
        }
        System.out.println(i);
      }
    }
  }

  private static void step(State state, int i) throws VfsException {
    Node parent = state.tree().node(2);
    state.commit(
        List.of(
            directory(100 + i),
            new Change.PutChild(2, Name.of("" + i), 100 + i, parent.children.nextCookie())),
        "mkdir",
        "" + i);
  }

  static Change.PutNode directory(long id) {
    return new Change.PutNode(
        id, Stat.S_IFDIR | 0755, 0, 0, 1, 2, 3, 0, 0, 0, false, true, null, null, null);
  }
}
