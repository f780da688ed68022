package org.lifeboat.fuse;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.sys.Stat;
import org.lifeboat.sys.TestCalls;
import org.lifeboat.vfs.AttributeChange;
import org.lifeboat.vfs.Attributes;
import org.lifeboat.vfs.Caller;
import org.lifeboat.vfs.Capabilities;
import org.lifeboat.vfs.Capability;
import org.lifeboat.vfs.Created;
import org.lifeboat.vfs.DirectorySink;
import org.lifeboat.vfs.Entry;
import org.lifeboat.vfs.FileOperations;
import org.lifeboat.vfs.Lock;
import org.lifeboat.vfs.LockReply;
import org.lifeboat.vfs.Offer;
import org.lifeboat.vfs.Opened;
import org.lifeboat.vfs.Timespec;
import org.lifeboat.vfs.ValidAttributes;
import org.lifeboat.vfs.VfsException;
import org.lifeboat.vfs.VolumeStat;
import org.lifeboat.vfs.Waits;

/**
 * A directory, shown as a file system of its own. The directory must lie on tmpfs, which does not
 * use inode numbers again, so that they can be the nodes' numbers. Reads of a file whose name
 * begins with {@code slow} wait for a permit.
 */
final class LoopbackOperations implements FileOperations {

  private static final long VALID = 3600L * 1_000_000_000;
  private static final int WRITE_FLAGS =
      TestCalls.O_TRUNC | TestCalls.O_APPEND | TestCalls.O_WRONLY | TestCalls.O_RDWR;

  /** A file that the kernel knows. */
  private static final class Node {
    final long id;
    final OpenFile path;
    final boolean slow;
    long lookups;

    Node(long id, OpenFile path, boolean slow) {
      this.id = id;
      this.path = path;
      this.slow = slow;
    }

    BytePath through() {
      return BytePath.of("/proc/self/fd/" + path.fd());
    }
  }

  private record Held(long node, long handle, long owner, boolean flock, Lock lock) {}

  private record Waiter(Held wanted, LockReply reply) {}

  private final Waits waits;
  private final Set<Capability> wanted;
  private final long generation;
  private final Map<Long, Node> nodes = new ConcurrentHashMap<>();
  private final Map<Long, OpenFile> handles = new ConcurrentHashMap<>();
  private final Map<Long, List<byte[]>> listings = new ConcurrentHashMap<>();
  private final AtomicLong next = new AtomicLong(1);
  private final List<Held> locks = new ArrayList<>();
  private final List<Waiter> waiters = new ArrayList<>();
  final Semaphore permits = new Semaphore(0);
  final Semaphore arrivals = new Semaphore(0);
  final AtomicInteger interrupted = new AtomicInteger();
  final AtomicInteger reads = new AtomicInteger();
  final AtomicInteger writes = new AtomicInteger();
  final AtomicInteger destroyed = new AtomicInteger();
  volatile Set<Capability> agreed = Set.of();
  volatile Opened.Mode mode = Opened.Mode.KEEP_CACHE;

  /**
   * @param generation of the server, for the upper half of its handles
   */
  LoopbackOperations(BytePath root, Waits waits, Set<Capability> wanted, int generation)
      throws ErrnoException {
    this.waits = waits;
    this.wanted = wanted;
    this.generation = (long) generation << 32;
    Node node =
        new Node(ROOT, TestCalls.open(root, TestCalls.O_PATH | TestCalls.O_DIRECTORY, 0), false);
    node.lookups = 1;
    nodes.put(ROOT, node);
  }

  @Override
  public Capabilities init(Offer offer) {
    Set<Capability> want =
        EnumSet.of(Capability.READDIRPLUS, Capability.CACHE_SYMLINKS, Capability.KILL_PRIVILEGES);
    want.addAll(wanted);
    agreed = want;
    return new Capabilities(want, offer.maxReadahead(), 1);
  }

  /** Finds all nodes again, which another server has told the kernel of. */
  @Override
  public void resume(Capabilities capabilities) throws VfsException {
    agreed = capabilities.wanted();
    try {
      scan(nodes.get(ROOT));
      nodes
          .values()
          .forEach(node -> node.lookups += 1L << 40); // what the kernel holds is not known
    } catch (ErrnoException e) {
      throw VfsException.of(e, "resume", "");
    }
  }

