package org.lifeboat.snapshot;

/**
 * How a dump went.
 *
 * @param done always true: the last line of an answer
 * @param code 0, or the exit code for the failure
 * @param error the cause in words; null when it went well
 * @param frozenMicros how long the task stood still; 0 when it was not thawed
 */
public record DumpResult(
    boolean done,
    int code,
    int dump,
    boolean leaveRunning,
    String error,
    boolean ownerLost,
    long rawBytes,
    long storedBytes,
    long fileBytes,
    int processes,
    long frozenMicros,
    long elapsedMillis) {

  public boolean ok() {
    return code == 0;
  }

  static DumpResult failure(
      int dump, boolean leaveRunning, String error, boolean ownerLost, long elapsedMillis) {
    return new DumpResult(
        true, 175, dump, leaveRunning, error, ownerLost, 0, 0, 0, 0, 0, elapsedMillis);
  }

  /** One line for the log. */
  public String summary() {
    if (!ok()) {
      return (dump > 0 ? "dump " + dump : "the dump") + " failed, the task goes on: " + error;
    }
    return String.format(
        java.util.Locale.ROOT,
        "dump %d committed: %d processes, %.1f MiB of memory in %.1f MiB, %.1f MiB of files; frozen for %.2f s, committed after %.2f s%s",
        dump,
        processes,
        rawBytes / 1048576.0,
        storedBytes / 1048576.0,
        fileBytes / 1048576.0,
        frozenMicros / 1e6,
        elapsedMillis / 1e3,
        leaveRunning ? ", the task goes on" : "");
  }
}
