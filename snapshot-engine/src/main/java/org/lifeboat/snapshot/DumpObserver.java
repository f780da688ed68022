package org.lifeboat.snapshot;

import org.lifeboat.receive.ReceivedPages;

/** Is told of a dump's turning points, on the threads that do the work: it must return at once. */
public interface DumpObserver {

  /** One that does not care. */
  DumpObserver NONE = new DumpObserver() {};

  /** CRIU is about to freeze the tree. */
  default void freezing(int dump) {}

  /** CRIU has sent its last page, and has its answer. */
  default void received(int dump, ReceivedPages pages) {}

  /** The snapshot is in the store and can be restored. */
  default void committed(int dump) {}
}
