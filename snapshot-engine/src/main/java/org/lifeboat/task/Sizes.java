package org.lifeboat.task;

import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Byte counts as people read and write them. */
public final class Sizes {

  private static final Pattern SIZE =
      Pattern.compile("(\\d{1,12})\\s*(b|k|kb|kib|m|mb|mib|g|gb|gib)?");

  private Sizes() {}

  /** {@code 512 B}, {@code 3.4 MiB}, {@code 12.0 GiB}. */
  public static String show(long bytes) {
    if (bytes < 1024) {
      return bytes + " B";
    }
    double value = bytes;
    int unit = -1;
    do {
      value /= 1024;
      unit++;
    } while (value >= 1024 && unit < 4);
    return String.format(Locale.ROOT, "%.1f %ciB", value, "KMGTP".charAt(unit));
  }

  /**
   * {@code 256m}, {@code 1GiB}; units are powers of 1024.
   *
   * @throws IllegalArgumentException with a message for the user
   */
  public static long parse(String text) {
    Matcher matcher = SIZE.matcher(text.strip().toLowerCase(Locale.ROOT));
    if (!matcher.matches()) {
      throw new IllegalArgumentException("not a size: " + text + " (write 256m or 1g)");
    }
    long number = Long.parseLong(matcher.group(1));
    String unit = matcher.group(2);
    int shift =
        unit == null
            ? 0
            : switch (unit.charAt(0)) {
              case 'k' -> 10;
              case 'm' -> 20;
              case 'g' -> 30;
              default -> 0;
            };
    if (number > Long.MAX_VALUE >> shift) {
      throw new IllegalArgumentException("not a usable size: " + text);
    }
    return number << shift;
  }
}
