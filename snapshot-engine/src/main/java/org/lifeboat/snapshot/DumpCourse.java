package org.lifeboat.snapshot;

import java.time.Duration;
import java.util.concurrent.atomic.AtomicReference;
import org.lifeboat.receive.PageReceiver;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * How far a dump has come, and how it is given up: by its deadline, by a cancel, or by CRIU's end.
 * Threads that know nothing of each other ask for that, so what decides between them is in one
 * place: the step from RUNNING to either GIVEN_UP or COMMITTING.
 */
final class DumpCourse {

  private static final Logger log = LoggerFactory.getLogger(DumpCourse.class);

  /** How long a tree stands still for its commit before that is said. */
  private static final Duration LOUD_AFTER = Duration.ofSeconds(5);

  private final DumpAttempt dump;
  private final AtomicReference<DumpStage> stage = new AtomicReference<>(DumpStage.RUNNING);
  private volatile String givenUp;
  private Thread worker;
  private volatile boolean waitingForCommit;
  private volatile long committingSince = Long.MAX_VALUE;

  DumpCourse(DumpAttempt dump) {
    this.dump = dump;
  }

  DumpStage stage() {
    return stage.get();
  }

  /** Why it was given up; null when it was not. */
  String givenUp() {
    return givenUp;
  }

  /** That it was given up explains nothing any more. */
  void forgetWhy() {
    givenUp = null;
  }

  synchronized void beginCommit() throws SnapshotException {
    if (!stage.compareAndSet(DumpStage.RUNNING, DumpStage.COMMITTING)) {
      throw deadline();
    }
    committingSince = System.nanoTime();
  }

  void committed() {
    stage.set(DumpStage.COMMITTED);
  }

  /** From now on the calling thread is interrupted when the dump is given up. */
  synchronized void busy() {
    worker = Thread.currentThread();
  }

  /** The calling thread is not interrupted any more, and what came too late is forgotten. */
  synchronized void idle() {
    worker = null;
    boolean late = Thread.interrupted();
    if (late) {
      log.debug("interrupted just when it was done");
    }
  }

  private synchronized void interruptWorker() {
    if (worker != null) {
      worker.interrupt();
    }
  }

  /** Looks after the deadline; is called twice a second. */
  void watch() {
    if (overdue()) {
      giveUpInTime();
    }
    if (stage.get() == DumpStage.COMMITTING
        && !dump.request.leaveRunning()
        && System.nanoTime() - committingSince > LOUD_AFTER.toNanos()) {
      sayThatItStandsStill();
    }
  }

  private void giveUpInTime() {
    String deadline =
        "its deadline of " + seconds(dump.request.deadline().orElseThrow()) + " passed";
    giveUp(deadline + " in phase " + dump.phase);
    if (stage.get() == DumpStage.COMMITTING && dump.request.leaveRunning() && !waitingForCommit) {
      waitingForCommit = true;
      givenUp = deadline + ", and the store does not say whether it is committed";
      interruptWorker();
    }
  }

  private void sayThatItStandsStill() {
    if (!waitingForCommit) {
      waitingForCommit = true;
      dump.phase = "waiting, with the task stopped, for the store to say whether it is committed";
      log.error(
          "the store does not say whether dump {} is committed: the task stands still until it"
              + " does, for it could live twice",
          dump.id);
    }
  }

  private static String seconds(Duration time) {
    return time.toMillis() % 1000 == 0 ? time.toSeconds() + " s" : time.toMillis() / 1000.0 + " s";
  }

  boolean overdue() {
    return dump.request.deadline().isPresent()
        && System.nanoTime() - dump.request.deadlineNanos() > 0;
  }

  void giveUp(String why) {
    synchronized (this) {
      if (stage.get() != DumpStage.RUNNING) {
        return;
      }
      givenUp = why; // before the stage, which others look at first
      stage.set(DumpStage.GIVEN_UP);
    }
    PageReceiver open = dump.receiver;
    if (open != null) {
      open.abort(why);
    }
    interruptWorker();
  }

  void checkNotGivenUp() throws SnapshotException {
    if (stage.get() == DumpStage.GIVEN_UP) {
      throw deadline();
    }
  }

  private SnapshotException deadline() {
    return new SnapshotException(
        SnapshotException.Kind.DEADLINE, String.valueOf(givenUp), "", null);
  }
}
