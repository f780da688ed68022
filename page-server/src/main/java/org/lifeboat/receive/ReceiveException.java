package org.lifeboat.receive;

import java.io.IOException;

/**
 * The pages of a dump could not be received or kept. The cause, where there is one, is a {@link
 * org.lifeboat.protocol.ProtocolException}, a {@link org.lifeboat.store.StoreException} or an I/O
 * error of the local disk; its words are part of the message.
 */
public final class ReceiveException extends IOException {

  private static final long serialVersionUID = 1L;

  public ReceiveException(String message) {
    super(message);
  }

  public ReceiveException(String message, Throwable cause) {
    super(message, cause);
  }
}
