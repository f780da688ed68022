package org.lifeboat.snapshot;

import org.lifeboat.receive.PageReceiver;
import org.lifeboat.receive.ReceiveFigures;

/**
 * Tells how far a dump is and looks after its deadline, on a thread of its own: no store that hangs
 * may hold that up.
 */
final class DumpTicker {

  private final DumpAttempt dump;
  private final DumpCourse course;

  DumpTicker(DumpAttempt dump, DumpCourse course) {
    this.dump = dump;
    this.course = course;
  }

  /** Goes on until it is interrupted. */
  Thread start() {
    return Thread.ofVirtual().name("deadline").start(this::tick);
  }

  private void tick() {
    try {
      while (true) {
        Thread.sleep(500);
        report();
        course.watch();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt(); // the dump has ended
    }
  }

  private void report() {
    PageReceiver open = dump.receiver;
    if (open == null) {
      dump.progress.accept(
          new DumpProgress(
              dump.id,
              dump.phase,
              0,
              dump.expectedBytes,
              0,
              0,
              (System.nanoTime() - dump.start) / 1_000_000));
      return;
    }
    ReceiveFigures figures = open.figures();
    long raw = figures.rawBytes();
    if (raw > 0 && dump.phase.equals("freezing")) {
      dump.phase = "receiving";
    }
    dump.progress.accept(
        new DumpProgress(
            dump.id,
            dump.phase,
            raw,
            dump.expectedBytes,
            figures.storedBytes(),
            Math.max(0, figures.packedBytes() - figures.storedBytes()),
            (System.nanoTime() - dump.start) / 1_000_000));
  }
}
