package org.lifeboat.task;

/**
 * Ends the run with a code and, unless it is null, a message. It may be thrown by whatever the loop
 * calls, and only {@link Engine#run} catches it.
 */
final class End extends RuntimeException {

  private static final long serialVersionUID = 1L;
  private final int code;

  End(int code, String message) {
    super(message, null, false, false);
    this.code = code;
  }

  int code() {
    return code;
  }
}
