package org.lifeboat.fuse;

import java.util.EnumSet;
import java.util.Set;
import java.util.TreeSet;
import org.lifeboat.sys.Errno;
import org.lifeboat.vfs.Capabilities;
import org.lifeboat.vfs.Capability;
import org.lifeboat.vfs.Offer;
import org.lifeboat.vfs.VfsException;

/**
 * What kernel and server agreed on with INIT, the first request of a mount. A server that takes
 * over needs it, because there is no second INIT.
 *
 * <p>The kernel silently ignores what it does not know, and drops passthrough where the page cache
 * is written back. So what was not offered, or can't go together, is refused here by name: an
 * agreed capability is one that works.
 *
 * @param minor the protocol's version 7.minor, the lower of both sides'
 * @param flags INIT's flags, those of flags2 in the upper half
 * @param maxReadahead bytes
 * @param maxRequest largest read or write in bytes
 * @param stackDepth 0 without passthrough
 */
record Agreement(int minor, long flags, int maxReadahead, int maxRequest, int stackDepth) {

  static final int MAJOR = 7;

  /** Of Linux 5.4; all that the server relies on is there. */
  static final int LEAST_MINOR = 31;

  /** The version whose structs this package knows. */
  static final int NEWEST_MINOR = 45;

  static final int MAX_BACKGROUND = 64;

  /** 256 pages; larger requests were measured to be no faster. */
  static final int MAX_REQUEST = 1 << 20;

  private static final long ASYNC_READ = 1;
  private static final long BIG_WRITES = 1 << 5;
  private static final long ASYNC_DIO = 1 << 15;
  private static final long PARALLEL_DIROPS = 1 << 18;
  private static final long ABORT_ERROR = 1 << 21;
  private static final long MAX_PAGES = 1 << 22;
  private static final long INIT_EXT = 1 << 30;
  private static final long ALWAYS =
      ASYNC_READ | BIG_WRITES | ASYNC_DIO | PARALLEL_DIROPS | ABORT_ERROR | MAX_PAGES | INIT_EXT;

  private static long bit(Capability capability) {
    return 1L
        << switch (capability) {
          case POSIX_LOCKS -> 1;
          case ATOMIC_TRUNCATE -> 3;
          case OWN_UMASK -> 6;
          case FLOCK_LOCKS -> 10;
          case AUTO_INVALIDATE -> 12;
          case READDIRPLUS -> 13;
          case READDIRPLUS_AUTO -> 14;
          case WRITEBACK_CACHE -> 16;
          case CACHE_SYMLINKS -> 23;
          case KILL_PRIVILEGES -> 28;
          case DIRECT_MMAP -> 36;
          case PASSTHROUGH -> 37;
          case RESEND -> 39;
        };
  }

  private static Set<Capability> of(long flags) {
    Set<Capability> capabilities = EnumSet.noneOf(Capability.class);
    for (Capability capability : Capability.values()) {
      if ((flags & bit(capability)) != 0) {
        capabilities.add(capability);
      }
    }
    return capabilities;
  }

  /** What the kernel says in an INIT request. */
  static final class Request {
    private final int major;
    private final int minor;
    private final int maxReadahead;
    private final long flags;

    Request(Inbound in) throws VfsException {
      major = in.u32(0);
      minor = in.u32(4);
      if (major != MAJOR || minor < LEAST_MINOR) {
        throw new VfsException(
            Errno.EPROTO,
            "mount",
            "",
            "the kernel speaks FUSE "
                + major
                + "."
                + minor
                + ", not 7."
                + LEAST_MINOR
                + " or newer",
            "Linux 5.4 or newer is needed",
            null);
      }
      maxReadahead = in.u32(8);
      long low = in.u32(12) & 0xffffffffL;
      flags = (low & INIT_EXT) != 0 ? low | ((long) in.u32(16) << 32) : low;
      if ((flags & MAX_PAGES) == 0) {
        throw new VfsException(
            Errno.EPROTO, "mount", "", "the kernel offers no MAX_PAGES", "", null);
      }
    }

    Offer offer() {
      return new Offer(minor, maxReadahead, MAX_REQUEST, of(flags));
    }

    Agreement agree(Capabilities want) throws VfsException {
      Set<Capability> missing = new TreeSet<>(want.wanted());
      missing.removeAll(of(flags));
      if (!missing.isEmpty()) {
        throw refused("the kernel (FUSE 7." + minor + ") does not offer " + missing);
      }
      boolean passthrough = want.has(Capability.PASSTHROUGH);
      if (passthrough && want.has(Capability.WRITEBACK_CACHE)) {
        throw refused("PASSTHROUGH and WRITEBACK_CACHE exclude each other");
      }
      if (want.has(Capability.READDIRPLUS_AUTO) && !want.has(Capability.READDIRPLUS)) {
        throw refused("READDIRPLUS_AUTO needs READDIRPLUS");
      }
      if (want.maxReadahead() < 0
          || Integer.compareUnsigned(want.maxReadahead(), maxReadahead) > 0) {
        throw refused(
            "a readahead of "
                + want.maxReadahead()
                + " bytes, where the kernel offers "
                + maxReadahead);
      }
      if (passthrough && (want.stackDepth() < 1 || want.stackDepth() > 2)) {
        throw refused("a stack depth of " + want.stackDepth());
      }
      long wanted = ALWAYS | bit(Capability.RESEND);
      for (Capability capability : want.wanted()) {
        wanted |= bit(capability);
      }
      return new Agreement(
          Math.min(minor, NEWEST_MINOR),
          wanted & flags,
          want.maxReadahead(),
          MAX_REQUEST,
          passthrough ? want.stackDepth() : 0);
    }

    private static VfsException refused(String what) {
      return new VfsException(Errno.EOPNOTSUPP, "mount", "", what, "", null);
    }
  }

  boolean has(Capability capability) {
    return (flags & bit(capability)) != 0;
  }

  Capabilities capabilities() {
    return new Capabilities(of(flags), maxReadahead, stackDepth);
  }
}
