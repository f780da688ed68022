package org.lifeboat.files;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Texts of the kernel, whose lines hold names that are bytes. */
final class Lines {

  private Lines() {}

  static List<byte[]> of(byte[] text) {
    List<byte[]> lines = new ArrayList<>();
    int start = 0;
    for (int i = 0; i < text.length; i++) {
      if (text[i] == '\n') {
        lines.add(Arrays.copyOfRange(text, start, i));
        start = i + 1;
      }
    }
    if (start < text.length) {
      lines.add(Arrays.copyOfRange(text, start, text.length));
    }
    return lines;
  }

  /** One character per byte: nothing is lost. */
  static String latin1(byte[] line) {
    return new String(line, ISO_8859_1);
  }

  static byte[] latin1(String text) {
    return text.getBytes(ISO_8859_1);
  }

  /** Undoes the kernel's octal escapes, {@code \040} for a space. */
  static byte[] unescape(byte[] text) {
    ByteArrayOutputStream out = new ByteArrayOutputStream(text.length);
    for (int i = 0; i < text.length; i++) {
      if (text[i] == '\\' && i + 3 < text.length && octal(text, i + 1)) {
        out.write((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 | (text[i + 3] - '0'));
        i += 3;
      } else {
        out.write(text[i]);
      }
    }
    return out.toByteArray();
  }

  private static boolean octal(byte[] text, int at) {
    for (int i = at; i < at + 3; i++) {
      if (text[i] < '0' || text[i] > '7') {
        return false;
      }
    }
    return true;
  }
}
