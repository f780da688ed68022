package org.lifeboat.snapshot;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.util.List;
import java.util.Optional;
import org.lifeboat.store.Blob;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Makes this run the one that writes below a store URL, and notices when it is not any more.
 *
 * <p>Who the owner is stands in {@link DumpMetadata}; that it lives, in an object of its own, the
 * heartbeat, because a store allows few conditional writes a second to one object and a heartbeat
 * needs none. A newcomer looks for a new beat for {@link #PATIENCE}: a host that was taken without
 * notice cannot say goodbye, and waiting a few seconds is cheaper than two lives. An owner that
 * ended by itself has marked itself released, and then there is no wait; a higher attempt number of
 * the batch system is proof that the lower one is over, and a lower one never wins. Clocks of two
 * hosts are never compared.
 */
public final class Ownership {

  private static final Logger log = LoggerFactory.getLogger(Ownership.class);

  /**
   * For how long a newcomer looks for a beat, in milliseconds; an owner beats every {@link #BEAT}.
   */
  public static final long PATIENCE = 5000;

  /** Between two looks, in milliseconds. */
  private static final long GLANCE = 1000;

  /** A look that takes longer tells nothing of the owner, in milliseconds. */
  private static final long SLOW = 1000;

  /** The longest that slow looks make a newcomer wait, in milliseconds. */
  private static final long MOST = 60_000;

  /** How often an owner beats, in milliseconds. */
  public static final long BEAT = 2000;

  private final ObjectStore store;
  private final MetadataStore metadata;
  private final Clock clock;
  private final Sleeper sleeper;

  public Ownership(ObjectStore store, MetadataStore metadata, Clock clock, Sleeper sleeper) {
    this.store = store;
    this.metadata = metadata;
    this.clock = clock;
    this.sleeper = sleeper;
  }

  /**
   * Takes the store over, or makes it.
   *
   * @param me the new owner
   * @param takeover take it even from an owner that lives
   * @param opening what else changes with the take-over, in the same write
   * @return the document as it is now, with this run as its owner, and what stood there before
   * @throws SnapshotException of kind OWNED when another run owns it and lives
   */
  public Taken take(
      DumpMetadata.Owner me,
      List<String> command,
      String directory,
      boolean takeover,
      Opening opening)
      throws StoreException, SnapshotException, InterruptedException {
    return take(me, command, directory, takeover, false, opening);
  }

  /**
   * As above.
   *
   * @param fresh whatever dumps there are is passed over: make the store anew where its metadata is
   *     damaged or missing and there is no copy of it
   */
  public Taken take(
      DumpMetadata.Owner me,
      List<String> command,
      String directory,
      boolean takeover,
      boolean fresh,
      Opening opening)
      throws StoreException, SnapshotException, InterruptedException {
    boolean waited = false;
    String watched = "";
    while (true) {
      Optional<MetadataStore.Current> found;
      try {
        found = metadata.read();
      } catch (SnapshotException e) {
        if (!fresh || e.kind() != SnapshotException.Kind.DAMAGED) {
          throw e;
        }
        Optional<Taken> taken = takeLost(me, command, directory, takeover, opening);
        if (taken.isPresent()) {
          return taken.get();
        }
        continue;
      }
      if (found.isEmpty()) {
        DumpMetadata first = opening.open(first(me, command, directory, 0));
        if (metadata.create(first)) {
          return new Taken(first, Optional.empty());
        }
        continue;
      }
      DumpMetadata before = found.get().document();
      DumpMetadata.Owner other = before.owner();
      if (other.id().equals(watched) && before.task().state() == DumpMetadata.TaskState.ENDED) {
        throw owned(
            before,
            "while this run looked whether that one lives, its task ended with exit code "
                + before.task().exitCode(),
            "run it again to start it anew");
      }
      boolean dead = false;
      if (found.get().damage().isPresent()) {
        log.warn(
            "{}: going on from the copy of it, of epoch {}",
            found.get().damage().get().getMessage(),
            before.epoch());
        if (!takeover && !other.id().equals(me.id())) {
          if (anybodyLives()) {
            throw owned(before, "that run or a later one lives");
          }
          dead = true;
        }
      }
      if (!takeover && !other.released() && !other.id().equals(me.id())) {
        if (me.attempt() < other.attempt()) {
          throw owned(
              before,
              "it belongs to attempt " + other.attempt() + ", this is attempt " + me.attempt());
        }
        if (me.attempt() == other.attempt()) {
          Optional<DumpMetadata.Dump> dumping =
              before.dumps().stream()
                  .filter(dump -> dump.state() == DumpMetadata.DumpState.DUMPING)
                  .filter(dump -> dump.epoch() == before.epoch()) // of earlier owners: torn
                  .reduce((a, b) -> b);
          if (!waited && !dead) {
            log.info(
                "{} was left by a run on {} that did not end by itself: looking for {} s whether it"
                    + " lives",
                store.url(),
                other.host(),
                PATIENCE / 1000);
          }
          watched = other.id();
          if (!dead && lives(other.id())) {
            if (dumping.isPresent() && !waited) {
              log.info(
                  "dump {} is under way on {}: waiting until it is committed or given up",
                  dumping.get().id(),
                  other.host());
              waited = true;
            }
            if (dumping.isPresent()) {
              continue;
            }
            throw owned(before, "that run lives");
          }
          if (metadata
              .read()
              .map(now -> !now.version().equals(found.get().version()))
              .orElse(true)) {
            continue;
          }
        }
      }
      DumpMetadata mine =
          opening.open(before.failingTorn(clock.millis()).withOwner(before.epoch() + 1, me));
      if (metadata.replace(found.get(), mine)) {
        for (DumpMetadata.Dump dump : before.dumps()) {
          if (dump.state() == DumpMetadata.DumpState.DUMPING) {
            log.info(
                "dump {} is marked as failed: {}",
                dump.id(),
                mine.dump(dump.id()).orElseThrow().error());
          }
        }
        return new Taken(mine, Optional.of(before));
      }
      log.info("another run was quicker to take {}: looking again", store.url());
    }
  }

  private DumpMetadata first(
      DumpMetadata.Owner me, List<String> command, String directory, int lastId) {
    return new DumpMetadata(
        DumpMetadata.FORMAT,
        1,
        "",
        me,
        command,
        directory,
        new DumpMetadata.Task(DumpMetadata.TaskState.ACTIVE, null, clock.millis(), 1),
        List.of(),
        lastId);
  }

  /**
   * Makes the store anew where nobody knows what it holds. New dumps get higher numbers than any
   * that is there has, so that no object of an old one is overwritten.
   *
   * @return empty when something has changed meanwhile
   */
  private Optional<Taken> takeLost(
      DumpMetadata.Owner me,
      List<String> command,
      String directory,
      boolean takeover,
      Opening opening)
      throws StoreException, SnapshotException, InterruptedException {
    MetadataCopies.Sighting lost = MetadataCopies.look(store);
    if (lost.document().isPresent() || lost.damage().isEmpty()) {
      return Optional.empty();
    }
    log.warn("{}", lost.damage().get().getMessage());
    if (!takeover && anybodyLives()) {
      throw new SnapshotException(
          SnapshotException.Kind.OWNED,
          store.url() + " is in use: its heartbeat moves",
          "stop that run first, use another --store, or take it over with --takeover",
          null);
    }
    DumpMetadata first = opening.open(first(me, command, directory, lost.highestDump()));
    if (!metadata.createOver(lost, first)) {
      return Optional.empty();
    }
    return Optional.of(new Taken(first, Optional.empty()));
  }

  /** Whether any run beats: of a copy it is not known whether its owner was the last one. */
  private boolean anybodyLives() throws StoreException, InterruptedException {
    Optional<String> before = heartbeat();
    log.info("looking for {} s whether a run of {} lives", PATIENCE / 1000, store.url());
    sleeper.sleep(PATIENCE);
    Optional<String> after = heartbeat();
    return after.isPresent() && !after.equals(before);
  }

  private SnapshotException owned(DumpMetadata document, String why) {
    return owned(
        document, why, "stop it first, use another --store, or take it over with --takeover");
  }

  private SnapshotException owned(DumpMetadata document, String why, String remedy) {
    DumpMetadata.Owner owner = document.owner();
    return new SnapshotException(
        SnapshotException.Kind.OWNED,
        store.url()
            + " is in use by a run on "
            + owner.host()
            + " (process "
            + owner.pid()
            + "): "
            + why,
        remedy,
        null);
  }

  /**
   * Whether there is a beat of this owner that was not there at the first look. None is there when
   * the owner died between taking the store and its first beat, or when one of another stands
   * there: then any is new. A store that is slow with us may be so with the owner too, so only time
   * in which it was not counts.
   */
  private boolean lives(String ownerId) throws StoreException, InterruptedException {
    Optional<String> first = heartbeat().filter(beat -> beat.startsWith(ownerId + " "));
    long all = 0;
    for (long waited = 0; waited < PATIENCE; ) {
      sleeper.sleep(GLANCE);
      waited += GLANCE;
      all += GLANCE;
      long asked = clock.millis();
      Optional<String> now = heartbeat().filter(beat -> beat.startsWith(ownerId + " "));
      if (now.isPresent() && !now.equals(first)) {
        return true;
      }
      long took = clock.millis() - asked;
      all += Math.max(0, took);
      if (took > SLOW && all < MOST) {
        log.info("the store is slow, so the wait begins anew: {} ms for a heartbeat", took);
        waited = 0;
      }
    }
    return false;
  }

  private Optional<String> heartbeat() throws StoreException {
    Optional<Blob> blob;
    try {
      blob = Blob.read(store, Layout.HEARTBEAT, 4096);
    } catch (StoreException e) {
      if (e.kind() == StoreException.Kind.INVALID) {
        return Optional.empty(); // too large to be one
      }
      throw e;
    }
    return blob.map(b -> new String(b.bytes(), StandardCharsets.UTF_8).strip());
  }

  /** Writes the n-th heartbeat of an owner. */
  public void beat(String ownerId, long n) throws StoreException {
    store.put(
        Layout.HEARTBEAT,
        ByteBuffer.wrap((ownerId + " " + n + "\n").getBytes(StandardCharsets.UTF_8)),
        Precondition.NONE);
  }

  /** Changes a document of which the newcomer is the owner; may be called again on a newer one. */
  @FunctionalInterface
  public interface Opening {

    /**
     * @throws SnapshotException when the store is not to be taken: then nothing is written
     */
    DumpMetadata open(DumpMetadata mine) throws SnapshotException;
  }

  /** What {@link #take} found and made. */
  public record Taken(DumpMetadata now, Optional<DumpMetadata> before) {}

  /** Waits. */
  @FunctionalInterface
  public interface Sleeper {
    void sleep(long millis) throws InterruptedException;
  }
}
