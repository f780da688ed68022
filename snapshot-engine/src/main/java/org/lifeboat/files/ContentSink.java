package org.lifeboat.files;

import java.io.IOException;
import java.nio.ByteBuffer;

/** Takes the frames of captured files. Called from several threads at once. */
public interface ContentSink {

  /**
   * Appends one frame.
   *
   * @param stored a direct buffer; all that remains of it is taken before this returns
   * @throws IOException when it can't be kept; the capture fails
   */
  ContentRef append(ByteBuffer stored) throws IOException;
}
