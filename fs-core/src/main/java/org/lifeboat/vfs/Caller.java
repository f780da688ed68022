package org.lifeboat.vfs;

/**
 * Who asks.
 *
 * @param uid of the file system's user id, as the kernel checks permissions with
 * @param gid its group
 * @param pid as the server's PID namespace sees it; 0 where it can't, or where the kernel asks for
 *     itself
 * @param umask to be applied to the mode of a new file where {@link Capability#OWN_UMASK} was
 *     agreed on; elsewhere the kernel has applied it
 * @param resent whether an earlier server may have done this already and died before it could say
 *     so. The transport makes successes of names that are there or gone already; only an exchange
 *     of two names needs more, since doing it twice undoes it
 */
public record Caller(int uid, int gid, int pid, int umask, boolean resent) {

  public Caller(int uid, int gid, int pid, int umask) {
    this(uid, gid, pid, umask, false);
  }
}
