package org.lifeboat.criu;

import java.io.IOException;

/** CRIU is missing, too old, or wrote something that cannot be read. */
public final class CriuException extends IOException {

  private static final long serialVersionUID = 1L;

  public CriuException(String message, Throwable cause) {
    super(message, cause);
  }
}
