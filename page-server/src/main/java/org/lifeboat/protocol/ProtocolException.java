package org.lifeboat.protocol;

import java.io.IOException;

/**
 * What the peer sent is not what CRIU 4.2 sends when it dumps. The message says what came, what was
 * expected and, where there is one, the remedy. The connection is of no further use.
 */
public final class ProtocolException extends IOException {

  private static final long serialVersionUID = 1L;

  public ProtocolException(String message) {
    super(message);
  }
}
