package org.lifeboat.task;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.lifeboat.store.StoreUrl;

/**
 * What {@code lifeboat run} was asked to do.
 *
 * @param preserve paths beside the working directory whose files belong to the snapshots
 * @param every how often a snapshot is taken that leaves the task running
 * @param keep how many snapshots that can be restored stay in the store, 1 to {@link
 *     org.lifeboat.snapshot.Retention#MAX_KEEP}
 * @param fresh start the command anew, whatever the store holds
 * @param takeover take the store even from a run that lives
 * @param command program and arguments, as raw bytes (see {@link org.lifeboat.init.Frames#raw})
 * @param environment the task's environment, as raw bytes
 */
public record RunOptions(
    StoreUrl store,
    List<Path> preserve,
    Optional<Duration> every,
    int keep,
    AfterDump afterDump,
    boolean fresh,
    boolean takeover,
    List<String> command,
    Map<String, String> environment,
    Path directory) {

  public RunOptions {
    preserve = List.copyOf(preserve);
    command = List.copyOf(command);
    environment = Map.copyOf(environment);
  }

  /** What to do once a final dump is committed. */
  public enum AfterDump {
    /** End with exit code 75. */
    EXIT,
    /** Stay, without the task, until the host is gone. */
    PARK
  }
}
