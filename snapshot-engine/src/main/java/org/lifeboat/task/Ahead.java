package org.lifeboat.task;

import java.io.IOException;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Something that is begun before it is needed, on a thread of its own, so that the task's start
 * waits for the longest of several things and not for their sum. What it throws comes out where its
 * result is asked for.
 */
final class Ahead<T> {

  private static final Logger log = LoggerFactory.getLogger(Ahead.class);

  private final FutureTask<T> work;
  private final Thread thread;

  private Ahead(String name, Callable<T> what) {
    work = new FutureTask<>(what);
    thread = Thread.ofPlatform().daemon().name(name).unstarted(work);
  }

  static <T> Ahead<T> start(String name, Callable<T> what) {
    Ahead<T> ahead = new Ahead<>(name, what);
    ahead.thread.start();
    return ahead;
  }

  /** Waits for the result. */
  T get() throws IOException, InterruptedException {
    try {
      return work.get();
    } catch (ExecutionException e) {
      switch (e.getCause()) {
        case IOException cause -> throw cause;
        case RuntimeException cause -> throw cause;
        case Error cause -> throw cause;
        default -> throw new IllegalStateException(e.getCause());
      }
    }
  }

  /** Interrupts it and returns when it has ended; how does not matter any more. */
  void cancel() throws InterruptedException {
    thread.interrupt();
    thread.join();
    try {
      work.get();
    } catch (ExecutionException e) {
      log.debug("{} was not needed, and ended with {}", thread.getName(), e.getCause().toString());
    }
  }
}
