package org.lifeboat.snapshot;

import java.time.Duration;
import java.util.Optional;

/**
 * A wish for a snapshot.
 *
 * @param leaveRunning whether the task goes on; otherwise it is killed once the snapshot is
 *     committed
 * @param deadline how long it may take from now to the commit; it is given up then, and the task
 *     goes on
 * @param why who asked, for the log
 */
public record DumpRequest(boolean leaveRunning, Optional<Duration> deadline, String why) {}
