package org.lifeboat.task;

import java.time.Clock;
import java.time.Duration;
import java.util.Optional;
import java.util.function.LongSupplier;
import org.lifeboat.snapshot.MetadataStore;
import org.lifeboat.snapshot.Ownership;
import org.lifeboat.snapshot.SnapshotException;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Notices that this run stood still: stopped by a signal or a freezer, with its whole machine, or
 * for want of any CPU. While it did, it was dead to everybody else, and another run may have the
 * task now. {@link OwnerWatch} would find that out at its next look; until then the task would live
 * twice. So the listener is told at once, holds the task, and is told again when the store has said
 * whose it is.
 *
 * <p>A newcomer takes a run for dead that has not beaten for {@link Ownership#PATIENCE}, and the
 * last beat may be {@link Ownership#BEAT} old when the run stops: so a stop is long when it is
 * longer than the difference. Two clocks tell: the monotonic one, which goes on while processes are
 * stopped, and the wall clock, which is set right when a suspended machine wakes up while the
 * monotonic one has not moved. That somebody sets the clock forward costs one look. A virtual
 * machine that was paused and wakes up with neither clock moved is not noticed here, but by the
 * next look.
 *
 * <p>While the store does not answer the task is held no longer than {@link #HELD_AT_MOST}: a run
 * that is cut off from its store without having stood still goes on too.
 */
final class Standstill implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(Standstill.class);

  /** How often it looks at the clocks, in milliseconds. */
  static final long TICK = 500;

  /** Longer is long, in milliseconds. */
  static final long LONG = Ownership.PATIENCE - Ownership.BEAT;

  /** How long a task is held for a store that does not answer, in milliseconds. */
  static final long HELD_AT_MOST = 60_000;

  /** How often it looks again because looking itself took long. */
  private static final int LOOKS = 5;

  /** Called on this object's thread; must not block. */
  interface Listener {
    /** It may be that another run has the task. */
    void stoodStill(Duration howLong);

    /** The task is still this run's, or nobody can tell. */
    void cleared();

    /** Another run has it. */
    void lost(String why);
  }

  private final MetadataStore metadata;
  private final String ownerId;
  private final LongSupplier monotonic;
  private final Clock wall;
  private final Ownership.Sleeper sleeper;
  private final Listener listener;
  private final Thread thread =
      Thread.ofPlatform().daemon().name("standstill").unstarted(this::loop);

  /**
   * @param monotonic milliseconds
   */
  Standstill(
      MetadataStore metadata,
      String ownerId,
      LongSupplier monotonic,
      Clock wall,
      Ownership.Sleeper sleeper,
      Listener listener) {
    this.metadata = metadata;
    this.ownerId = ownerId;
    this.monotonic = monotonic;
    this.wall = wall;
    this.sleeper = sleeper;
    this.listener = listener;
  }

  void start() {
    thread.start();
  }

  /** Both clocks at one instant. */
  private record Instants(long monotonic, long wall) {
    long until(Instants later) {
      return Math.max(later.monotonic - monotonic, later.wall - wall);
    }
  }

  private Instants now() {
    return new Instants(monotonic.getAsLong(), wall.millis());
  }

  private void loop() {
    try {
      Instants last = now();
      while (true) {
        sleeper.sleep(TICK);
        long passed = last.until(now());
        if (passed > LONG + TICK) {
          listener.stoodStill(Duration.ofMillis(passed));
          Optional<String> other = ask();
          if (other.isPresent()) {
            listener.lost("another run has taken the store over, on " + other.get());
            return;
          }
          listener.cleared();
        }
        last = now();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt(); // the run ends
    }
  }

  /** The host of another owner, if there is one. */
  private Optional<String> ask() throws InterruptedException {
    long giveUp = monotonic.getAsLong() + HELD_AT_MOST;
    for (int looks = 1; ; ) {
      Instants asked = now();
      try {
        Optional<MetadataStore.Current> found = metadata.look();
        // a copy may be of the owner before
        if (found.isPresent()
            && found.get().damage().isEmpty()
            && !found.get().document().owner().id().equals(ownerId)) {
          return Optional.of(found.get().document().owner().host());
        }
        // an answer that is old, as the run was stopped again while it came, is no answer
        if (asked.until(now()) <= LONG || ++looks > LOOKS) {
          return Optional.empty();
        }
      } catch (StoreException | SnapshotException | RuntimeException e) {
        if (monotonic.getAsLong() > giveUp) {
          log.warn(
              "whose the store is could not be found out, the task goes on: {}", e.getMessage());
          return Optional.empty();
        }
        log.debug("whose the store is is not known yet: {}", e.getMessage());
        sleeper.sleep(TICK);
      }
    }
  }

  @Override
  public void close() {
    thread.interrupt();
  }
}
