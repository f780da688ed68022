package org.lifeboat.page;

import java.util.HexFormat;
import java.util.List;

/**
 * A pack that is complete: what its bytes must be.
 *
 * @param key of the object, below the store's URL
 * @param length of the object in bytes
 * @param partLength of every part but the last, in bytes
 * @param sha256 of each part, in lower-case hexadecimal, in order
 */
public record PackInfo(String key, long length, int partLength, List<String> sha256) {

  public PackInfo {
    sha256 = List.copyOf(sha256);
    if (key.isEmpty() || partLength <= 0 || length <= 0) {
      throw new IllegalArgumentException("not a pack: " + key + " of " + length + " bytes");
    }
    if (sha256.size() != (length + partLength - 1) / partLength) {
      throw new IllegalArgumentException(
          key + " of " + length + " bytes cannot have " + sha256.size() + " parts");
    }
    for (String digest : sha256) {
      if (digest.length() != 64 || HexFormat.of().parseHex(digest).length != 32) {
        throw new IllegalArgumentException(key + ": not a SHA-256: " + digest);
      }
    }
  }

  /** The size in bytes of the part, counted from 0. */
  public int partLength(int part) {
    return (int) Math.min(partLength, length - (long) part * partLength);
  }
}
