package org.lifeboat.snapshot;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Reads and changes {@link DumpMetadata} in the store, so that of several writers exactly one wins
 * and each knows whether it did.
 *
 * <p>Every change is a conditional write on the version that was read. Its answer can be lost on
 * the way, and then "refused" may be the echo of one's own success and an error may hide one:
 * neither is believed. Each write carries a fresh random nonce; in every case but a plain success
 * the object is read back, and whose nonce is there decides. While it cannot be read, nothing is
 * decided and the caller stays where it is, as long as its {@link Pause} has it: for a final commit
 * this is the moment in which the tree is frozen, and thawing it on a guess could make two lives of
 * it.
 *
 * <p>Thread-safe: changes of one process are made one after the other.
 */
public final class MetadataStore {

  private static final Logger log = LoggerFactory.getLogger(MetadataStore.class);

  /** How often a change is tried that a store which can be read refuses to take. */
  private static final int MAX_TRIES = 30;

  private final ObjectStore store;
  private final Supplier<String> nonces;
  private final Supplier<Pause> patience;
  private final Optional<MetadataCopies> copies;
  private Current current;

  /** The newest document that is known to have been the store's. */
  private DumpMetadata known;

  /**
   * @param nonces gives a fresh random word at each call
   * @param patience of a change for which none is given
   */
  public MetadataStore(ObjectStore store, Supplier<String> nonces, Supplier<Pause> patience) {
    this(store, nonces, patience, Optional.empty());
  }

  /**
   * @param copies where a copy of each document that was written is kept
   */
  public MetadataStore(
      ObjectStore store,
      Supplier<String> nonces,
      Supplier<Pause> patience,
      Optional<MetadataCopies> copies) {
    this.store = store;
    this.nonces = nonces;
    this.patience = patience;
    this.copies = copies;
  }

  /**
   * The document as it stands in the store, or empty when there was never one. Where it is damaged
   * or was removed this is what this process has last seen of it, unless a newer owner has left a
   * copy, or else the newest copy.
   *
   * @throws SnapshotException of kind DAMAGED when there is no copy
   */
  public synchronized Optional<Current> read() throws StoreException, SnapshotException {
    MetadataCopies.Sighting seen = MetadataCopies.look(store);
    boolean mine =
        seen.damage().isPresent()
            && known != null
            && seen.document().map(copy -> copy.epoch() <= known.epoch()).orElse(true);
    Optional<DumpMetadata> document = mine ? Optional.of(known) : seen.orThrow();
    current = document.map(d -> new Current(d, seen.version(), seen.damage())).orElse(null);
    if (current != null) {
      known = current.document();
    }
    return Optional.ofNullable(current);
  }

  /**
   * Reads the document without taking it as the base of the next change; for a watcher beside the
   * writer.
   */
  public Optional<Current> look() throws StoreException, SnapshotException {
    MetadataCopies.Sighting seen = MetadataCopies.look(store);
    return seen.orThrow().map(d -> new Current(d, seen.version(), seen.damage()));
  }

  /**
   * Makes a first document where a damaged one stands, or none, and no copy tells what there was;
   * false when somebody else did first.
   */
  public synchronized boolean createOver(MetadataCopies.Sighting lost, DumpMetadata first)
      throws StoreException, SnapshotException {
    return write(first, condition(lost.version()), patience.get());
  }

  private static Precondition condition(String version) {
    return version.isEmpty() ? Precondition.ABSENT : Precondition.matches(version);
  }

  /** Waits until a copy of the last change is kept, or could not be. */
  public void settle(Duration limit) throws InterruptedException {
    if (copies.isPresent()) {
      copies.get().settle(limit);
    }
  }

  /** Makes the first document; false when somebody else did first. */
  public synchronized boolean create(DumpMetadata first) throws StoreException, SnapshotException {
    return write(first, Precondition.ABSENT, patience.get());
  }

  /** Replaces the document that was read last; false when it is not the current one any more. */
  public synchronized boolean replace(Current expected, DumpMetadata next)
      throws StoreException, SnapshotException {
    return write(next, condition(expected.version()), patience.get());
  }

  /**
   * Changes the document as its owner.
   *
   * @throws SnapshotException of kind OWNER_LOST when another run has taken the store over: then
   *     nothing was changed
   */
  public DumpMetadata update(String ownerId, UnaryOperator<DumpMetadata> change)
      throws StoreException, SnapshotException {
    return update(ownerId, change, patience.get());
  }

