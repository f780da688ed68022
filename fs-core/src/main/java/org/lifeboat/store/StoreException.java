package org.lifeboat.store;

import static java.util.Objects.requireNonNull;

import java.io.IOException;

/**
 * The one failure of an {@link ObjectStore}: what was tried, on what, why it failed, and what to do
 * about it.
 */
public final class StoreException extends IOException {

  private static final long serialVersionUID = 1L;

  private final Kind kind;
  private final String operation;
  private final String object;
  private final String remedy;

  /**
   * @param operation what was tried, as a verb: {@code get}, {@code put}, {@code part 7}
   * @param object the full URL of the object, or of the store
   * @param detail what went wrong, in words; without secrets
   * @param remedy what the reader can do; empty when there is nothing but trying again
   */
  public StoreException(
      Kind kind, String operation, String object, String detail, String remedy, Throwable cause) {
    super(
        operation + " " + object + ": " + detail + (remedy.isEmpty() ? "" : " (" + remedy + ")"),
        cause);
    this.kind = requireNonNull(kind, "kind is null");
    this.operation = operation;
    this.object = object;
    this.remedy = remedy;
  }

  public Kind kind() {
    return kind;
  }

  public String operation() {
    return operation;
  }

  public String object() {
    return object;
  }

  public String remedy() {
    return remedy;
  }

  /** Whether the same call may succeed later without anybody's doing. */
  public boolean retryable() {
    return kind.retryable;
  }

  /** Why it failed. */
  public enum Kind {
    /** There is no such object, or no such upload. */
    NOT_FOUND(false),
    /** The bucket or the store's directory does not exist. */
    NO_STORE(false),
    /** A conditional write lost: somebody else's object is there (HTTP 412). */
    PRECONDITION_FAILED(false),
    /**
     * A concurrent write was under way, nothing was decided: read again and start over (HTTP 409).
     */
    CONFLICT(true),
    /** A conditional write was sent, and whether it took effect is not known: read back. */
    UNKNOWN_OUTCOME(false),
    /** Credentials are missing, expired or refused. */
    DENIED(false),
    /** The store cannot be reached or does not answer in time. */
    UNREACHABLE(true),
    /** The store asks to slow down, or failed inside (HTTP 429, 5xx). */
    THROTTLED(true),
    /** What came back is not what was stored: truncated or with a wrong checksum. */
    CORRUPT(true),
    /** No space or quota left. */
    NO_SPACE(false),
    /** The request is malformed or the server does not know it. */
    INVALID(false),
    /** The thread was interrupted. */
    INTERRUPTED(false),
    /** Anything else. */
    OTHER(false);

    private final boolean retryable;

    Kind(boolean retryable) {
      this.retryable = retryable;
    }
  }
}
