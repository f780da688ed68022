package org.lifeboat.task;

import java.nio.file.FileSystemException;
import org.lifeboat.snapshot.SnapshotException;

/** How a failure is told, and which exit code it means: the same wherever in a run it shows. */
final class Failures {

  private Failures() {}

  static String describe(Throwable e) {
    return e instanceof FileSystemException f
        ? f.getFile() + ": " + Preflight.reason(f)
        : e.getMessage() == null ? e.toString() : e.getMessage();
  }

  static int codeOf(SnapshotException e) {
    return switch (e.kind()) {
      case OTHER_COMMAND -> ExitCodes.USAGE;
      case OWNER_LOST, DEADLINE, UNKNOWN_OUTCOME -> ExitCodes.DUMP;
      default -> ExitCodes.RESTORE;
    };
  }
}
