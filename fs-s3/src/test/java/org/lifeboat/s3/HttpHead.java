package org.lifeboat.s3;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** The first line and the headers of an HTTP/1.1 request or reply, as they came. */
record HttpHead(String first, List<String> headers) {

  private static final int MAX = 1 << 20;

  /** The next one, or empty at the stream's end. */
  static Optional<HttpHead> read(InputStream in) throws IOException {
    Optional<String> first = line(in);
    if (first.isEmpty()) {
      return Optional.empty();
    }
    List<String> headers = new ArrayList<>();
    while (true) {
      String line = line(in).orElseThrow(() -> new EOFException("the head is cut off"));
      if (line.isEmpty()) {
        return Optional.of(new HttpHead(first.get(), List.copyOf(headers)));
      }
      headers.add(line);
    }
  }

  static Optional<String> line(InputStream in) throws IOException {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    for (int b = in.read(); b >= 0; b = in.read()) {
      if (b == '\n') {
        return Optional.of(line.toString(ISO_8859_1).stripTrailing());
      }
      line.write(b);
      if (line.size() > MAX) {
        throw new IOException("a line without an end");
      }
    }
    if (line.size() > 0) {
      throw new EOFException("a line is cut off");
    }
    return Optional.empty();
  }

  Optional<String> header(String name) {
    String start = name.toLowerCase(Locale.ROOT) + ":";
    return headers.stream()
        .filter(header -> header.toLowerCase(Locale.ROOT).startsWith(start))
        .map(header -> header.substring(start.length()).strip())
        .findFirst();
  }

  /** The word of the first line: 0 the method or the version, 1 the target or the status. */
  String word(int n) {
    return first.split(" ", 3)[n];
  }

  boolean chunked() {
    return header("Transfer-Encoding").filter(v -> v.equalsIgnoreCase("chunked")).isPresent();
  }

  /** Bytes of the body, or -1 when it does not say. */
  long length() {
    return header("Content-Length").map(Long::parseLong).orElse(-1L);
  }

  /** Without some of the headers, and with one more. */
  HttpHead with(String header, String... without) {
    List<String> next = new ArrayList<>();
    for (String each : headers) {
      boolean dropped = false;
      for (String name : without) {
        dropped |= each.regionMatches(true, 0, name + ":", 0, name.length() + 1);
      }
      if (!dropped) {
        next.add(each);
      }
    }
    next.add(header);
    return new HttpHead(first, List.copyOf(next));
  }

  byte[] bytes() {
    return (first + "\r\n" + String.join("\r\n", headers) + "\r\n\r\n").getBytes(ISO_8859_1);
  }

  /** How many bytes of a body are passed on, and when. */
  interface Pace {
    /** Called before so many further bytes are passed on; false ends it there. */
    boolean pass(int bytes) throws IOException;
  }

  /**
   * Passes a body on, as it is framed here.
   *
   * @param length from {@link #length()}; -1 without chunks: to the stream's end
   * @return false when the pace ended it
   */
  static boolean copy(
      InputStream in, OutputStream out, boolean chunked, long length, int step, Pace pace)
      throws IOException {
    if (!chunked) {
      return copy(in, out, length, step, pace);
    }
    while (true) {
      String size = line(in).orElseThrow(() -> new EOFException("a chunk is missing"));
      int semicolon = size.indexOf(';');
      int bytes = Integer.parseInt(semicolon < 0 ? size : size.substring(0, semicolon), 16);
      if (!pace.pass(size.length() + 2)) {
        return false;
      }
      out.write((size + "\r\n").getBytes(ISO_8859_1));
      if (bytes == 0) {
        String trailer;
        do {
          trailer = line(in).orElseThrow(() -> new EOFException("a trailer is missing"));
          out.write((trailer + "\r\n").getBytes(ISO_8859_1));
        } while (!trailer.isEmpty());
        return true;
      }
      if (!copy(in, out, bytes + 2L, step, pace)) {
        return false;
      }
    }
  }

  private static boolean copy(InputStream in, OutputStream out, long length, int step, Pace pace)
      throws IOException {
    byte[] buffer = new byte[step];
    for (long left = length; left != 0; ) {
      int n = in.read(buffer, 0, left < 0 ? step : (int) Math.min(step, left));
      if (n < 0) {
        if (left < 0) {
          return true;
        }
        throw new EOFException(left + " bytes of a body are missing");
      }
      if (!pace.pass(n)) {
        return false;
      }
      out.write(buffer, 0, n);
      left -= left < 0 ? 0 : n;
    }
    return true;
  }
}