  private void scan(Node directory) throws ErrnoException, VfsException {
    for (byte[] name : Libc.list(directory.through())) {
      Entry entry = lookup(null, directory.id, name);
      if (Stat.S_IFDIR == (entry.attributes().mode() & Stat.S_IFMT)) {
        scan(nodes.get(entry.node()));
      }
    }
  }

  private interface Call<T> {
    T run() throws ErrnoException, VfsException;
  }

  private static <T> T io(String operation, Call<T> call) throws VfsException {
    try {
      return call.run();
    } catch (ErrnoException e) {
      throw VfsException.of(e, operation, "");
    }
  }

  private Node node(long id) throws VfsException {
    Node node = nodes.get(id);
    if (node == null) {
      throw new VfsException(Errno.ESTALE, "node", Long.toString(id));
    }
    return node;
  }

  private Entry intern(OpenFile path, byte[] name) throws ErrnoException {
    Attributes attributes = TestCalls.attributes(path.fd());
    boolean slow = new String(name, ISO_8859_1).startsWith("slow");
    Node node =
        nodes.compute(
            attributes.inode(),
            (id, known) -> {
              Node it = known == null ? new Node(id, path, slow) : known;
              it.lookups++;
              return it;
            });
    if (node.path != path) {
      path.close();
    }
    return new Entry(node.id, attributes, VALID, VALID);
  }

  @Override
  public Entry lookup(Caller caller, long parent, byte[] name) throws VfsException {
    try {
      return intern(
          TestCalls.open(
              node(parent).through().resolve(name), TestCalls.O_PATH | TestCalls.O_NOFOLLOW, 0),
          name);
    } catch (ErrnoException e) {
      if (e.errno() == Errno.ENOENT) {
        return Entry.negative(VALID);
      }
      throw VfsException.of(e, "lookup", "");
    }
  }

  @Override
  public void forget(long id, long count) {
    nodes.computeIfPresent(
        id,
        (same, node) -> {
          node.lookups -= count;
          if (id == ROOT || node.lookups > 0) {
            return node;
          }
          try {
            node.path.close();
          } catch (ErrnoException e) {
            throw new IllegalStateException(e);
          }
          return null;
        });
  }

  @Override
  public ValidAttributes getattr(long node, OptionalLong handle) throws VfsException {
    return io(
        "getattr",
        () -> {
          Attributes a = TestCalls.attributes(node(node).path.fd());
          return new ValidAttributes(a, VALID);
        });
  }

  @Override
  public ValidAttributes setattr(
      Caller caller, long id, OptionalLong handle, AttributeChange change) throws VfsException {
    Node node = node(id);
    return io(
        "setattr",
        () -> {
          if (change.killPrivileges()) {
            killPrivileges(node);
          }
          if (change.mode().isPresent()) {
            Libc.chmod(node.through(), change.mode().getAsInt() & 07777);
          }
          if (change.uid().isPresent() || change.gid().isPresent()) {
            int empty = TestCalls.AT_EMPTY_PATH;
            TestCalls.callInt(
                "fchownat",
                node.path.fd(),
                new byte[0],
                change.uid().orElse(-1),
                change.gid().orElse(-1),
                empty);
          }
          if (change.size().isPresent()) {
            try (OpenFile file = TestCalls.open(node.through(), TestCalls.O_RDWR, 0)) {
              file.truncate(change.size().getAsLong());
            }
          }
          if (change.atime().isPresent() || change.mtime().isPresent()) {
            try (Arena arena = Arena.ofConfined()) {
              MemorySegment times = arena.allocate(32, 8);
              time(times, 0, change.atime());
              time(times, 16, change.mtime());
              TestCalls.callInt(
                  "utimensat", node.path.fd(), new byte[0], times, TestCalls.AT_EMPTY_PATH);
            }
          }
          return getattr(id, handle);
        });
  }

