package org.lifeboat.store;

import static java.util.Objects.requireNonNull;

/** What must be true of the key for a write to take effect. */
public sealed interface Precondition {

  Precondition NONE = new None();
  Precondition ABSENT = new Absent();

  static Precondition matches(String version) {
    return new Matches(version);
  }

  /** The write always takes effect. */
  record None() implements Precondition {}

  /** Only if there is no object yet. */
  record Absent() implements Precondition {}

  /**
   * Only if the object is still of this version, as {@link ObjectStore.ObjectInfo#version()} gave
   * it.
   */
  record Matches(String version) implements Precondition {
    public Matches {
      requireNonNull(version, "version is null");
    }
  }
}
