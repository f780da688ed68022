package org.lifeboat.cache;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.lifeboat.sys.Errno;

/** A run of blocks on its way from a source. */
final class Flight {

  final Blocks blocks;
  final int first;
  final int count;
  final boolean ahead;
  private final CompletableFuture<Void> done = new CompletableFuture<>();

  /**
   * @param ahead whether its permits were taken already, as nobody waits for it yet
   */
  Flight(Blocks blocks, int first, int count, boolean ahead) {
    this.blocks = blocks;
    this.first = first;
    this.count = count;
    this.ahead = ahead;
  }

  long offset() {
    return blocks.offset(first);
  }

  long bytes() {
    return blocks.length(first, count);
  }

  void land(CacheException failure) {
    if (failure == null) {
      done.complete(null);
    } else {
      done.completeExceptionally(failure);
    }
  }

  /**
   * Waits for its end.
   *
   * @throws CacheException its failure; EINTR when this thread is interrupted, whose flag stays set
   */
  void await(String object) throws CacheException {
    try {
      done.get();
    } catch (ExecutionException e) {
      if (e.getCause() instanceof CacheException failure) {
        throw CacheException.again(failure);
      }
      throw new IllegalStateException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CacheException(
          Errno.EINTR.number(), "read", object, "interrupted while waiting for bytes", "", e);
    }
  }
}
