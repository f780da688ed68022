package org.lifeboat.fuse;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Device;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.Stat;
import org.lifeboat.vfs.Capability;
import org.lifeboat.vfs.Opened;
import org.lifeboat.vfs.VfsException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Which open file is what to the kernel, and the files that it reads and writes by itself.
 *
 * <p><b>Backing files.</b> A file to pass through is registered with the kernel (ioctl BACKING_OPEN
 * on the device), which gives an id; the reply to an open names it. One id per node: the kernel
 * refuses a second one, also of the same file, while the node is open with the first. So a node's
 * opens are counted, and the last release closes the id. The registration survives the server.
 *
 * <p><b>Rules.</b> From Linux 6.9 a file is either in use through its page cache or not:
 *
 * <pre>
 * open already as   a new open as PASSTHROUGH   CACHED                 DIRECT
 * nothing           PASSTHROUGH                 CACHED                 DIRECT
 * PASSTHROUGH       PASSTHROUGH, same id        PASSTHROUGH | DIRECT   PASSTHROUGH | DIRECT
 * CACHED            CACHED                      as asked               DIRECT
 * DIRECT            PASSTHROUGH (1)             CACHED                 DIRECT
 * </pre>
 *
 * That is what is granted; the kernel itself says EIO to all but the diagonal, to DIRECT after
 * CACHED, and to what follows DIRECT. PASSTHROUGH | DIRECT sends reads and writes to the server and
 * maps the backing file, so both ways to the file see the same bytes. (1) not with DIRECT_MMAP,
 * where a shared mapping makes a DIRECT handle a CACHED one without anybody being told. A mapping
 * keeps its handle from being released, so counting handles is enough.
 *
 * <p>Pages can't be stale after a file was written while it was passed through: the kernel drops
 * them at any open without KEEP_CACHE, which one as PASSTHROUGH never has, and gets none until its
 * release.
 *
 * <p>Where passthrough was not agreed on nothing is kept and everything is granted as asked.
 * Thread-safe; a node's opens exclude each other.
 */
final class BackingFiles {

  private static final Logger LOG = LoggerFactory.getLogger(BackingFiles.class);

  static final int DIRECT_IO = 1;
  static final int KEEP_CACHE = 2;
  static final int NONSEEKABLE = 4;
  static final int CACHE_DIR = 8;
  static final int NOFLUSH = 32;
  static final int PARALLEL_DIRECT_WRITES = 64;
  static final int PASSTHROUGH = 128;

  private static final long BACKING_OPEN = 0x4010E501L;
  private static final long BACKING_CLOSE = 0x4004E502L;

  private static final int AS_CACHED = 0;
  private static final int AS_DIRECT = 1;
  private static final int AS_PASSTHROUGH = 2;

  /** Registered but not recorded when a server died: at most one by each of its threads. */
  private static final int IN_FLIGHT = 512;

  /** The kernel's side. */
  interface Registry {
    /** An id, or a negative error number. */
    int open(int fd);

    void close(int id);
  }

  /** What to write into the reply to an open. */
  record Grant(int flags, int backingId) {}

  private static final class Node {
    final int[] opens = new int[3];
    int backingId;
    long backingDevice;
    long backingInode;

    boolean unused() {
      return opens[AS_CACHED] + opens[AS_DIRECT] + opens[AS_PASSTHROUGH] == 0;
    }
  }

  private record Handle(long node, int as, int slot) {}

  private final Registry registry;
  private final MountRecord record;
  private final boolean passthrough;
  private final boolean directMmap;
  private final boolean posixLocks;
  private final Map<Long, Node> nodes = new ConcurrentHashMap<>();
  private final Map<Long, Handle> handles = new ConcurrentHashMap<>();
  private volatile boolean refused;

  /**
   * @param record may be null: nobody will take over
   */
  BackingFiles(Registry registry, MountRecord record, Agreement agreement) {
    this.registry = registry;
    this.record = record;
    passthrough = agreement.has(Capability.PASSTHROUGH);
    directMmap = agreement.has(Capability.DIRECT_MMAP);
    posixLocks = agreement.has(Capability.POSIX_LOCKS);
  }

