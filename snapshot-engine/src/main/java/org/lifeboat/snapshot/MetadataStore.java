package org.lifeboat.snapshot;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.lifeboat.store.Blob;
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

  /** Bounds what is read: some 600 bytes a dump. */
  private static final int MAX_BYTES = 64 << 20;

  /** How often a change is tried that a store which can be read refuses to take. */
  private static final int MAX_TRIES = 30;

  private final ObjectStore store;
  private final Supplier<String> nonces;
  private final Supplier<Pause> patience;
  private Current current;

  /**
   * @param nonces gives a fresh random word at each call
   * @param patience of a change for which none is given
   */
  public MetadataStore(ObjectStore store, Supplier<String> nonces, Supplier<Pause> patience) {
    this.store = store;
    this.nonces = nonces;
    this.patience = patience;
  }

  /** The document as it stands in the store, or empty when there was never one. */
  public synchronized Optional<Current> read() throws StoreException, SnapshotException {
    Optional<Current> found = look();
    current = found.orElse(null);
    return found;
  }

  /**
   * Reads the document without taking it as the base of the next change; for a watcher beside the
   * writer.
   */
  public Optional<Current> look() throws StoreException, SnapshotException {
    Optional<Blob> blob = Blob.read(store, Layout.METADATA, MAX_BYTES);
    if (blob.isEmpty()) {
      return Optional.empty();
    }
    DumpMetadata document = DumpMetadata.read(blob.get().bytes(), store.url().of(Layout.METADATA));
    return Optional.of(new Current(document, blob.get().version()));
  }

  /** Makes the first document; false when somebody else did first. */
  public synchronized boolean create(DumpMetadata first) throws StoreException, SnapshotException {
    return write(first, Precondition.ABSENT, patience.get());
  }

  /** Replaces the document that was read last; false when it is not the current one any more. */
  public synchronized boolean replace(Current expected, DumpMetadata next)
      throws StoreException, SnapshotException {
    return write(next, Precondition.matches(expected.version()), patience.get());
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
        if (write(next, Precondition.matches(current.version()), pause)) {
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
      current = new Current(document, info.version());
      return true;
    } catch (StoreException e) {
      switch (e.kind()) {
        case NOT_FOUND, NO_STORE, DENIED, NO_SPACE, INVALID -> throw e; // never took effect
        default -> {
          Optional<Current> now = readBack(e, patience);
          if (now.isPresent() && now.get().document().nonce().equals(nonce)) {
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

  /** The document and the version of the object that it was read from or written to. */
  public record Current(DumpMetadata document, String version) {}

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
