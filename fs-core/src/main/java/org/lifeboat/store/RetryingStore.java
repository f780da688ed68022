package org.lifeboat.store;

import java.time.Duration;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;
import java.util.random.RandomGenerator;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException.Kind;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Sits out what passes: repeats a call that failed for a retryable reason, with exponential
 * back-off and full jitter, until it succeeds or its time is over. A backend's own few quick
 * retries cover a lost packet; this covers a store that is away for minutes.
 *
 * <p>Conditional puts and completes are never repeated: their callers decide, after reading back.
 * All else is idempotent; an upload whose begin is repeated leaves at worst one that is never
 * finished.
 */
public final class RetryingStore extends AroundStore {

  private static final Logger log = LoggerFactory.getLogger(RetryingStore.class);

  /** How often a user is told of repetitions, in nanoseconds. */
  private static final long TELL_EVERY = 10_000_000_000L;

  private final AtomicLong lastTold = new AtomicLong();
  private final Limits limits;
  private final LongSupplier nanoTime;
  private final Sleeper sleeper;
  private final RandomGenerator random;

  /**
   * How long and how often.
   *
   * @param total from the first attempt's start to the last one's start, for each call
   * @param first the longest wait before the first repetition; doubles with each
   * @param longest what it does not double beyond
   * @param quiet whether repetitions are of no interest to a user
   */
  public record Limits(Duration total, Duration first, Duration longest, boolean quiet) {

    /** With repetitions that a user is told of. */
    public Limits(Duration total, Duration first, Duration longest) {
      this(total, first, longest, false);
    }

    public Limits {
      if (total.isNegative() || first.isNegative() || longest.compareTo(first) < 0) {
        throw new IllegalArgumentException(total + ", " + first + ", " + longest);
      }
    }
  }

  /** How a thread waits. */
  @FunctionalInterface
  public interface Sleeper {
    void sleep(Duration time) throws InterruptedException;
  }

  public RetryingStore(ObjectStore inner, Limits limits) {
    this(inner, limits, System::nanoTime, Thread::sleep, RandomGenerator.getDefault());
  }

  /**
   * @param random need not be thread-safe
   */
  public RetryingStore(
      ObjectStore inner,
      Limits limits,
      LongSupplier nanoTime,
      Sleeper sleeper,
      RandomGenerator random) {
    super(inner);
    this.limits = limits;
    this.nanoTime = nanoTime;
    this.sleeper = sleeper;
    this.random = random;
  }

  @Override
  protected <T> T around(StoreCall call, Action<T> action) throws StoreException {
    long start = nanoTime.getAsLong();
    int position = call.buffer().position();
    StoreException earlier = null;
    for (int attempt = 0; ; attempt++) {
      try {
        return action.run();
      } catch (StoreException e) {
        if (earlier != null) {
          e.addSuppressed(earlier);
        }
        if (!e.retryable() || !call.idempotent()) {
          throw e;
        }
        Duration wait = backOff(attempt);
        if (nanoTime.getAsLong() - start + wait.toNanos() > limits.total.toNanos()) {
          throw e;
        }
        tell(e, wait);
        sleep(call, wait, e);
        if (call.operation() == Operation.GET) {
          call.buffer().position(position);
        }
        earlier = withoutHistory(e);
      }
    }
  }

  /** Says it, but not with every repetition of every call: a store that is away stays so. */
  private void tell(StoreException e, Duration wait) {
    long now = nanoTime.getAsLong();
    long before = lastTold.get();
    boolean due = before == 0 || now - before >= TELL_EVERY;
    if (!limits.quiet && due && lastTold.compareAndSet(before, now)) {
      log.info("{}; again in {} ms", e.getMessage(), wait.toMillis());
    } else {
      log.debug("{}; again in {} ms", e.getMessage(), wait.toMillis());
    }
  }

  /** One earlier failure tells enough; a chain of all would hold an hour's worth of them. */
  private static StoreException withoutHistory(StoreException e) {
    return new StoreException(
        e.kind(), e.operation(), e.object(), "failed before, too", e.remedy(), e.getCause());
  }

  private Duration backOff(int attempt) {
    long most = limits.first.toNanos();
    for (int i = 0; i < attempt && most < limits.longest.toNanos(); i++) {
      most *= 2;
    }
    most = Math.min(most, limits.longest.toNanos());
    synchronized (random) {
      return Duration.ofNanos(random.nextLong(most + 1));
    }
  }

  private void sleep(StoreCall call, Duration wait, StoreException failure) throws StoreException {
    try {
      sleeper.sleep(wait);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      e.addSuppressed(failure);
      throw new StoreException(
          Kind.INTERRUPTED,
          call.name(),
          url().of(call.key()),
          "the thread was interrupted before it could try again",
          "",
          e);
    }
  }
}
