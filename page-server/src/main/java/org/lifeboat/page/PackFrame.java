package org.lifeboat.page;

/** Something that lies in a pack, inside one part; see {@link FrameRef}. */
public interface PackFrame {

  /** The pack's place in the list of packs, from 0 on. */
  int pack();

  /** Of the first byte in the pack. */
  long offset();

  /** In bytes, at least 1. */
  int length();
}
