package org.lifeboat.store;

import java.nio.ByteBuffer;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Predicate;
import java.util.random.RandomGenerator;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException.Kind;

/**
 * Makes a store fail, by a plan, in the ways that stores do. For tests and drills.
 *
 * <p>A plan is asked once per call. Plans are scripts ({@link #once}) or seeded dice ({@link
 * #random}); both are deterministic for a deterministic order of calls.
 */
public final class FaultStore extends AroundStore {

  /** What goes wrong with a call. */
  public sealed interface Fault {

    /** Nothing goes wrong. */
    Fault NONE = new None();

    /** Nothing goes wrong. */
    record None() implements Fault {}

    /** It fails and has had no effect. */
    record Before(Kind kind) implements Fault {}

    /**
     * It takes effect and its reply is lost: kind {@link Kind#UNKNOWN_OUTCOME} for a conditional
     * write, {@link Kind#UNREACHABLE} otherwise.
     */
    record ReplyLost() implements Fault {}

    /** It begins, waits until the latch is open, and goes on. */
    record Stall(CountDownLatch until) implements Fault {}

    /** A get ends, as {@link Kind#CORRUPT}, after so many bytes; other calls are left alone. */
    record Truncate(int bytes) implements Fault {}

    /**
     * A get brings one wrong bit, in silence: only a digest finds it. Other calls are left alone.
     */
    record FlipBit(long bit) implements Fault {}
  }

  /** Decides of each call what goes wrong with it; thread-safe. */
  @FunctionalInterface
  public interface Plan {
    Fault next(StoreCall call);
  }

  private final Plan plan;
  private final Map<Operation, LongAdder> calls = new EnumMap<>(Operation.class);
  private final Map<Operation, LongAdder> faults = new EnumMap<>(Operation.class);

  public FaultStore(ObjectStore inner, Plan plan) {
    super(inner);
    this.plan = plan;
    for (Operation operation : Operation.values()) {
      calls.put(operation, new LongAdder());
      faults.put(operation, new LongAdder());
    }
  }

  /** Lets one fault happen to the n-th call (from 1) that matches, and none else. */
  public static Plan once(int n, Predicate<StoreCall> matches, Fault fault) {
    return new Plan() {
      private int seen;

      @Override
      public synchronized Fault next(StoreCall call) {
        return matches.test(call) && ++seen == n ? fault : Fault.NONE;
      }
    };
  }

  /** Lets one of the faults happen to a share of the calls. */
  public static Plan random(RandomGenerator random, double share, List<Fault> faults) {
    return new Plan() {
      @Override
      public synchronized Fault next(StoreCall call) {
        return random.nextDouble() < share ? faults.get(random.nextInt(faults.size())) : Fault.NONE;
      }
    };
  }

  /** How many calls there were. */
  public long calls(Operation operation) {
    return calls.get(operation).sum();
  }

  /** How many of them something happened to. */
  public long faults(Operation operation) {
    return faults.get(operation).sum();
  }

  @Override
  protected <T> T around(StoreCall call, Action<T> action) throws StoreException {
    calls.get(call.operation()).increment();
    Fault fault = plan.next(call);
    boolean get = call.operation() == Operation.GET;
    boolean happens =
        switch (fault) {
          case Fault.None() -> false;
          case Fault.Truncate(int _), Fault.FlipBit(long _) -> get;
          default -> true;
        };
    if (!happens) {
      return action.run();
    }
    faults.get(call.operation()).increment();
    return switch (fault) {
      case Fault.None() -> action.run();
      case Fault.Before(Kind kind) -> throw failure(call, kind, "injected before it was done");
      case Fault.ReplyLost() -> {
        action.run();
        Kind kind = call.idempotent() ? Kind.UNREACHABLE : Kind.UNKNOWN_OUTCOME;
        throw failure(call, kind, "injected: done, and the reply was lost");
      }
      case Fault.Stall(CountDownLatch until) -> {
        await(call, until);
        yield action.run();
      }
      case Fault.Truncate(int bytes) -> {
        int start = call.buffer().position();
        action.run();
        call.buffer().position(Math.min(start + bytes, call.buffer().position()));
        throw failure(call, Kind.CORRUPT, "injected: the body was truncated");
      }
      case Fault.FlipBit(long bit) -> {
        int start = call.buffer().position();
        T result = action.run();
        flip(call.buffer(), start, bit);
        yield result;
      }
    };
  }

  private static void flip(ByteBuffer buffer, int start, long bit) {
    long bits = (buffer.position() - start) * 8L;
    if (bits > 0) {
      long at = Math.floorMod(bit, bits);
      int index = start + (int) (at / 8);
      buffer.put(index, (byte) (buffer.get(index) ^ (1 << (at % 8))));
    }
  }

  private void await(StoreCall call, CountDownLatch until) throws StoreException {
    try {
      until.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw failure(call, Kind.INTERRUPTED, "interrupted while it was stalled");
    }
  }

  private StoreException failure(StoreCall call, Kind kind, String detail) {
    return new StoreException(kind, call.name(), url().of(call.key()), detail, "", null);
  }
}
