package org.lifeboat.vfs;

/**
 * An open file or directory.
 *
 * <p>The mode is what the file system would like. The kernel knows rules for files that are open
 * more than once: while one handle is passed through, the file can't be opened for its page cache,
 * and the other way round. The transport keeps them. A passed-through file that is open through the
 * page cache too is opened like that; and one that is passed through is passed through for a {@code
 * CACHED} or {@code DIRECT} handle as well, but only its mappings: reads and writes come to the
 * file system. So <b>every handle must be able to read and write</b>, and a file system that gave
 * {@code PASSTHROUGH} must also think that it may not be told of writes.
 *
 * @param handle the file system's number for it; no two open handles have the same
 * @param backingFd with {@code PASSTHROUGH} the descriptor of the file that the kernel is to read
 *     and write, open for both where anybody may write; -1 otherwise. The transport only looks at
 *     it during the call. All open handles of a node that are passed through must have the same
 *     file (not descriptor) behind them: another one is an error, EIO
 * @param noFlush nobody need be told when the handle's descriptors are closed. Without effect where
 *     POSIX locks are the file system's
 * @param cacheDirectory of a directory: the kernel may answer readdir from memory until the
 *     directory is invalidated
 * @param parallelDirectWrites with {@code DIRECT}: writes may come in parallel
 * @param nonSeekable the file has no offset to be set
 */
public record Opened(
    long handle,
    Mode mode,
    int backingFd,
    boolean noFlush,
    boolean cacheDirectory,
    boolean parallelDirectWrites,
    boolean nonSeekable) {

  /** Where reads and writes go. */
  public enum Mode {
    /** To the kernel's page cache, which is emptied at this open. */
    CACHED,
    /** To the kernel's page cache as it is. */
    KEEP_CACHE,
    /**
     * To the file system, each of them. Shared mappings need {@link Capability#DIRECT_MMAP}. After
     * one the handle counts as {@code CACHED}.
     */
    DIRECT,
    /** To another file, in the kernel. The file system does not see them. */
    PASSTHROUGH
  }

  public static Opened file(long handle, Mode mode) {
    return new Opened(handle, mode, -1, false, false, false, false);
  }

  public static Opened passthrough(long handle, int backingFd) {
    return new Opened(handle, Mode.PASSTHROUGH, backingFd, false, false, false, false);
  }

  public static Opened directory(long handle, boolean cache) {
    return new Opened(
        handle, cache ? Mode.KEEP_CACHE : Mode.CACHED, -1, false, cache, false, false);
  }

  public Opened withoutFlush() {
    return new Opened(
        handle, mode, backingFd, true, cacheDirectory, parallelDirectWrites, nonSeekable);
  }
}
