package org.lifeboat.page;

/** The flags of a pagemap entry: CRIU's PE_* constants, on the wire and in its images alike. */
public final class PagemapFlags {

  /** The content is in the parent snapshot; no pages follow. */
  public static final int PARENT = 1;

  /** Private anonymous memory: may be restored after the task has been resumed. */
  public static final int LAZY = 2;

  /** The content is in this snapshot. */
  public static final int PRESENT = 4;

  /** All flags that are known. */
  public static final int KNOWN = PARENT | LAZY | PRESENT;

  private PagemapFlags() {}
}