  /** As the kernel does when somebody without privileges writes. */
  private static void killPrivileges(Node node) throws ErrnoException {
    int mode = TestCalls.attributes(node.path.fd()).mode();
    int kept = mode & ~((mode & 010) != 0 ? 06000 : 04000);
    if (kept != mode) {
      Libc.chmod(node.through(), kept & 07777);
    }
  }

  private static void time(MemorySegment times, int at, Optional<Timespec> time) {
    Timespec value = time.orElse(new Timespec(0, (1 << 30) - 2));
    times.set(JAVA_LONG, at, value.seconds());
    times.set(JAVA_LONG, at + 8, value.nanos());
  }

  @Override
  public byte[] readlink(long node) throws VfsException {
    return io(
        "readlink",
        () -> {
          try (Arena arena = Arena.ofConfined()) {
            MemorySegment target = arena.allocate(4096);
            int n =
                (int) TestCalls.call("readlinkat", node(node).path.fd(), new byte[0], target, 4096);
            return target.asSlice(0, n).toArray(JAVA_BYTE);
          }
        });
  }

  private interface Make {
    void at(BytePath path) throws ErrnoException;
  }

  private Entry make(Caller caller, long parent, byte[] name, Make make) throws VfsException {
    return io(
        "make",
        () -> {
          BytePath path = node(parent).through().resolve(name);
          make.at(path);
          Libc.lchown(path, caller.uid(), caller.gid());
          return lookup(caller, parent, name);
        });
  }

  @Override
  public Entry mknod(Caller caller, long parent, byte[] name, int mode, long rdev)
      throws VfsException {
    return make(
        caller,
        parent,
        name,
        path -> {
          Libc.mknod(path, mode, rdev);
          Libc.chmod(path, mode & 07777);
        });
  }

  @Override
  public Entry mkdir(Caller caller, long parent, byte[] name, int mode) throws VfsException {
    return make(
        caller,
        parent,
        name,
        path -> {
          Libc.mkdir(path, mode);
          Libc.chmod(path, mode & 07777);
        });
  }

  @Override
  public Entry symlink(Caller caller, long parent, byte[] name, byte[] target) throws VfsException {
    return make(caller, parent, name, path -> Libc.symlink(target, path));
  }

  @Override
  public Entry link(Caller caller, long node, long parent, byte[] name) throws VfsException {
    return io(
        "link",
        () -> {
          BytePath path = node(parent).through().resolve(name);
          byte[] from = node(node).through().bytes();
          int follow = TestCalls.AT_SYMLINK_FOLLOW;
          int here = TestCalls.AT_FDCWD;
          TestCalls.callInt("linkat", here, from, here, path.bytes(), follow);
          return lookup(caller, parent, name);
        });
  }

  @Override
  public void unlink(Caller caller, long parent, byte[] name) throws VfsException {
    io(
        "unlink",
        () -> {
          Libc.unlink(node(parent).through().resolve(name));
          return null;
        });
  }

  @Override
  public void rmdir(Caller caller, long parent, byte[] name) throws VfsException {
    io(
        "rmdir",
        () -> {
          Libc.rmdir(node(parent).through().resolve(name));
          return null;
        });
  }

  @Override
  public void rename(
      Caller caller, long parent, byte[] name, long newParent, byte[] newName, int flags)
      throws VfsException {
    io(
        "rename",
        () -> {
          int here = TestCalls.AT_FDCWD;
          byte[] from = node(parent).through().resolve(name).bytes();
          byte[] to = node(newParent).through().resolve(newName).bytes();
          return TestCalls.callInt("renameat2", here, from, here, to, flags);
        });
  }

  private Opened opened(OpenFile file) {
    long handle = generation | next.getAndIncrement();
    handles.put(handle, file);
    return mode == Opened.Mode.PASSTHROUGH
        ? Opened.passthrough(handle, file.fd())
        : Opened.file(handle, mode);
  }

  @Override
  public Opened open(Caller caller, long node, int flags, boolean killPrivileges)
      throws VfsException {
    return io(
        "open",
        () ->
            opened(
                TestCalls.open(
                    node(node).through(), TestCalls.O_RDWR | (flags & TestCalls.O_TRUNC), 0)));
  }

