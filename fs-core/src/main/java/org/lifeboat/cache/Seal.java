package org.lifeboat.cache;

import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Stat;

/** What came of sealing a content: of making a file that keeps its bytes as they are now. */
public sealed interface Seal {

  /**
   * The file shares the content's disk blocks, until one of them is written to.
   *
   * @param file the new file, mode 0600
   * @param sealed the content's attributes, to be given to {@link Content#markClean}
   */
  record Sealed(BytePath file, Stat sealed) implements Seal {}

  /**
   * The file system can't share blocks, and nothing was made: the bytes have to be copied.
   *
   * @param reason fit for a log
   */
  record CannotReflink(String reason) implements Seal {}
}
