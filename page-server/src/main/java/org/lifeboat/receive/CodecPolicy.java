package org.lifeboat.receive;

import org.lifeboat.page.Compression;

/** Decides how hard pages are compressed. Called once per batch by each compressor thread. */
@FunctionalInterface
public interface CodecPolicy {

  /** How to compress the next batch, given how full the queues are. */
  Compression choose(Load load);

  /** Always the same. */
  static CodecPolicy fixed(Compression compression) {
    return load -> compression;
  }

  /**
   * How full the queues around the compressors are.
   *
   * @param rawUsed segments that hold pages which are not packed yet
   * @param rawCapacity segments in all; when all are used, CRIU waits
   * @param partsPending parts that are full and not yet safe
   * @param partCapacity part buffers in all; when all are pending, the compressors wait
   */
  record Load(int rawUsed, int rawCapacity, int partsPending, int partCapacity) {}
}