  @Override
  public Created create(Caller caller, long parent, byte[] name, int mode, int flags)
      throws VfsException {
    return io(
        "create",
        () -> {
          BytePath path = node(parent).through().resolve(name);
          int how = TestCalls.O_RDWR | TestCalls.O_CREAT | (flags & ~WRITE_FLAGS & 0777);
          OpenFile file = TestCalls.open(path, how, mode & 07777);
          Libc.lchown(path, caller.uid(), caller.gid());
          Libc.chmod(path, mode & 07777);
          Entry entry = lookup(caller, parent, name);
          return new Created(entry, opened(file));
        });
  }

  @Override
  public Created tmpfile(Caller caller, long parent, int mode, int flags) throws VfsException {
    return io(
        "tmpfile",
        () -> {
          BytePath path = node(parent).through();
          OpenFile file =
              TestCalls.open(path, TestCalls.O_RDWR | TestCalls.O_TMPFILE, mode & 07777);
          OpenFile same =
              TestCalls.open(BytePath.of("/proc/self/fd/" + file.fd()), TestCalls.O_PATH, 0);
          return new Created(intern(same, new byte[0]), opened(file));
        });
  }

  /** Also of a dead server: opened again. */
  private OpenFile handle(long id, long handle) throws VfsException {
    OpenFile file = handles.get(handle);
    if (file != null) {
      return file;
    }
    if ((handle & ~0xffffffffL) == generation) {
      throw new VfsException(Errno.EBADF, "handle", Long.toHexString(handle));
    }
    return io(
        "reopen",
        () -> {
          OpenFile again = TestCalls.open(node(id).through(), TestCalls.O_RDWR, 0);
          OpenFile other = handles.putIfAbsent(handle, again);
          if (other != null) {
            again.close();
            return other;
          }
          return again;
        });
  }

  @Override
  public int read(long node, long handle, long offset, MemorySegment into) throws VfsException {
    reads.incrementAndGet();
    if (node(node).slow) {
      arrivals.release();
      waits.call(
          () -> {
            try {
              permits.acquire();
            } catch (InterruptedException e) {
              interrupted.incrementAndGet();
              throw e;
            }
            return null;
          });
    }
    return io("read", () -> handle(node, handle).read(into, offset));
  }

  @Override
  public int write(
      long node,
      long handle,
      long offset,
      MemorySegment from,
      boolean fromCache,
      boolean killPrivileges)
      throws VfsException {
    writes.incrementAndGet();
    return io(
        "write",
        () -> {
          if (killPrivileges) {
            killPrivileges(node(node));
          }
          handle(node, handle).write(from, offset);
          return (int) from.byteSize();
        });
  }

  @Override
  public void flush(long node, long handle, long lockOwner) throws VfsException {
    unlock(node, lockOwner, false);
  }

  @Override
  public void release(long node, long handle, OptionalLong flockOwner) throws VfsException {
    if (flockOwner.isPresent()) {
      unlock(node, flockOwner.getAsLong(), true);
    }
    unlock(handle);
    OpenFile file = handles.remove(handle);
    if (file != null) {
      io(
          "release",
          () -> {
            file.close();
            return null;
          });
    }
  }

  @Override
  public void fsync(long node, long handle, boolean dataOnly) throws VfsException {
    io(
        "fsync",
        () -> {
          handle(node, handle).sync();
          return null;
        });
  }

  @Override
  public Opened opendir(Caller caller, long node) {
    return Opened.directory(generation | next.getAndIncrement(), false);
  }

  @Override
  public void readdir(long node, long handle, long cookie, DirectorySink sink, boolean plus)
      throws VfsException {
    BytePath path = node(node).through();
    List<byte[]> names = listings.get(handle);
    if (names == null || cookie == 0) {
      names = io("readdir", () -> Libc.list(path));
      listings.put(handle, names);
    }
    for (int i = (int) cookie; i < names.size() + 2; i++) {
      byte[] name = i == 0 ? new byte[] {'.'} : i == 1 ? new byte[] {'.', '.'} : names.get(i - 2);
      if (plus) {
        Entry entry =
            i < 2
                ? new Entry(node, getattr(node, OptionalLong.empty()).attributes(), 0, 0)
                : lookup(null, node, name);
        if (entry.isNegative()) {
          continue;
        }
        if (!sink.add(name, entry, i + 1)) {
          if (i >= 2) {
            forget(entry.node(), 1);
          }
          return;
        }
      } else {
        Optional<Stat> stat = io("readdir", () -> Libc.find(path.resolve(name)));
        if (i < 2) {
          if (!sink.add(name, node, Stat.S_IFDIR, i + 1)) {
            return;
          }
        } else if (stat.isPresent()
            && !sink.add(name, stat.get().ino(), stat.get().mode(), i + 1)) {
          return;
        }
      }
    }
  }

