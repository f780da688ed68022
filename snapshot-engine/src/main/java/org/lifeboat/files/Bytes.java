package org.lifeboat.files;

import java.util.Arrays;
import org.lifeboat.sys.BytePath;

/** An immutable string of bytes: an attribute, or what a symbolic link says. */
public final class Bytes {

  private final byte[] bytes;

  private Bytes(byte[] bytes) {
    this.bytes = bytes;
  }

  /** A copy of these bytes. */
  public static Bytes of(byte[] bytes) {
    return new Bytes(bytes.clone());
  }

  public int length() {
    return bytes.length;
  }

  /** A copy. */
  public byte[] toArray() {
    return bytes.clone();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Bytes b && Arrays.equals(bytes, b.bytes);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(bytes);
  }

  /** For people, as {@link BytePath#toString()}. */
  @Override
  public String toString() {
    return BytePath.printable(bytes, 0);
  }
}
