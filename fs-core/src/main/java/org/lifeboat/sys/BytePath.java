package org.lifeboat.sys;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * An absolute path as the kernel has it: bytes, in no particular encoding.
 *
 * <p>{@link java.nio.file.Path} maps names through the locale's encoding; a name that it cannot map
 * can be neither made nor written down. The form is canonical: it begins with a slash, has no
 * empty, {@code .} or {@code ..} component and no trailing slash but for the root itself.
 *
 * <p>The order is the one of a walk that visits a directory's names sorted by bytes, and a
 * directory before what is in it: {@code /a}, {@code /a/z}, {@code /a.b}. Immutable.
 */
public final class BytePath implements Comparable<BytePath> {

  /** The root directory. */
  public static final BytePath ROOT = new BytePath(new byte[] {'/'});

  private final byte[] bytes;
  private int hash;

  private BytePath(byte[] bytes) {
    this.bytes = bytes;
  }

  /** The path of these bytes, which must be in canonical form. */
  public static BytePath of(byte[] bytes) {
    if (!isCanonical(bytes)) {
      throw new IllegalArgumentException(
          "not an absolute path in canonical form: " + printable(bytes, 0));
    }
    return bytes.length == 1 ? ROOT : new BytePath(bytes.clone());
  }

  /** The path of this text in UTF-8; must be in canonical form. */
  public static BytePath of(String text) {
    return of(text.getBytes(UTF_8));
  }

  /** The path of a {@code Path}, made absolute and normalised. */
  public static BytePath of(Path path) {
    return of(path.toAbsolutePath().normalize().toString());
  }

  /** Whether these bytes are an absolute path in canonical form. */
  public static boolean isCanonical(byte[] bytes) {
    if (bytes.length == 0 || bytes[0] != '/') {
      return false;
    }
    if (bytes.length == 1) {
      return true;
    }
    int start = 1;
    for (int i = 1; i <= bytes.length; i++) {
      if (i < bytes.length && bytes[i] == 0) {
        return false;
      }
      if (i == bytes.length || bytes[i] == '/') {
        int length = i - start;
        boolean dots =
            (length == 1 && bytes[start] == '.')
                || (length == 2 && bytes[start] == '.' && bytes[start + 1] == '.');
        if (length == 0 || dots) {
          return false;
        }
        start = i + 1;
      }
    }
    return true;
  }

  /** This directory's child of that name; the name has no slash. */
  public BytePath resolve(byte[] name) {
    int head = bytes.length == 1 ? 0 : bytes.length;
    byte[] joined = Arrays.copyOf(bytes, head + 1 + name.length);
    joined[head] = '/';
    System.arraycopy(name, 0, joined, head + 1, name.length);
    return new BytePath(joined);
  }

  /** What is at {@code relative}, a UTF-8 text of one or more names, below this directory. */
  public BytePath resolve(String relative) {
    return of(resolve(relative.getBytes(UTF_8)).bytes);
  }

  /** An absolute path put below this directory, as chroot would. */
  public BytePath rebase(BytePath absolute) {
    if (bytes.length == 1) {
      return absolute;
    }
    if (absolute.bytes.length == 1) {
      return this;
    }
    byte[] joined = Arrays.copyOf(bytes, bytes.length + absolute.bytes.length);
    System.arraycopy(absolute.bytes, 0, joined, bytes.length, absolute.bytes.length);
    return new BytePath(joined);
  }

  /** This path as seen from {@code ancestor} taken as the root: the inverse of {@link #rebase}. */
  public BytePath below(BytePath ancestor) {
    if (!startsWith(ancestor)) {
      throw new IllegalArgumentException(this + " is not below " + ancestor);
    }
    if (ancestor.bytes.length == 1) {
      return this;
    }
    return bytes.length == ancestor.bytes.length
        ? ROOT
        : new BytePath(Arrays.copyOfRange(bytes, ancestor.bytes.length, bytes.length));
  }

  /** The directory that holds this name; the root for the root. */
  public BytePath parent() {
    int slash = lastSlash();
    return slash <= 0 ? ROOT : new BytePath(Arrays.copyOf(bytes, slash));
  }

  /** The last name; empty for the root. */
  public byte[] name() {
    return Arrays.copyOfRange(bytes, lastSlash() + 1, bytes.length);
  }

  private int lastSlash() {
    int i = bytes.length - 1;
    while (bytes[i] != '/') {
      i--;
    }
    return i;
  }

  /** Whether this is {@code ancestor} or lies below it. */
  public boolean startsWith(BytePath ancestor) {
    int n = ancestor.bytes.length;
    if (n == 1) {
      return true;
    }
    return bytes.length >= n
        && Arrays.equals(bytes, 0, n, ancestor.bytes, 0, n)
        && (bytes.length == n || bytes[n] == '/');
  }

  /** A copy of the bytes, without a NUL at the end. */
  public byte[] bytes() {
    return bytes.clone();
  }

  /** Length in bytes. */
  public int length() {
    return bytes.length;
  }

  byte[] raw() {
    return bytes;
  }

  @Override
  public int compareTo(BytePath other) {
    int at = Arrays.mismatch(bytes, other.bytes);
    if (at < 0) {
      return 0;
    }
    if (at == bytes.length || bytes.length == 1) {
      return -1;
    }
    if (at == other.bytes.length || other.bytes.length == 1) {
      return 1;
    }
    return Integer.compare(rank(bytes[at]), rank(other.bytes[at]));
  }

  private static int rank(byte b) {
    return b == '/' ? -1 : b & 0xff;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof BytePath path && Arrays.equals(bytes, path.bytes);
  }

  @Override
  public int hashCode() {
    if (hash == 0) {
      hash = Arrays.hashCode(bytes);
    }
    return hash;
  }

  /** For people: UTF-8 where it is; other bytes and control characters as {@code \xNN}. */
  @Override
  public String toString() {
    return printable(bytes, 0);
  }

  /** These bytes for people, as {@link #toString()} shows a path. */
  public static String printable(byte[] bytes, int from) {
    try {
      String text =
          UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes, from, bytes.length - from)).toString();
      if (text.chars().noneMatch(Character::isISOControl)) {
        return text;
      }
    } catch (CharacterCodingException notUtf8) {
      // shown byte by byte below
    }
    StringBuilder text = new StringBuilder();
    for (int i = from; i < bytes.length; i++) {
      int b = bytes[i] & 0xff;
      if (b >= 0x20 && b < 0x7f) {
        text.append((char) b);
      } else {
        text.append(String.format("\\x%02x", b));
      }
    }
    return text.toString();
  }
}
