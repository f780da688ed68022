package org.lifeboat.protocol;

import org.lifeboat.page.ImageId;

/**
 * Images, at 8 to 16 bytes each: a peer decides how many there are. A table of longs with linear
 * probing; 0 is a free place, and no image is 0 because its kind counts from 1.
 */
final class ImageSet {

  private long[] table = new long[1024];
  private int size;

  int size() {
    return size;
  }

  /** Returns false when it was there. */
  boolean add(ImageId image) {
    long key = image.id() << 8 | (image.kind() == ImageId.Kind.TASK ? 1 : 2);
    if (!put(table, key)) {
      return false;
    }
    size++;
    if (size > table.length / 2) {
      long[] larger = new long[2 * table.length];
      for (long each : table) {
        if (each != 0) {
          put(larger, each);
        }
      }
      table = larger;
    }
    return true;
  }

  private static boolean put(long[] table, long key) {
    long hash = key * 0x9e3779b97f4a7c15L;
    int at = (int) ((hash >>> 32) & (table.length - 1));
    while (table[at] != 0) {
      if (table[at] == key) {
        return false;
      }
      at = (at + 1) & (table.length - 1);
    }
    table[at] = key;
    return true;
  }
}
