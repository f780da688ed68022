package org.lifeboat.receive;

/**
 * What was received.
 *
 * @param images address spaces
 * @param entries pagemap entries
 * @param pages pages
 * @param rawBytes bytes of pages
 * @param seconds from CRIU's first message to its last
 */
public record ReceivedPages(long images, long entries, long pages, long rawBytes, double seconds) {

  /** Bytes of pages per second. */
  public double bytesPerSecond() {
    return seconds > 0 ? rawBytes / seconds : 0;
  }
}
