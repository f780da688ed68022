package org.lifeboat.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;
import org.lifeboat.snapshot.DumpProgress;
import org.lifeboat.snapshot.SealedJson;

final class ProgressLineTest {

  private static final long MIB = 1 << 20;

  @Test
  void tellsHowFarItIs() {
    assertEquals(
        "dump 3: receiving, 512.0 MiB of memory of about 1.0 GiB, 100.0 MiB stored at 50.0 MiB/s,"
            + " ratio 4.0, 3.1 s left",
        ProgressLine.text(
            new DumpProgress(3, "receiving", 512 * MIB, 1024 * MIB, 100 * MIB, 28 * MIB, 2000)));
    assertEquals(
        "dump 3: uploading, 1.0 GiB of memory, 200.0 MiB stored at 50.0 MiB/s, ratio 4.1, 1.0 s left",
        ProgressLine.text(
            new DumpProgress(3, "uploading", 1024 * MIB, 1024 * MIB, 200 * MIB, 50 * MIB, 4000)));
  }

  @Test
  void theBeginningDividesByNothing() {
    assertEquals(
        "dump 1: freezing, 0 B of memory, 0 B stored at 0 B/s",
        ProgressLine.text(new DumpProgress(1, "freezing", 0, 0, 0, 0, 0)));
  }

  @Test
  void tellsTheResult() {
    assertEquals(
        "saved as snapshot 2: 3 processes, 64.0 MiB of memory and 10 B of files in 8.0 MiB;"
            + " frozen for 450 ms, committed after 2.0 s",
        ProgressLine.result(
            SealedJson.mapper()
                .readTree(
                    "{\"dump\":2,\"processes\":3,\"rawBytes\":67108864,\"storedBytes\":8388608,"
                        + "\"fileBytes\":10,\"frozenMicros\":450000,\"elapsedMillis\":2000}")));
  }

  /** Where stderr is no terminal, as in a test, a line now and then. */
  @Test
  void aLogGetsALineEveryFiveSeconds() {
    StringWriter text = new StringWriter();
    PrintWriter out = new PrintWriter(text);
    ProgressLine line = new ProgressLine(out, false);
    for (long millis = 0; millis <= 12_000; millis += 500) {
      line.show(new DumpProgress(1, "receiving", millis, 0, 0, 0, millis));
    }
    line.end();
    assertEquals(2, text.toString().lines().count(), text::toString);
  }

  @Test
  void aTerminalGetsOneLineThatIsWrittenOver() {
    StringWriter text = new StringWriter();
    ProgressLine line = new ProgressLine(new PrintWriter(text), true);
    line.show(new DumpProgress(1, "freezing", 0, 0, 0, 0, 0));
    line.end();
    line.end();
    assertEquals(
        "\r\u001b[Kdump 1: freezing, 0 B of memory, 0 B stored at 0 B/s\r\u001b[K",
        text.toString());
  }
}
