package org.lifeboat.store;

import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.lifeboat.store.StoreException.Kind;

/**
 * Gives each call a short time and gives it up then: for what is better tried again at once than
 * waited for, such as a heartbeat. Inside a {@link RetryingStore} it limits each attempt.
 */
public final class HurriedStore extends AroundStore {

  private static final Duration GRACE = Duration.ofMillis(200);

  private final Duration limit;

  public HurriedStore(ObjectStore inner, Duration limit) {
    super(inner);
    this.limit = limit;
  }

  @Override
  protected <T> T around(StoreCall call, Action<T> action) throws StoreException {
    Callable<T> step = action::run;
    FutureTask<T> task = new FutureTask<>(step);
    Thread thread = Thread.ofVirtual().name("hurried").start(task);
    try {
      return task.get(limit.toNanos(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      end(thread);
      throw failure(
          call,
          call.idempotent() ? Kind.UNREACHABLE : Kind.UNKNOWN_OUTCOME,
          "no answer within " + limit.toMillis() / 1000.0 + " s",
          e);
    } catch (InterruptedException e) {
      end(thread);
      Thread.currentThread().interrupt();
      throw failure(call, Kind.INTERRUPTED, "the thread was interrupted", e);
    } catch (ExecutionException e) {
      switch (e.getCause()) {
        case StoreException cause -> throw cause;
        case RuntimeException cause -> throw cause;
        case Error cause -> throw cause;
        case Throwable cause -> throw new IllegalStateException(cause);
      }
    }
  }

  /** Stores end at once when they are interrupted, and then leave the caller's buffer alone. */
  private static void end(Thread thread) {
    thread.interrupt();
    try {
      thread.join(GRACE);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private StoreException failure(StoreCall call, Kind kind, String detail, Throwable cause) {
    return new StoreException(kind, call.name(), url().of(call.key()), detail, "", cause);
  }
}
