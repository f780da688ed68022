package org.lifeboat.page;

import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.zip.CRC32C;

/** Checksums over buffers. */
public final class Digests {

  private Digests() {}

  /** A new SHA-256, which every JDK has. */
  public static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("this JDK has no SHA-256", e);
    }
  }

  /** The SHA-256 of the buffer's remaining bytes in hexadecimal; its position stays. */
  public static String sha256(ByteBuffer body) {
    MessageDigest digest = sha256();
    digest.update(body.duplicate());
    return hex(digest.digest());
  }

  static String hex(byte[] bytes) {
    return HexFormat.of().formatHex(bytes);
  }

  /** The CRC32C of a stretch of the buffer. */
  public static int crc32c(ByteBuffer buffer, int offset, int length) {
    CRC32C crc = new CRC32C();
    crc.update(buffer.duplicate().limit(offset + length).position(offset));
    return (int) crc.getValue();
  }
}
