package org.lifeboat.cache;

import java.io.IOException;

/** A {@link Source} found another version of its object than the one it was made for. */
public final class VersionChangedException extends IOException {

  private static final long serialVersionUID = 1L;

  private final String found;

  /**
   * @param found the version that is there now, or words for its absence: {@code none}
   */
  public VersionChangedException(String found, Throwable cause) {
    super("another version is there: " + found, cause);
    this.found = found;
  }

  public String found() {
    return found;
  }
}
