package org.lifeboat.vfs;

import java.util.concurrent.locks.ReentrantLock;
import org.lifeboat.sys.Stat;

/**
 * What is done with a node's content just now. Guarded by {@link #lock}, where nothing else is
 * said.
 */
final class ContentState {

  /** Taken before the lock of {@link State}; see there. */
  final ReentrantLock lock = new ReentrantLock();

  /** Open as long as a handle is; null otherwise. */
  Contents.Content open;

  /** Handles that have it. */
  int users;

  /** Those of them that may write. */
  int writers;

  /** How it was when the first of these writers came. */
  Stat before;

  /** It was certainly changed since then. For any thread. */
  volatile boolean changed;

  /** A read found that the store has another version. For any thread. */
  volatile boolean stale;

  /** The version whose pages the kernel may have; null if none. */
  String pagesOf;
}
