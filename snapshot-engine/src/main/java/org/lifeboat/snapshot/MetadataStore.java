package org.lifeboat.snapshot;

import java.nio.ByteBuffer;
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
 * decided and the caller stays where it is: for a commit this is the moment in which the tree is
 * frozen, and thawing it on a guess could make two lives of it.
 *
 * <p>Thread-safe: changes of one process are made one after the other.
 */
public final class MetadataStore {

  private static final Logger log = LoggerFactory.getLogger(MetadataStore.class);

  /** Bounds what is read: some 600 bytes a dump. */
  private static final int MAX_BYTES = 64 << 20;

  private final ObjectStore store;
  private final Supplier<String> nonces;
  private final Pause pause;
  private Current current;

  /**
   * @param nonces gives a fresh random word at each call
   * @param pause waits between two attempts to read back
   */
  public MetadataStore(ObjectStore store, Supplier<String> nonces, Pause pause) {
    this.store = store;
    this.nonces = nonces;
    this.pause = pause;
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
    DumpMetadata document =
        SealedJson.read(
            blob.get().bytes(),
            DumpMetadata.class,
            store.url().of(Layout.METADATA),
            DumpMetadata.FORMAT);
    return Optional.of(new Current(document, blob.get().version()));
  }

  /** Makes the first document; false when somebody else did first. */
  public synchronized boolean create(DumpMetadata first) throws StoreException, SnapshotException {
    return write(first, Precondition.ABSENT);
  }

  /** Replaces the document that was read last; false when it is not the current one any more. */
  public synchronized boolean replace(Current expected, DumpMetadata next)
      throws StoreException, SnapshotException {
    return write(next, Precondition.matches(expected.version()));
  }

  /**
   * Changes the document as its owner.
   *
   * @throws SnapshotException of kind OWNER_LOST when another run has taken the store over: then
   *     nothing was changed
   */
  public synchronized DumpMetadata update(String ownerId, UnaryOperator<DumpMetadata> change)
      throws StoreException, SnapshotException {
    if (current == null) {
      read();
    }
    while (true) {
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
      if (write(change.apply(current.document()), Precondition.matches(current.version()))) {
        return current.document();
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

  private boolean write(DumpMetadata next, Precondition precondition)
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
        case PRECONDITION_FAILED, CONFLICT, UNKNOWN_OUTCOME, UNREACHABLE, THROTTLED, OTHER -> {
          return readBack(nonce, e);
        }
        default -> throw e;
      }
    }
  }

  private boolean readBack(String nonce, StoreException first)
      throws StoreException, SnapshotException {
    boolean said = false;
    while (true) {
      try {
        Optional<Current> now = read();
        boolean won = now.isPresent() && now.get().document().nonce().equals(nonce);
        if (!won
            && first.kind() != StoreException.Kind.PRECONDITION_FAILED
            && !first.retryable()
            && first.kind() != StoreException.Kind.UNKNOWN_OUTCOME) {
          throw first;
        }
        return won;
      } catch (StoreException e) {
        if (e == first || !e.retryable()) {
          throw e;
        }
        if (!said) {
          log.warn(
              "whether {} was written is not known yet, asking again: {}",
              store.url().of(Layout.METADATA),
              e.getMessage());
          said = true;
        }
        pause.await();
      }
    }
  }

  /** The document and the version of the object that it was read from or written to. */
  public record Current(DumpMetadata document, String version) {}

  /** Waits a little. */
  @FunctionalInterface
  public interface Pause {
    /**
     * @throws StoreException of kind INTERRUPTED when the wait is ended from outside
     */
    void await() throws StoreException;
  }
}
