package org.lifeboat.files;

import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** The digest that every Java has. */
final class Digests {

  /** Of a zstd frame that is read: what it may want to hold of what it has put out, 8 MiB. */
  static final int WINDOW_LOG = 23;

  private Digests() {}

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("Java without SHA-256", e);
    }
  }
}
