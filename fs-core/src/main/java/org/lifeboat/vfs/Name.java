package org.lifeboat.vfs;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.util.Arrays;
import org.lifeboat.sys.BytePath;

/** A name in a directory, or of an extended attribute: bytes. Immutable; ordered by its bytes. */
final class Name implements Comparable<Name> {

  static final int MAX_BYTES = 255;

  private final byte[] bytes;
  private final int hash;

  /** The bytes become the name's own. */
  Name(byte[] bytes) {
    this.bytes = bytes;
    this.hash = Arrays.hashCode(bytes);
  }

  static Name of(String text) {
    return new Name(text.getBytes(UTF_8));
  }

  /** Not to be changed. */
  byte[] bytes() {
    return bytes;
  }

  int length() {
    return bytes.length;
  }

  /** Whether it can be a part of an object's key. */
  boolean isUtf8() {
    for (byte b : bytes) {
      if (b < 0) {
        try {
          UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes));
          return true;
        } catch (CharacterCodingException e) {
          return false;
        }
      }
    }
    return true;
  }

  /** As a part of a key; only if {@link #isUtf8}. */
  String text() {
    return new String(bytes, UTF_8);
  }

  @Override
  public int compareTo(Name other) {
    return Arrays.compareUnsigned(bytes, other.bytes);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Name name && hash == name.hash && Arrays.equals(bytes, name.bytes);
  }

  @Override
  public int hashCode() {
    return hash;
  }

  /** For people. */
  @Override
  public String toString() {
    return BytePath.printable(bytes, 0);
  }
}
