package org.lifeboat.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import org.lifeboat.snapshot.DumpProgress;
import org.lifeboat.task.Durations;
import org.lifeboat.task.Sizes;
import tools.jackson.databind.JsonNode;

/**
 * How far a dump is: one line that is written over on a terminal, a line every five seconds
 * elsewhere.
 */
final class ProgressLine {

  private static final long PLAIN_INTERVAL = 5000;

  private final PrintWriter out;
  private final boolean terminal;
  private long lastPlain;
  private boolean open;

  ProgressLine(PrintWriter out) {
    this(out, onTerminal());
  }

  ProgressLine(PrintWriter out, boolean terminal) {
    this.out = out;
    this.terminal = terminal;
  }

  private static boolean onTerminal() {
    try {
      String target = Files.readSymbolicLink(Path.of("/proc/self/fd/2")).toString();
      return target.startsWith("/dev/pts/")
          || target.startsWith("/dev/tty")
          || target.equals("/dev/console");
    } catch (IOException e) {
      return false;
    }
  }

  void show(DumpProgress progress) {
    if (terminal) {
      out.print("\r\u001b[K" + text(progress));
      out.flush();
      open = true;
    } else if (progress.elapsedMillis() - lastPlain >= PLAIN_INTERVAL) {
      lastPlain = progress.elapsedMillis();
      out.println(text(progress));
      out.flush();
    }
  }

  void end() {
    if (open) {
      out.print("\r\u001b[K");
      out.flush();
      open = false;
    }
  }

  static String text(DumpProgress p) {
    double seconds = Math.max(0.001, p.elapsedMillis() / 1000.0);
    StringBuilder line = new StringBuilder();
    line.append("dump ").append(p.dump()).append(": ").append(p.phase());
    line.append(", ").append(Sizes.show(p.rawBytes())).append(" of memory");
    if (p.expectedBytes() > p.rawBytes() && p.phase().equals("receiving")) {
      line.append(" of about ").append(Sizes.show(p.expectedBytes()));
    }
    line.append(", ").append(Sizes.show(p.storedBytes())).append(" stored");
    line.append(" at ").append(Sizes.show((long) (p.storedBytes() / seconds))).append("/s");
    long compressed = p.storedBytes() + p.pendingBytes();
    if (compressed > 0 && p.rawBytes() > 0) {
      double ratio = (double) p.rawBytes() / compressed;
      line.append(String.format(Locale.ROOT, ", ratio %.1f", ratio));
      long left =
          p.phase().equals("receiving")
              ? (long) (Math.max(0, p.expectedBytes() - p.rawBytes()) / ratio) + p.pendingBytes()
              : p.pendingBytes();
      if (p.storedBytes() > 0 && left > 0) {
        line.append(", ")
            .append(
                Durations.show(
                    Duration.ofMillis((long) (left / (p.storedBytes() / seconds) * 1000))))
            .append(" left");
      }
    }
    return line.toString();
  }

  /** What is told of a dump that was committed. */
  static String result(JsonNode result) {
    long raw = result.path("rawBytes").asLong(0);
    long stored = result.path("storedBytes").asLong(0);
    long elapsed = result.path("elapsedMillis").asLong(0);
    return String.format(
        Locale.ROOT,
        "saved as snapshot %d: %d processes, %s of memory and %s of files in %s; frozen for %s, committed after %s",
        result.path("dump").asInt(0),
        result.path("processes").asInt(0),
        Sizes.show(raw),
        Sizes.show(result.path("fileBytes").asLong(0)),
        Sizes.show(stored),
        Durations.show(Duration.ofNanos(result.path("frozenMicros").asLong(0) * 1000)),
        Durations.show(Duration.ofMillis(elapsed)));
  }
}
