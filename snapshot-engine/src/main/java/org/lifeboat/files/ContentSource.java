package org.lifeboat.files;

import java.io.IOException;
import java.nio.ByteBuffer;

/** Gives back what a {@link ContentSink} took. Called from several threads at once. */
public interface ContentSource {

  /** Bytes of a pack; -1 if there is no such pack. */
  long length(int pack) throws IOException;

  /**
   * Reads one frame's stored bytes.
   *
   * @param into a direct buffer with at least {@code ref.length()} bytes remaining; its position is
   *     moved past what was read
   */
  void read(ContentRef ref, ByteBuffer into) throws IOException;
}