  /**
   * Changes the document as its owner, with a patience of its own.
   *
   * @param change may be called several times, on newer and newer documents; what it throws passes
   *     through, and then nothing was changed
   */
  public synchronized DumpMetadata update(
      String ownerId, UnaryOperator<DumpMetadata> change, Pause pause)
      throws StoreException, SnapshotException {
    if (current == null) {
      read();
    }
    for (int tries = 1; ; tries++) {
      if (current == null) {
        throw new SnapshotException(
            SnapshotException.Kind.OWNER_LOST,
            store.url().of(Layout.METADATA) + " is gone: somebody removed it",
            "",
            null);
      }
      if (!current.document().owner().id().equals(ownerId)) {
        throw ownerLost(store.url().toString(), current.document());
      }
      DumpMetadata next = change.apply(current.document());
      try {
        if (write(next, condition(current.version()), pause)) {
          return current.document();
        }
      } catch (StoreException e) {
        boolean again = e.retryable() || e.kind() == StoreException.Kind.UNKNOWN_OUTCOME;
        if (!again || tries >= MAX_TRIES) {
          throw e;
        }
        pause.await(e);
      }
    }
  }

  static SnapshotException ownerLost(String url, DumpMetadata document) {
    return new SnapshotException(
        SnapshotException.Kind.OWNER_LOST,
        "another run has taken over "
            + url
            + ": on "
            + document.owner().host()
            + ", epoch "
            + document.epoch(),
        "this one ends and leaves everything to it",
        null);
  }

  /**
   * @return whether it was written; false when another write came first
   * @throws StoreException when it was not written for a reason of its own, or when the patience
   *     ended before that was known
   */
  private boolean write(DumpMetadata next, Precondition precondition, Pause patience)
      throws StoreException, SnapshotException {
    String nonce = nonces.get();
    DumpMetadata document = next.withNonce(nonce);
    try {
      ObjectStore.ObjectInfo info =
          store.put(Layout.METADATA, ByteBuffer.wrap(SealedJson.write(document)), precondition);
      written(document, info.version());
      return true;
    } catch (StoreException e) {
      switch (e.kind()) {
        // never took effect: what may have done so is of kind UNKNOWN_OUTCOME
        case NOT_FOUND, NO_STORE, DENIED, NO_SPACE, INVALID, UNREACHABLE, THROTTLED, CORRUPT ->
            throw e;
        default -> {
          Optional<Current> now = readBack(e, patience);
          if (now.isPresent()
              && now.get().damage().isEmpty()
              && now.get().document().nonce().equals(nonce)) {
            written(document, now.get().version());
            return true;
          }
          if (e.kind() == StoreException.Kind.PRECONDITION_FAILED
              || e.kind() == StoreException.Kind.CONFLICT) {
            return false;
          }
          throw e;
        }
      }
    }
  }

  private void written(DumpMetadata document, String version) {
    current = new Current(document, version, Optional.empty());
    known = document;
    copies.ifPresent(c -> c.keep(document));
  }

  /** Reads until there is an answer, whatever the error: the answer decides about two lives. */
  private Optional<Current> readBack(StoreException first, Pause patience)
      throws StoreException, SnapshotException {
    boolean said = false;
    while (true) {
      try {
        return read();
      } catch (StoreException e) {
        if (!said) {
          log.warn(
              "whether {} was written is not known yet, asking again: {}",
              store.url().of(Layout.METADATA),
              e.getMessage());
          said = true;
        }
        StoreException unknown =
            new StoreException(
                e.kind() == StoreException.Kind.INTERRUPTED
                    ? e.kind()
                    : StoreException.Kind.UNKNOWN_OUTCOME,
                "put",
                store.url().of(Layout.METADATA),
                "whether it was written is not known: " + e.getMessage(),
                "",
                e);
        unknown.addSuppressed(first);
        patience.await(unknown);
      }
    }
  }

  /**
   * The document.
   *
   * @param version of the object {@code dump_metadata}; empty when it is missing
   * @param damage what is wrong with that object, when the document was not read from it
   */
  public record Current(
      DumpMetadata document, String version, Optional<SnapshotException> damage) {}

  /** Waits a little between two attempts; made anew for each change. */
  @FunctionalInterface
  public interface Pause {

    /**
     * Waits for ever, a second at a time, and is not interrupted: for a commit while the tree is
     * frozen.
     */
    Pause FOR_EVER =
        last -> {
          try {
            Thread.sleep(1000);
          } catch (InterruptedException e) {
            log.debug("not interrupted while the outcome of a commit is unknown");
          }
        };

    /** Waits a second at a time, and no longer than {@code limit} from now on. */
    static Pause upTo(Duration limit) {
      long end = System.nanoTime() + limit.toNanos();
      return last -> {
        if (System.nanoTime() - end > 0) {
          throw last;
        }
        try {
          Thread.sleep(1000);
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          last.addSuppressed(e);
          throw last;
        }
      };
    }

    /**
     * @param last what went wrong
     * @throws StoreException {@code last}, when it is to be given up
     */
    void await(StoreException last) throws StoreException;
  }
}
