package org.lifeboat.receive;

import java.util.List;
import org.lifeboat.page.Compression;

/**
 * Compresses as hard as the link allows: when finished parts queue up, the link is what limits, and
 * fewer bytes help; when the link runs dry while raw pages queue up, the processors limit, and less
 * work helps. When neither queue says anything, nothing is changed.
 *
 * <p>The queue of parts is short, so one step follows at the earliest {@value #BATCHES_PER_STEP}
 * batches after the last one: time enough for it to show in the queues. Between the two marks lies
 * a wide band in which nothing moves, which is what keeps it from swinging. A model of bandwidth
 * and codec speeds was rejected: it would need what the queues show for free.
 *
 * <p>It starts in the middle, with zstd -1, the usual winner. Thread-safe.
 */
public final class AdaptiveCodec implements CodecPolicy {

  /** A batch is 1 MiB or a little less. */
  static final int BATCHES_PER_STEP = 16;

  private static final List<Compression> STEPS =
      List.of(Compression.NONE, Compression.LZ4, Compression.ZSTD_FAST, Compression.ZSTD);

  private int step = STEPS.indexOf(Compression.ZSTD_FAST);
  private int batches;

  @Override
  public synchronized Compression choose(Load load) {
    batches++;
    if (batches >= BATCHES_PER_STEP) {
      boolean linkIsFull = load.partsPending() * 4 >= load.partCapacity() * 3;
      boolean linkIsDry = load.partsPending() * 4 <= load.partCapacity();
      boolean pagesQueue = load.rawUsed() * 2 >= load.rawCapacity();
      if (linkIsFull && step < STEPS.size() - 1) {
        step++;
        batches = 0;
      } else if (linkIsDry && pagesQueue && step > 0) {
        step--;
        batches = 0;
      }
    }
    return STEPS.get(step);
  }

  @Override
  public synchronized String toString() {
    return "adaptive, now " + STEPS.get(step);
  }
}
