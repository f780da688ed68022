package org.lifeboat.init;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.ByteChannel;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * The messages between lifeboat-init, its hook and the engine.
 *
 * <pre>
 *  0      4                                    4 + length
 *  +------+------------------------------------+
 *  | u32  | field NUL field NUL ... field      |   length little-endian, at most 1 MiB
 *  +------+------------------------------------+
 * </pre>
 *
 * The first field is the verb. Fields are bytes without NUL; here they are strings of ISO-8859-1, a
 * byte a character, so that any argument, variable or path passes unchanged: see {@link #raw} and
 * {@link #text}.
 */
public final class Frames {

  static final int MAX_LENGTH = 1 << 20;

  /** Fields of a message that is read; init's longest has some hundred. */
  static final int MAX_FIELDS = 4096;

  private Frames() {}

  /** The field that carries this text, as UTF-8. */
  public static String raw(String text) {
    return new String(text.getBytes(StandardCharsets.UTF_8), StandardCharsets.ISO_8859_1);
  }

  /** The text that the field carries as UTF-8; bytes that are none are replaced. */
  public static String text(String raw) {
    return new String(raw.getBytes(StandardCharsets.ISO_8859_1), StandardCharsets.UTF_8);
  }

  /** Reads one message; null at a clean end of the stream. */
  public static List<String> read(ByteChannel channel) throws IOException {
    ByteBuffer head = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN);
    if (!fill(channel, head, true)) {
      return null;
    }
    int length = head.getInt(0);
    if (length < 1 || length > MAX_LENGTH) {
      throw new IOException("malformed message: length " + Integer.toUnsignedString(length));
    }
    ByteBuffer body = ByteBuffer.allocate(length);
    fill(channel, body, false);
    List<String> fields = new ArrayList<>();
    int start = 0;
    for (int i = 0; i <= length; i++) {
      if (i == length || body.get(i) == 0) {
        if (fields.size() == MAX_FIELDS) {
          throw new IOException("malformed message: more than " + MAX_FIELDS + " fields");
        }
        fields.add(new String(body.array(), start, i - start, StandardCharsets.ISO_8859_1));
        start = i + 1;
      }
    }
    return fields;
  }

  /** Writes one message. */
  public static void write(ByteChannel channel, List<String> fields) throws IOException {
    byte[] payload = String.join("\0", fields).getBytes(StandardCharsets.ISO_8859_1);
    if (payload.length > MAX_LENGTH) {
      throw new IOException(
          "message of " + payload.length + " bytes: the command and its environment are too long");
    }
    ByteBuffer out = ByteBuffer.allocate(4 + payload.length).order(ByteOrder.LITTLE_ENDIAN);
    out.putInt(payload.length).put(payload).flip();
    while (out.hasRemaining()) {
      channel.write(out);
    }
  }

  private static boolean fill(ByteChannel channel, ByteBuffer into, boolean mayEnd)
      throws IOException {
    while (into.hasRemaining()) {
      if (channel.read(into) < 0) {
        if (mayEnd && into.position() == 0) {
          return false;
        }
        throw new EOFException("the stream ended within a message");
      }
    }
    return true;
  }
}
