package org.lifeboat.store;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Arrays;

/** What every backend must agree on about keys: which are well formed, and their order. */
public final class Keys {

  /** The longest key in bytes of UTF-8, as S3 has it. */
  public static final int MAX_BYTES = 1024;

  private Keys() {}

  /**
   * Returns the key when it is well formed as {@link ObjectStore} says.
   *
   * @throws IllegalArgumentException otherwise
   */
  public static String check(String key) {
    if (key.isEmpty()) {
      throw new IllegalArgumentException("the key is empty");
    }
    if (key.indexOf('\0') >= 0) {
      throw new IllegalArgumentException("the key has a NUL character");
    }
    for (int start = 0; start <= key.length(); ) {
      int slash = key.indexOf('/', start);
      int end = slash < 0 ? key.length() : slash;
      if (end == start) {
        throw new IllegalArgumentException("the key has an empty segment: " + key);
      }
      if (key.startsWith(".", start)
          && (end == start + 1 || (end == start + 2 && key.charAt(start + 1) == '.'))) {
        throw new IllegalArgumentException("the key has a . or .. segment: " + key);
      }
      start = end + 1;
    }
    if (key.getBytes(UTF_8).length > MAX_BYTES) {
      throw new IllegalArgumentException("the key has more than " + MAX_BYTES + " bytes: " + key);
    }
    return key;
  }

  /**
   * Returns what names a directory: nothing for the top, otherwise a well-formed key and a slash.
   *
   * @throws IllegalArgumentException when it is neither
   */
  public static String checkDirectory(String directory) {
    if (!directory.isEmpty()) {
      if (!directory.endsWith("/")) {
        throw new IllegalArgumentException("the directory has no slash at its end: " + directory);
      }
      check(directory.substring(0, directory.length() - 1));
    }
    return directory;
  }

  /** Whether it can be a segment of a key; what others put into a bucket may have any name. */
  public static boolean isSegment(String name) {
    return !name.isEmpty()
        && !name.equals(".")
        && !name.equals("..")
        && name.indexOf('/') < 0
        && name.indexOf('\0') < 0;
  }

  /** Compares by UTF-8 bytes; {@link String#compareTo} orders characters above U+FFFF wrongly. */
  public static int compare(String a, String b) {
    return Arrays.compareUnsigned(a.getBytes(UTF_8), b.getBytes(UTF_8));
  }
}
