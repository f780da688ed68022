package org.lifeboat.receive;

import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;

/**
 * Completes the upload of a pack, in spite of replies that are lost.
 *
 * <p>A store does not repeat a complete by itself: if the first one took effect, the second one
 * finds no upload. But the key of a pack is unique for all time, so whatever object is there is
 * ours: one of the right size means that it is done.
 */
final class Completion {

  private static final int ATTEMPTS = 8;
  private static final long FIRST_WAIT_MILLIS = 50;

  private Completion() {}

  /**
   * Returns when the object is there.
   *
   * @param length of the object in bytes
   */
  static void complete(ObjectStore store, MultipartUpload upload, long length)
      throws StoreException {
    for (int attempt = 1; ; attempt++) {
      try {
        long size = upload.complete(Precondition.NONE).size();
        if (size != length) {
          throw new StoreException(
              StoreException.Kind.OTHER,
              "complete",
              store.url().of(upload.key()),
              "the store made " + size + " bytes of " + length,
              "",
              null);
        }
        return;
      } catch (StoreException e) {
        if (isDone(store, upload.key(), length, e)) {
          return;
        }
        if (attempt == ATTEMPTS
            || !(e.retryable() || e.kind() == StoreException.Kind.UNKNOWN_OUTCOME)) {
          throw e;
        }
        pause(FIRST_WAIT_MILLIS << (attempt - 1), e);
      }
    }
  }

  private static boolean isDone(
      ObjectStore store, String key, long length, StoreException failure) {
    if (failure.kind() == StoreException.Kind.INTERRUPTED) {
      return false;
    }
    try {
      return store.head(key).filter(object -> object.size() == length).isPresent();
    } catch (StoreException e) {
      failure.addSuppressed(e);
      return false;
    }
  }

  private static void pause(long millis, StoreException failure) throws StoreException {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      failure.addSuppressed(e);
      throw failure;
    }
  }
}
