package org.lifeboat.receive;

import org.lifeboat.page.Compression;

/**
 * Zstd, unless the link is faster than zstd for long; then LZ4, until parts queue up again.
 *
 * <p>The time of a dump is the longer of two: what the processors need for the pages, and what the
 * link needs for the parts. Fewer bytes are the safe side. A byte that is stored costs its digest,
 * its copy, its encryption and its way through the network, together about as much CPU as LZ4 saves
 * by not being zstd, and the link is other people's too. So zstd is left only when at most half of
 * the part buffers are taken while raw pages queue up, without a break for {@value #DRY_BATCHES}
 * batches: long enough for many parts to come out, since before the first ones nothing could fill
 * the buffers; and half, because a part that is on a fast but distant link has a buffer, too. It
 * comes back as soon as most part buffers are taken, at the earliest {@value #STEP_BATCHES} batches
 * after it went. Between the marks nothing moves, which is what keeps it from swinging.
 *
 * <p>Rejected: four steps from no codec at all to zstd that followed the queues at once. CRIU is
 * always faster than the codecs and the first parts come late, so such a ladder was at its foot
 * before the first part was sent, and swung between too many bytes and too few ever after: images
 * of a third to three times the size of zstd's, and 15 to 45 % longer over 1 Gbit/s. Storing pages
 * raw never pays, see above; nor does the faster zstd -1, see {@link Compression}. A model of the
 * link's and the codecs' speeds was rejected as well: it would need what the queues show for free.
 *
 * <p>Thread-safe.
 */
public final class AdaptiveCodec implements CodecPolicy {

  /** A batch is 1 MiB or a little less. */
  static final int DRY_BATCHES = 256;

  static final int STEP_BATCHES = 16;

  private Compression now = Compression.ZSTD;
  private int batches;

  @Override
  public synchronized Compression choose(Load load) {
    boolean linkIsDry = load.partsPending() * 4 <= load.partCapacity();
    boolean linkIsFull = load.partsPending() * 4 >= load.partCapacity() * 3;
    boolean pagesQueue = load.rawUsed() * 2 >= load.rawCapacity();
    switch (now) {
      case ZSTD -> {
        batches = linkIsDry && pagesQueue ? batches + 1 : 0;
        change(batches >= DRY_BATCHES, Compression.LZ4);
      }
      default -> {
        batches++;
        change(linkIsFull && batches >= STEP_BATCHES, Compression.ZSTD);
      }
    }
    return now;
  }

  private void change(boolean really, Compression to) {
    if (really) {
      now = to;
      batches = 0;
    }
  }

  @Override
  public synchronized String toString() {
    return "adaptive, now " + now;
  }
}