  /** The registry of a mounted device. */
  static Registry of(Device device) {
    return new Registry() {
      @Override
      public int open(int fd) {
        try (Arena arena = Arena.ofConfined()) {
          MemorySegment map = arena.allocate(16, 8);
          map.set(JAVA_INT, 0, fd);
          map.set(JAVA_INT, 4, 0);
          map.set(JAVA_LONG, 8, 0);
          return device.ioctl(BACKING_OPEN, map);
        }
      }

      @Override
      public void close(int id) {
        try (Arena arena = Arena.ofConfined()) {
          MemorySegment number = arena.allocate(4, 4);
          number.set(JAVA_INT, 0, id);
          device.ioctl(BACKING_CLOSE, number); // ENOENT: closed already
        }
      }
    };
  }

  /** Goes on with what the record says, and closes ids that no open file needs. */
  void takeOver() {
    if (!passthrough) {
      return;
    }
    Set<Integer> needed = new HashSet<>();
    Map<Integer, Integer> closing = new HashMap<>();
    for (MountRecord.Slot slot : record.slots()) {
      if (slot.closing()) {
        closing.put(slot.index(), slot.backingId());
        continue;
      }
      Handle handle = new Handle(slot.node(), slot.mode(), slot.index());
      handles.put(slot.handle(), handle);
      Node node = nodes.computeIfAbsent(slot.node(), id -> new Node());
      node.opens[slot.mode()]++;
      if (slot.mode() == AS_PASSTHROUGH) {
        node.backingId = slot.backingId();
        needed.add(slot.backingId());
      }
    }
    int highest = record.highestBackingId();
    for (int id = Math.max(1, highest - IN_FLIGHT); id <= highest + IN_FLIGHT; id++) {
      if (!needed.contains(id)) {
        registry.close(id);
      }
    }
    closing.forEach(
        (slot, id) -> {
          if (!needed.contains(id)) {
            registry.close(id);
          }
          record.released(slot);
        });
  }

  /**
   * How a file that the file system has opened is to be opened in the kernel, and remembers it
   * until {@link #released}.
   */
  Grant opened(long node, Opened opened) throws VfsException {
    int extra =
        (opened.noFlush() && !posixLocks ? NOFLUSH : 0) | (opened.nonSeekable() ? NONSEEKABLE : 0);
    int direct = DIRECT_IO | (opened.parallelDirectWrites() ? PARALLEL_DIRECT_WRITES : 0);
    if (!passthrough) {
      return new Grant(
          extra
              | switch (opened.mode()) {
                case CACHED, PASSTHROUGH -> 0;
                case KEEP_CACHE -> KEEP_CACHE;
                case DIRECT -> direct;
              },
          0);
    }
    Grant[] grant = new Grant[1];
    VfsException[] failed = new VfsException[1];
    nodes.compute(
        node,
        (id, known) -> {
          Node state = known == null ? new Node() : known;
          try {
            grant[0] = grant(id, state, opened, extra, direct);
          } catch (VfsException e) {
            failed[0] = e;
          }
          return state.unused() ? null : state;
        });
    if (failed[0] != null) {
      throw failed[0];
    }
    return grant[0];
  }

