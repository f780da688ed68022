package org.lifeboat.serve;

/** Is told how reading goes, on the threads that do the work: it must return at once. */
@FunctionalInterface
public interface RestoreObserver {

  /** One that does not care. */
  RestoreObserver NONE = (fetched, pages) -> {};

  /**
   * A part was fetched, verified and decompressed.
   *
   * @param fetchedBytes of that part
   * @param rawBytes of pages that were in it
   */
  void partDone(long fetchedBytes, long rawBytes);
}
