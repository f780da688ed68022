package org.lifeboat.files;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.LinkedBlockingDeque;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicReference;

/**
 * A few platform threads, each with a {@link FrameCoder}. Jobs may add pieces of themselves;
 * whoever adds a whole job waits while too many are under way. The first failure stops everything
 * and is thrown to whoever adds or finishes.
 */
final class Workers implements AutoCloseable {

  /** Files under way at most, thus also open descriptors. */
  private static final int MAX_JOBS = 256;

  /** A piece of work. */
  interface Job {
    void run(FrameCoder coder) throws IOException, InterruptedException;
  }

  private final LinkedBlockingDeque<Job> queue = new LinkedBlockingDeque<>();
  private final Semaphore slots = new Semaphore(MAX_JOBS);
  private final AtomicReference<Throwable> failure = new AtomicReference<>();
  private final List<Thread> threads = new ArrayList<>();

  Workers(String name, int count) {
    for (int i = 0; i < count; i++) {
      threads.add(Thread.ofPlatform().daemon().name(name + "-" + i).start(this::work));
    }
  }

  private void work() {
    try (FrameCoder coder = new FrameCoder()) {
      while (true) {
        queue.takeFirst().run(coder);
      }
    } catch (InterruptedException closing) {
      Thread.currentThread().interrupt();
    } catch (Throwable e) {
      failure.compareAndSet(null, e);
      slots.release(MAX_JOBS);
    }
  }

  /** Adds a job, which must call {@link #done} once, at its end. */
  void add(Job job) throws FilesException {
    acquire(1);
    queue.addLast(job);
  }

  /** Adds a piece of a job that is under way; pieces go before new jobs. */
  void addPiece(Job piece) {
    queue.addFirst(piece);
  }

  void done() {
    slots.release();
  }

  boolean failed() {
    return failure.get() != null;
  }

  /** Waits until every job is done. */
  void finish() throws FilesException {
    acquire(MAX_JOBS);
    slots.release(MAX_JOBS);
  }

  private void acquire(int permits) throws FilesException {
    try {
      slots.acquire(permits);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new FilesException("work on", "files", "interrupted", null, "", e);
    }
    switch (failure.get()) {
      case null -> {}
      case FilesException e -> throw e;
      case IOException e -> throw FilesException.of("work on", "files", "", e);
      case RuntimeException e -> throw e;
      case Error e -> throw e;
      case Throwable e -> throw new IllegalStateException(e);
    }
  }

  /** Ends the threads; jobs that have not begun are dropped. */
  @Override
  public void close() {
    boolean interrupted = false;
    for (Thread thread : threads) {
      thread.interrupt();
    }
    for (Thread thread : threads) {
      while (thread.isAlive()) {
        try {
          thread.join();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
