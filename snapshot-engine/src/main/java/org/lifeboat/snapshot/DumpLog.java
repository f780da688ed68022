package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.file.Files;
import java.time.Duration;
import org.lifeboat.store.Precondition;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Brings CRIU's log of a dump to the store: while the dump goes on, when CRIU has ended, and at
 * last behind the answer. What keeps it from getting there fails nothing.
 */
final class DumpLog {

  private static final Logger log = LoggerFactory.getLogger(DumpLog.class);

  /** How often the log of a dump under way is put again, in nanoseconds. */
  private static final long LOG_INTERVAL = 2_000_000_000L;

  /** How long the answer waits for the log to be stored. */
  private static final Duration LOG_PATIENCE = Duration.ofSeconds(2);

  private final DumpAttempt dump;
  private long shippedSize;
  private long shippedAt = System.nanoTime();
  private volatile boolean logIsMissing;
  private boolean logStored;
  private Thread shipping;

  DumpLog(DumpAttempt dump) {
    this.dump = dump;
  }

  /** A host that is taken in the middle of a dump leaves its log behind as far as it had come. */
  void ship() {
    try {
      long size = Files.exists(dump.logFile) ? Files.size(dump.logFile) : 0;
      long now = System.nanoTime();
      if (size != shippedSize && now - shippedAt > LOG_INTERVAL) {
        shippedSize = size;
        shippedAt = now;
        if (shipping == null || !shipping.isAlive()) {
          shipping = Thread.ofVirtual().name("log").start(this::put);
        }
      }
    } catch (IOException e) {
      log.debug("the size of {} is not known: {}", dump.logFile, e.getMessage());
    }
  }

  /** The whole log, if the store takes it soon; otherwise when the answer is given. */
  void store() {
    if (shipping != null) {
      shipping.interrupt();
    }
    logStored = Bounded.run(LOG_PATIENCE, this::put);
  }

  private void put() {
    try {
      if (Files.exists(dump.logFile)) {
        dump.transfer.put(
            Layout.dump(dump.id) + "dump_" + dump.id + ".log", dump.logFile, Precondition.NONE);
      }
      logIsMissing = false;
    } catch (IOException e) {
      logIsMissing = true;
      log.warn("the log of dump {} could not be stored: {}", dump.id, e.getMessage());
    }
  }

  /** The whole log, if that has not been done. */
  void storeAtLast() {
    if (dump.logFile != null && (!logStored || logIsMissing)) {
      put();
    }
  }
}
