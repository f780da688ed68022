package org.lifeboat.vfs;

/**
 * What kernel and file system must agree on. What depends only on the transport (sizes, parallel
 * requests) it settles itself.
 */
public enum Capability {
  /** {@link Opened.Mode#PASSTHROUGH}. From Linux 6.9; needs CAP_SYS_ADMIN. */
  PASSTHROUGH,
  /**
   * Written data stays in the kernel's page cache for a while; the kernel keeps size and times, and
   * reads what surrounds a write, also through handles open for writing only. Not with {@link
   * #PASSTHROUGH}.
   */
  WRITEBACK_CACHE,
  /** open comes with O_TRUNC, not setattr(0) and open. */
  ATOMIC_TRUNCATE,
  /** readdir with attributes. */
  READDIRPLUS,
  /** The kernel chooses when readdir comes with attributes. Needs {@link #READDIRPLUS}. */
  READDIRPLUS_AUTO,
  /** fcntl's locks are the file system's. Else they are the kernel's, good within one mount. */
  POSIX_LOCKS,
  /** flock's locks are the file system's. */
  FLOCK_LOCKS,
  /** The kernel remembers a symbolic link's target. */
  CACHE_SYMLINKS,
  /**
   * The file system clears setuid, setgid and capabilities when told so. Where it has extended
   * attributes and does not agree on this, the kernel asks for {@code security.capability} before
   * each write, also of files that are passed through. From Linux 5.11.
   */
  KILL_PRIVILEGES,
  /** Shared mappings of {@link Opened.Mode#DIRECT} handles. From Linux 6.6. */
  DIRECT_MMAP,
  /** The file system applies the umask. */
  OWN_UMASK,
  /** The kernel drops a file's pages when it sees that mtime or size changed. */
  AUTO_INVALIDATE,
  /** A server that takes over can have unanswered requests sent again. From Linux 6.9. */
  RESEND
}
