package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import org.lifeboat.init.InitException;
import org.lifeboat.init.WaitStatus;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The conversation with CRIU's hook, while the tree is frozen: what is said to it, and that its
 * thread is at its end before the dump goes on. What the answer depends on is {@link DumpCommit}'s.
 */
final class DumpHook {

  private static final Logger log = LoggerFactory.getLogger(DumpHook.class);

  private final Context context;
  private final DumpObserver observer;
  private final TreeHold hold;
  private final DumpAttempt dump;
  private final DumpCourse course;
  private final DumpCommit commit;
  private final Object hookLock = new Object();
  private boolean inHook;
  private boolean criuEnded;
  private volatile Integer vote;

  DumpHook(
      Context context,
      DumpObserver observer,
      TreeHold hold,
      DumpAttempt dump,
      DumpCourse course,
      DumpCommit commit) {
    this.context = context;
    this.observer = observer;
    this.hold = hold;
    this.dump = dump;
    this.course = course;
    this.commit = commit;
  }

  int answer(String action, Path imagesOfHook) {
    if (!action.equals("post-dump")) {
      return beforeFreeze(action);
    }
    synchronized (hookLock) {
      if (criuEnded) {
        return 1; // it asked with its last breath
      }
      inHook = true;
    }
    try {
      return vote();
    } finally {
      synchronized (hookLock) {
        inHook = false;
        hookLock.notifyAll();
      }
    }
  }

  /**
   * CRIU can end while its hook is answered: only if it is killed, and then the tree goes on. So
   * nothing may be committed that is not being committed already, and nobody may go on here before
   * the hook's thread has come to its end.
   */
  void settle(WaitStatus status) {
    boolean interrupted = false;
    synchronized (hookLock) {
      criuEnded = true;
      if (inHook) {
        course.giveUp("CRIU ended (" + status + ") before it was decided");
      }
      while (inHook) {
        try {
          hookLock.wait();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private int beforeFreeze(String action) {
    if (action.equals("pre-dump")) {
      dump.frozenSince = System.nanoTime(); // CRIU freezes the tree right behind this
      observer.freezing(dump.id);
      context.crashPoints().at(DumpPoint.DUMP_FREEZING);
    }
    return 0;
  }

  private int vote() {
    if (vote != null) {
      return vote; // asked again, as the answer did not arrive
    }
    course.busy();
    try {
      postDump();
      vote = 0;
    } catch (IOException | InterruptedException | RuntimeException e) {
      dump.failure = e;
    } catch (Error e) {
      dump.failure = new IllegalStateException(e.toString(), e);
    } finally {
      course.idle();
    }
    if (dump.ownerLost()) {
      killFrozen();
    } else if (course.stage() != DumpStage.COMMITTED) {
      goOn();
    }
    if (vote == null) {
      vote = course.stage() == DumpStage.COMMITTED ? 0 : 1;
    }
    context.crashPoints().at(DumpPoint.DUMP_VOTED);
    return vote;
  }

  private void goOn() {
    try {
      hold.release();
    } catch (IOException e) {
      suppressed(e);
      log.error("the task could not be let go on", e);
    }
  }

  /** Another run has the task: this one must not be thawed, be it for a moment. */
  private void killFrozen() {
    try {
      context.init().killAll();
    } catch (InitException e) {
      suppressed(e);
      log.error("the task, which another run has taken over, could not be killed", e);
    }
  }

  /** Beside what failed before; a leave-running dump that went well has no failure. */
  private void suppressed(IOException e) {
    if (dump.failure != null) {
      dump.failure.addSuppressed(e);
    }
  }

  private void postDump() throws IOException, InterruptedException {
    course.checkNotGivenUp();
    context.crashPoints().at(DumpPoint.DUMP_HOOK);
    dump.receiver.awaitReceived(Duration.ofSeconds(60));
    context.init().drain();
    context.crashPoints().at(DumpPoint.DUMP_DRAINED);
    try (EarlyImages early =
        dump.request.leaveRunning()
            ? null
            : EarlyImages.begin(dump.transfer, dump.id, dump.images)) {
      commit.decide(early);
    }
  }
}
