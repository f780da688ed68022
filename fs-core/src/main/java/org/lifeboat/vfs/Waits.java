package org.lifeboat.vfs;

import org.lifeboat.sys.Errno;

/**
 * Where a request waits for something slow: the network above all. The threads that read requests
 * serve them too, and there are few. Within {@link #call} the transport sees to it that others go
 * on reading; and the interrupt of the request (a signal to the process that made it) interrupts
 * the thread.
 *
 * <p>Not for locks that are held for microseconds, or the local disk. May be called from threads
 * that serve no request, and from within itself: it only does the work then. Locks that other
 * requests need should not be held around it. Thread-safe.
 */
public interface Waits {

  /**
   * Does the work, on the calling thread.
   *
   * @return what it returns
   * @throws VfsException EINTR if the work was interrupted
   */
  <T, E extends Exception> T call(Work<T, E> work) throws E, VfsException;

  /** What waits. */
  @FunctionalInterface
  interface Work<T, E extends Exception> {
    T run() throws E, InterruptedException;
  }

  /** Where there is no transport. */
  Waits NONE =
      new Waits() {
        @Override
        public <T, E extends Exception> T call(Work<T, E> work) throws E, VfsException {
          try {
            return work.run();
          } catch (InterruptedException e) {
            throw new VfsException(Errno.EINTR, "wait", "", "interrupted", "", e);
          }
        }
      };
}
