package org.lifeboat.cache;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Runs requests to sources, each on a virtual thread, not too many and not too much at once.
 *
 * <p>Who waits for bytes gets in line; who reads ahead gets what is free beyond a quarter of all,
 * or nothing for now. So read-ahead never stands in the way of what somebody waits for by more than
 * the requests it has under way.
 */
final class Fetches implements AutoCloseable {

  private static final int UNIT = 4096;

  private final ExecutorService threads =
      Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("fetch-", 0).factory());
  private final int allMemory;
  private final int allRequests;
  private final Semaphore memory;
  private final Semaphore requests;
  private final AtomicLong under = new AtomicLong();

  Fetches(int requests, long bytes) {
    this.allMemory = Math.toIntExact(Math.max(1, bytes / UNIT));
    this.allRequests = requests;
    this.memory = new Semaphore(allMemory, true);
    this.requests = new Semaphore(requests, true);
  }

  /** Bytes that requests under way may hold. */
  long bytes() {
    return (long) allMemory * UNIT;
  }

  private int units(long bytes) {
    return Math.clamp(Math.ceilDiv(bytes, UNIT), 1, allMemory);
  }

  /** Takes permits for a request that nobody waits for yet, if there are enough. */
  boolean tryAdmit(long bytes) {
    int units = units(bytes);
    if (memory.availablePermits() - units < allMemory / 4
        || requests.availablePermits() - 1 < allRequests / 4) {
      return false;
    }
    if (!requests.tryAcquire()) {
      return false;
    }
    if (!memory.tryAcquire(units)) {
      requests.release();
      return false;
    }
    return true;
  }

  /** One request. */
  interface Request {
    void run();

    /** It was given up before it began. */
    void interrupted();

    /** It is over, and nothing is taken by it any more. */
    void end();
  }

  /**
   * Starts a request.
   *
   * @param admitted whether {@link #tryAdmit} took the permits already
   */
  void start(long bytes, boolean admitted, Request request) {
    int units = units(bytes);
    under.incrementAndGet();
    boolean started = false;
    try {
      threads.execute(() -> run(units, admitted, request));
      started = true;
    } finally {
      if (!started) {
        under.decrementAndGet();
        if (admitted) {
          memory.release(units);
          requests.release();
        }
      }
    }
  }

  private void run(int units, boolean admitted, Request request) {
    try {
      if (!admitted) {
        requests.acquire();
        try {
          memory.acquire(units);
        } catch (InterruptedException e) {
          requests.release();
          throw e;
        }
      }
      try {
        request.run();
      } finally {
        memory.release(units);
        requests.release();
      }
    } catch (InterruptedException e) {
      request.interrupted();
    } finally {
      under.decrementAndGet();
      request.end();
    }
  }

  /** Requests under way or in line. */
  long under() {
    return under.get();
  }

  /** Interrupts what is under way and waits for its end. */
  @Override
  public void close() {
    threads.shutdownNow();
    threads.close();
  }
}
