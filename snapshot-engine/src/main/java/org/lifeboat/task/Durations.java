package org.lifeboat.task;

import java.time.Duration;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Durations as people write them: {@code 90s}, {@code 5m}, {@code 1h30m}, {@code 1.5h}, {@code
 * 500ms}; a bare number is seconds.
 */
public final class Durations {

  private static final Pattern PART = Pattern.compile("(\\d+(?:\\.\\d+)?)(ms|s|m|h|d)");
  private static final Pattern WHOLE = Pattern.compile("(?:" + PART.pattern() + ")+");

  private Durations() {}

  /**
   * @throws IllegalArgumentException with a message for the user
   */
  public static Duration parse(String text) {
    String trimmed = text.strip();
    if (trimmed.matches("\\d{1,9}(\\.\\d{1,3})?")) {
      return positive(Duration.ofMillis(Math.round(Double.parseDouble(trimmed) * 1000)), text);
    }
    if (trimmed.length() > 40 || !WHOLE.matcher(trimmed).matches()) {
      throw new IllegalArgumentException(
          "not a duration: " + text + " (write 30s, 5m, 1h30m or 500ms)");
    }
    double millis = 0;
    Matcher part = PART.matcher(trimmed);
    while (part.find()) {
      double unit =
          switch (part.group(2)) {
            case "ms" -> 1;
            case "s" -> 1000;
            case "m" -> 60_000;
            case "h" -> 3_600_000;
            default -> 86_400_000;
          };
      millis += Double.parseDouble(part.group(1)) * unit;
    }
    return positive(Duration.ofMillis(Math.round(millis)), text);
  }

  private static Duration positive(Duration duration, String text) {
    if (duration.isZero() || duration.compareTo(Duration.ofDays(3650)) > 0) {
      throw new IllegalArgumentException("not a usable duration: " + text);
    }
    return duration;
  }

  /** Short and readable: {@code 340 ms}, {@code 12.3 s}, {@code 4 min 5 s}. */
  public static String show(Duration duration) {
    long millis = duration.toMillis();
    if (millis < 1000) {
      return millis + " ms";
    }
    if (millis < 60_000) {
      return String.format(java.util.Locale.ROOT, "%.1f s", millis / 1000.0);
    }
    if (millis < 3_600_000) {
      return millis / 60_000 + " min " + millis / 1000 % 60 + " s";
    }
    return millis / 3_600_000 + " h " + millis / 60_000 % 60 + " min";
  }
}