  @Override
  public void releasedir(long node, long handle) {
    listings.remove(handle);
  }

  @Override
  public void fsyncdir(long node, long handle, boolean dataOnly) {}

  @Override
  public VolumeStat statfs(long node) throws VfsException {
    return io(
        "statfs",
        () -> {
          try (Arena arena = Arena.ofConfined()) {
            MemorySegment s = arena.allocate(256, 8);
            TestCalls.callInt("statfs", node(node).through().bytes(), s);
            return new VolumeStat(
                s.get(JAVA_LONG, 16),
                s.get(JAVA_LONG, 24),
                s.get(JAVA_LONG, 32),
                s.get(JAVA_LONG, 40),
                s.get(JAVA_LONG, 48),
                (int) s.get(JAVA_LONG, 8),
                255);
          }
        });
  }

  @Override
  public void setxattr(Caller caller, long node, byte[] name, byte[] value, int flags)
      throws VfsException {
    io(
        "setxattr",
        () -> {
          try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate(Math.max(1, value.length));
            MemorySegment.copy(value, 0, bytes, JAVA_BYTE, 0, value.length);
            byte[] path = node(node).through().bytes();
            return TestCalls.callInt("setxattr", path, name, bytes, value.length, flags);
          }
        });
  }

  @Override
  public Optional<byte[]> getxattr(long node, byte[] name) throws VfsException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment value = arena.allocate(65536);
      byte[] path = node(node).through().bytes();
      int n = (int) TestCalls.call("getxattr", path, name, value, 65536);
      return Optional.of(value.asSlice(0, n).toArray(JAVA_BYTE));
    } catch (ErrnoException e) {
      if (e.errno() == Errno.ENODATA) {
        return Optional.empty();
      }
      throw VfsException.of(e, "getxattr", "");
    }
  }

  @Override
  public List<byte[]> listxattr(long node) throws VfsException {
    return io(
        "listxattr",
        () -> {
          try (Arena arena = Arena.ofConfined()) {
            MemorySegment names = arena.allocate(65536);
            int n = (int) TestCalls.call("listxattr", node(node).through().bytes(), names, 65536);
            List<byte[]> list = new ArrayList<>();
            int start = 0;
            for (int i = 0; i < n; i++) {
              if (names.get(JAVA_BYTE, i) == 0) {
                list.add(names.asSlice(start, i - start).toArray(JAVA_BYTE));
                start = i + 1;
              }
            }
            return list;
          }
        });
  }

  @Override
  public void removexattr(Caller caller, long node, byte[] name) throws VfsException {
    io("removexattr", () -> TestCalls.callInt("removexattr", node(node).through().bytes(), name));
  }

  private Optional<Held> conflict(Held wanted) {
    return locks.stream()
        .filter(
            held ->
                held.node == wanted.node
                    && held.flock == wanted.flock
                    && held.owner != wanted.owner
                    && held.lock.overlaps(wanted.lock)
                    && (held.lock.type() == Lock.Type.WRITE
                        || wanted.lock.type() == Lock.Type.WRITE))
        .findFirst();
  }

  @Override
  public synchronized Lock getlk(long node, long handle, long owner, Lock lock) {
    return conflict(new Held(node, handle, owner, false, lock))
        .map(Held::lock)
        .orElse(new Lock(Lock.Type.UNLOCK, 0, 0, 0));
  }

  private void take(Held wanted) {
    List<Held> kept = new ArrayList<>();
    for (Held held : locks) {
      boolean same =
          held.node == wanted.node && held.flock == wanted.flock && held.owner == wanted.owner;
      if (!same || !held.lock.overlaps(wanted.lock)) {
        kept.add(held);
        continue;
      }
      Lock old = held.lock;
      if (old.start() < wanted.lock.start()) {
        Lock left = new Lock(old.type(), old.start(), wanted.lock.start() - 1, old.pid());
        kept.add(new Held(held.node, held.handle, held.owner, held.flock, left));
      }
      if (old.end() > wanted.lock.end()) {
        Lock right = new Lock(old.type(), wanted.lock.end() + 1, old.end(), old.pid());
        kept.add(new Held(held.node, held.handle, held.owner, held.flock, right));
      }
    }
    if (wanted.lock.type() != Lock.Type.UNLOCK) {
      kept.add(wanted);
    }
    locks.clear();
    locks.addAll(kept);
    for (Waiter waiter : Set.copyOf(new HashSet<>(waiters))) {
      if (conflict(waiter.wanted).isEmpty()) {
        waiters.remove(waiter);
        take(waiter.wanted);
        waiter.reply.granted();
      }
    }
  }

  private synchronized void unlock(long node, long owner, boolean flock) {
    take(new Held(node, 0, owner, flock, new Lock(Lock.Type.UNLOCK, 0, Lock.TO_THE_END, 0)));
  }

  /** Locks of an open file: the kernel does not tell of their end. */
  private synchronized void unlock(long handle) {
    for (Held held : List.copyOf(locks)) {
      if (held.handle == handle) {
        unlock(held.node, held.owner, held.flock);
      }
    }
  }

  @Override
  public synchronized void setlk(long node, long handle, long owner, boolean flock, Lock lock)
      throws VfsException {
    Held wanted = new Held(node, handle, owner, flock, lock);
    if (lock.type() != Lock.Type.UNLOCK && conflict(wanted).isPresent()) {
      throw new VfsException(Errno.EAGAIN, "lock", "");
    }
    take(wanted);
  }

  @Override
  public synchronized Runnable setlkw(
      long node, long handle, long owner, boolean flock, Lock lock, LockReply reply) {
    Held wanted = new Held(node, handle, owner, flock, lock);
    if (conflict(wanted).isEmpty()) {
      take(wanted);
      reply.granted();
      return () -> {};
    }
    Waiter waiter = new Waiter(wanted, reply);
    waiters.add(waiter);
    return () -> {
      synchronized (this) {
        if (waiters.remove(waiter)) {
          interrupted.incrementAndGet();
          reply.failed(new VfsException(Errno.EINTR, "lock", ""));
        }
      }
    };
  }

  @Override
  public void fallocate(long node, long handle, int mode, long offset, long length)
      throws VfsException {
    io(
        "fallocate",
        () -> TestCalls.callInt("fallocate", handle(node, handle).fd(), mode, offset, length));
  }

  @Override
  public long lseek(long node, long handle, long offset, int whence) throws VfsException {
    return io("lseek", () -> TestCalls.call("lseek", handle(node, handle).fd(), offset, whence));
  }

  @Override
  public long copyFileRange(
      long node,
      long handle,
      long offset,
      long toNode,
      long toHandle,
      long toOffset,
      long length,
      long flags)
      throws VfsException {
    return io(
        "copy_file_range",
        () -> {
          try (Arena arena = Arena.ofConfined()) {
            MemorySegment from = arena.allocate(8, 8);
            MemorySegment to = arena.allocate(8, 8);
            from.set(JAVA_LONG, 0, offset);
            to.set(JAVA_LONG, 0, toOffset);
            int in = handle(node, handle).fd();
            int out = handle(toNode, toHandle).fd();
            return TestCalls.call("copy_file_range", in, from, out, to, length, 0);
          }
        });
  }

  @Override
  public void syncfs() {}

  @Override
  public void destroy() {
    destroyed.incrementAndGet();
    List<OpenFile> open = new ArrayList<>(handles.values());
    nodes.values().forEach(node -> open.add(node.path));
    handles.clear();
    nodes.clear();
    for (OpenFile file : open) {
      try {
        file.close();
      } catch (ErrnoException e) {
        throw new IllegalStateException(e);
      }
    }
  }
}
