package org.lifeboat.init;

import java.io.IOException;

/**
 * lifeboat-init refused a request or cannot be reached: what was asked of it, and the errno where
 * it gave one.
 */
public final class InitException extends IOException {

  private static final long serialVersionUID = 1L;

  private final int errno;

  public InitException(String request, int errno, String detail, Throwable cause) {
    super("lifeboat-init: " + request + ": " + detail, cause);
    this.errno = errno;
  }

  /** The errno that init reported; 0 where the failure is not a system call's. */
  public int errno() {
    return errno;
  }
}
