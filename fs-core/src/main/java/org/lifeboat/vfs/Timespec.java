package org.lifeboat.vfs;

import java.time.Instant;

/**
 * A time of a file.
 *
 * @param seconds since 1970, also negative
 * @param nanos from 0 to 999,999,999; or that of {@link #NOW}
 */
public record Timespec(long seconds, int nanos) {

  /** In an {@link AttributeChange}: the time at which the change is made. As UTIME_NOW. */
  public static final Timespec NOW = new Timespec(0, (1 << 30) - 1);

  public static final Timespec EPOCH = new Timespec(0, 0);

  public static Timespec of(Instant instant) {
    return new Timespec(instant.getEpochSecond(), instant.getNano());
  }

  public boolean isNow() {
    return nanos == NOW.nanos;
  }

  /** Not of {@link #NOW}. */
  public Instant instant() {
    return Instant.ofEpochSecond(seconds, nanos);
  }
}
