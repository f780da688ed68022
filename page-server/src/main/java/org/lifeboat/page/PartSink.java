package org.lifeboat.page;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * Where the parts of packs go. {@link PackWriter} calls {@link #part} from as many threads as it
 * has uploads; the other methods from one at a time.
 */
public interface PartSink {

  /**
   * There will be at least one pack: begins what can be begun now, and returns at once. At most
   * once, before {@link #begin}.
   */
  default void prepare() {}

  /**
   * Starts a pack.
   *
   * @param number of the pack, from 0 on, ascending
   * @return its key, unique for all time
   */
  String begin(int number) throws IOException;

  /**
   * Keeps a part; when it returns, the part is safe and the buffer may be used again.
   *
   * @param number of the part, from 1 on; parts come in any order, each once
   * @param body from position to limit; {@link PageFormat#PART_BYTES}, the last part fewer
   * @param sha256 of the body, in lower-case hexadecimal
   */
  void part(String key, int number, ByteBuffer body, String sha256) throws IOException;

  /** Ends a pack: all its parts are safe. */
  void complete(PackInfo pack) throws IOException;

  /** All packs are complete: from here on {@link #abort} does nothing. */
  void seal() throws IOException;

  /**
   * Throws away whatever was begun since the start, unless it was sealed. May be called again.
   *
   * @throws IOException when something could not be removed; as much as possible was
   */
  void abort() throws IOException;
}
