package org.lifeboat.cache;

import java.io.IOException;
import java.nio.ByteBuffer;

/** Where the bytes of one version of one object come from. Called by many threads at once. */
@FunctionalInterface
public interface Source {

  /**
   * Fills the buffer from the object's byte {@code offset} on. Retries what is worth it; ends soon
   * when its thread, mostly a virtual one, is interrupted.
   *
   * @param into direct; what remains of it lies within the object
   * @throws VersionChangedException when the store has another version now
   * @throws IOException when the bytes can't be had, all of them
   */
  void read(long offset, ByteBuffer into) throws IOException;
}