  private Grant grant(long id, Node node, Opened opened, int extra, int direct)
      throws VfsException {
    if (node.opens[AS_PASSTHROUGH] > 0) {
      boolean through = opened.mode() == Opened.Mode.PASSTHROUGH;
      if (through) {
        sameFile(node, opened);
      }
      remember(id, node, opened, AS_PASSTHROUGH);
      return new Grant(
          PASSTHROUGH | (through ? extra & ~NONSEEKABLE : (extra & NOFLUSH) | direct),
          node.backingId);
    }
    boolean cached = node.opens[AS_CACHED] > 0 || (directMmap && node.opens[AS_DIRECT] > 0);
    if (opened.mode() == Opened.Mode.PASSTHROUGH && !cached && register(node, opened)) {
      try {
        remember(id, node, opened, AS_PASSTHROUGH);
      } catch (VfsException e) {
        registry.close(node.backingId);
        throw e;
      }
      return new Grant(PASSTHROUGH | (extra & ~NONSEEKABLE), node.backingId);
    }
    if (opened.mode() == Opened.Mode.DIRECT) {
      remember(id, node, opened, AS_DIRECT);
      return new Grant(extra | direct, 0);
    }
    boolean keep =
        switch (opened.mode()) {
          case KEEP_CACHE -> true;
          case PASSTHROUGH -> node.opens[AS_CACHED] > 0; // whose pages are good
          case CACHED, DIRECT -> false;
        };
    remember(id, node, opened, AS_CACHED);
    return new Grant(extra | (keep ? KEEP_CACHE : 0), 0);
  }

  private void remember(long id, Node node, Opened opened, int as) throws VfsException {
    int slot =
        record == null
            ? -1
            : record.opened(opened.handle(), id, as == AS_PASSTHROUGH ? node.backingId : 0, as);
    handles.put(opened.handle(), new Handle(id, as, slot));
    node.opens[as]++;
  }

  /** False where the kernel does not want it: then the file is opened through its page cache. */
  private boolean register(Node node, Opened opened) throws VfsException {
    if (refused) {
      return false;
    }
    Stat stat = stat(opened);
    int id = registry.open(opened.backingFd());
    if (id <= 0) {
      Errno errno = Errno.of(-id);
      if (errno == Errno.EPERM) {
        refused = true;
        LOG.warn("files are not passed through: the kernel wants CAP_SYS_ADMIN for it");
      } else if (errno == Errno.ELOOP) {
        refused = true;
        LOG.warn(
            "files are not passed through: the cache lies on a stacked file system"
                + " (overlayfs); put it on a plain one");
      } else {
        LOG.warn("a file is not passed through: BACKING_OPEN: {}", errno);
      }
      return false;
    }
    if (record != null) {
      record.registered(id);
    }
    node.backingId = id;
    node.backingDevice = stat.dev();
    node.backingInode = stat.ino();
    return true;
  }

  private static Stat stat(Opened opened) throws VfsException {
    try {
      return Libc.stat(BytePath.of("/proc/self/fd/" + opened.backingFd()));
    } catch (ErrnoException e) {
      throw new VfsException(Errno.EIO, "open", "", "no backing file: " + e.getMessage(), "", e);
    }
  }

  private static void sameFile(Node node, Opened opened) throws VfsException {
    Stat stat = stat(opened);
    if (node.backingInode == 0) { // taken over, and not known: the id is the right one all the same
      node.backingDevice = stat.dev();
      node.backingInode = stat.ino();
    } else if (node.backingInode != stat.ino() || node.backingDevice != stat.dev()) {
      throw new VfsException(
          Errno.EIO,
          "open",
          "",
          "a node that is passed through has another backing file now",
          "",
          null);
    }
  }

  /** A handle is gone. Does nothing for one that is not known: it has been released already. */
  void released(long handle) {
    Handle known = handles.remove(handle);
    if (known == null) {
      return;
    }
    nodes.compute(
        known.node,
        (id, node) -> {
          node.opens[known.as]--;
          if (known.as == AS_PASSTHROUGH && node.opens[AS_PASSTHROUGH] == 0) {
            if (record != null) {
              record.closing(known.slot);
            }
            registry.close(node.backingId);
            node.backingId = 0;
            node.backingInode = 0;
          }
          if (record != null) {
            record.released(known.slot);
          }
          return node.unused() ? null : node;
        });
  }

  /** The mount is gone, and with it the kernel's side of all. */
  void clear() {
    nodes.clear();
    handles.clear();
  }

  /** Files that the kernel has open; 0 where passthrough was not agreed on. */
  int openFiles() {
    return handles.size();
  }

  /** Ids that are registered. */
  int registered() {
    return (int) nodes.values().stream().filter(node -> node.opens[AS_PASSTHROUGH] > 0).count();
  }
}
