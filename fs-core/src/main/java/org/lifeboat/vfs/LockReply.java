package org.lifeboat.vfs;

/** The answer to somebody who waits for a lock. Exactly one, once, from any thread. */
public interface LockReply {

  void granted();

  void failed(VfsException reason);
}
