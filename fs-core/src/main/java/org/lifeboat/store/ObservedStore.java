package org.lifeboat.store;

import java.util.Optional;
import java.util.function.LongSupplier;
import org.lifeboat.store.StoreCall.Operation;

/**
 * Tells an observer of every call when it is over: what request logs and metrics are made of.
 * Inside a {@link RetryingStore} it sees each attempt, around one it sees the whole.
 */
public final class ObservedStore extends AroundStore {

  private final Observer observer;
  private final LongSupplier nanoTime;

  public ObservedStore(ObjectStore inner, Observer observer) {
    this(inner, observer, System::nanoTime);
  }

  ObservedStore(ObjectStore inner, Observer observer, LongSupplier nanoTime) {
    super(inner);
    this.observer = observer;
    this.nanoTime = nanoTime;
  }

  /** Called by the thread that made the call, so it must be quick; thread-safe. */
  @FunctionalInterface
  public interface Observer {
    void done(Done call);
  }

  /**
   * A call that is over.
   *
   * @param key the object's key, the prefix or directory of a listing, or the source of a copy
   * @param part the part's number, otherwise 0
   * @param bytes of the body that was sent or read; of a failed call what there was to send
   * @param startNanos as {@link System#nanoTime()}
   * @param endNanos as {@link System#nanoTime()}
   * @param failure empty when it succeeded; a {@link StoreException} when the store failed
   */
  public record Done(
      Operation operation,
      String key,
      int part,
      long bytes,
      long startNanos,
      long endNanos,
      Optional<Throwable> failure) {}

  @Override
  protected <T> T around(StoreCall call, Action<T> action) throws StoreException {
    int position = call.buffer().position();
    long start = nanoTime.getAsLong();
    Throwable failure = null;
    try {
      return action.run();
    } catch (Throwable e) {
      failure = e;
      throw e;
    } finally {
      long end = nanoTime.getAsLong();
      long bytes =
          call.operation() == Operation.GET
              ? call.buffer().position() - position
              : call.buffer().remaining();
      observer.done(
          new Done(
              call.operation(),
              call.key(),
              call.part(),
              bytes,
              start,
              end,
              Optional.ofNullable(failure)));
    }
  }
}
