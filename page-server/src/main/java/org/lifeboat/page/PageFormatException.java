package org.lifeboat.page;

import java.io.IOException;

/**
 * What was read is damaged, truncated, or of a format that this version does not know: names the
 * object and the place in it. Reading it again gives the same.
 */
public final class PageFormatException extends IOException {

  private static final long serialVersionUID = 1L;

  private final String object;
  private final long offset;

  /**
   * @param object the file or the object's key
   * @param offset in bytes, where the damage was noticed
   */
  public PageFormatException(String object, long offset, String detail) {
    this(object, offset, detail, null);
  }

  /** As above, with what showed the damage. */
  public PageFormatException(String object, long offset, String detail, Throwable cause) {
    super(object + " at byte " + offset + ": " + detail, cause);
    this.object = object;
    this.offset = offset;
  }

  /** The file or the object's key. */
  public String object() {
    return object;
  }

  /** Where in it, in bytes. */
  public long offset() {
    return offset;
  }
}
