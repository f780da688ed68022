package org.lifeboat.s3;

import java.io.IOException;

/** A response's body that is not as long as its headers promise. */
final class TruncatedBodyException extends IOException {

  private static final long serialVersionUID = 1L;

  TruncatedBodyException(long expected, long actual) {
    super("the body ended after " + actual + " of " + expected + " bytes");
  }
}
