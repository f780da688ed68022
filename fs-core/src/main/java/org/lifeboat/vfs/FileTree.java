package org.lifeboat.vfs;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.time.InstantSource;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.FileSystemStat;
import org.lifeboat.sys.Stat;

/**
 * The mounted file system: object stores as directories, a cache in front, a journal for what no
 * object says.
 *
 * <pre>
 * /s3/BUCKET/..., /gs/BUCKET/..., /file/DIRECTORY/...
 * </pre>
 *
 * One file is one object with exactly its bytes. What was changed here is in the cache and in the
 * journal when a program is told of it, and found there by the next engine.
 *
 * <p>The rooms: {@link Tree} is what there is, {@link Journal} how it survives, {@link State} both
 * with their lock (and the order of all locks), {@link Listings} bring in what stores have, {@link
 * Namespace} decides on names and attributes, {@link OpenFiles} on bytes. None of them knows a
 * transport; this class puts their answers into its words.
 */
public final class FileTree implements FileOperations {

  private static final int O_EXCL = 0200;
  private static final int BLOCK = 4096;
  private static final int SECTOR = 512;

  private static final Set<Capability> WANTED =
      EnumSet.of(
          Capability.ATOMIC_TRUNCATE,
          Capability.READDIRPLUS,
          Capability.CACHE_SYMLINKS,
          Capability.KILL_PRIVILEGES,
          Capability.RESEND);

  private final State state;
  private final Tree tree;
  private final Contents contents;
  private final TreeOptions options;
  private final Listings listings;
  private final Namespace names;
  private final OpenFiles files;
  private final Handles directories;

  private FileTree(
      State state, Contents contents, Volumes volumes, TreeOptions options, Waits waits) {
    this.state = state;
    this.tree = state.tree();
    this.contents = contents;
    this.options = options;
    this.listings = new Listings(state, options, waits, volumes);
    this.names = new Namespace(state, listings, this::discard);
    this.files = new OpenFiles(state, names, listings, contents, options, waits);
    this.directories = new Handles(tree.generation());
  }

  private void discard(Node node) {
    files.discard(node);
  }

  /**
   * Opens what an earlier engine left, or begins.
   *
   * @param journal its directory, of nobody else; made if need be
   * @param points where a test may stop it
   * @throws VfsException when the journal is damaged or can't be read
   */
  public static FileTree open(
      BytePath journal,
      Contents contents,
      Volumes volumes,
      TreeOptions options,
      Waits waits,
      InstantSource clock,
      CrashPoints points)
      throws VfsException {
    State state = State.open(journal, clock, points, options.journalBytes());
    boolean done = false;
    try {
      state.write().lock();
      try {
        int generation = state.tree().generation() + 1;
        state.commit(List.of(new Change.Begin(generation, state.tree().nextId())), "mount", "");
      } finally {
        state.write().unlock();
      }
      FileTree opened = new FileTree(state, contents, volumes, options, waits);
      done = true;
      return opened;
    } finally {
      if (!done) {
        state.close();
      }
    }
  }

  /** For tests. */
  State state() {
    return state;
  }

  @Override
  public Capabilities init(Offer offer) throws VfsException {
    files.settleEarlier();
    putHome();
    Set<Capability> wanted = EnumSet.copyOf(WANTED);
    if (options.passthrough()) {
      wanted.add(Capability.PASSTHROUGH);
    }
    wanted.retainAll(offer.capabilities());
    files.passthrough(wanted.contains(Capability.PASSTHROUGH));
    return new Capabilities(wanted, offer.maxReadahead(), options.stackDepth());
  }

  @Override
  public void resume(Capabilities agreed) throws VfsException {
    files.passthrough(agreed.has(Capability.PASSTHROUGH));
    files.takeOver();
    putHome();
  }

  private void putHome() throws VfsException {
    state.write().lock();
    try {
      listings.putHome();
    } finally {
      state.write().unlock();
    }
  }

  // ---- what is told

  /** How long the kernel may remember what is there; the lock is held. */
  private long validNanos(Node node) {
    if (Tree.isFixed(node.id)) {
      return Entry.FOREVER;
    }
    Node at = node;
    while (at.origin == null && at.place() != null) {
      at = at.place().parent;
    }
    boolean ours = at.origin == null || (at.origin.isHome() && !Listings.isSealed(node));
    return (ours ? options.homeValid() : options.otherValid()).toNanos();
  }

  /** The lock is held. */
  private static Attributes attributes(Node node, Optional<Stat> written) {
    long size = node.isDirectory() ? BLOCK : node.size;
    long blocks = Math.ceilDiv(size, SECTOR);
    long mtime = node.mtime;
    long ctime = node.ctime;
    if (written.isPresent()) {
      Stat stat = written.get();
      size = stat.size();
      blocks = stat.blocks();
      long changed = State.nanos(stat.mtime());
      if (changed != node.seen) {
        mtime = changed;
        ctime = Math.max(ctime, changed);
      }
    }
    return new Attributes(
        node.id,
        size,
        blocks,
        State.timespec(node.atime),
        State.timespec(mtime),
        State.timespec(ctime),
        node.mode,
        node.nlink(),
        node.uid,
        node.gid,
        node.rdev,
        BLOCK);
  }

  private ValidAttributes attributes(Node node) throws VfsException {
    Optional<Stat> written = files.written(node);
    state.read().lock();
    try {
      return new ValidAttributes(attributes(node, written), validNanos(node));
    } finally {
      state.read().unlock();
    }
  }

  private Entry entry(Node node) throws VfsException {
    ValidAttributes attributes = attributes(node);
    return new Entry(
        node.id, attributes.attributes(), attributes.validNanos(), attributes.validNanos());
  }

  // ---- names

  @Override
  public Entry lookup(Caller caller, long parent, byte[] name) throws VfsException {
    Optional<Node> found = names.lookup(parent, name);
    if (found.isPresent()) {
      return entry(found.get());
    }
    Node directory = names.node(parent, "lookup");
    state.read().lock();
    try {
      long valid = Tree.isFixed(parent) ? options.otherValid().toNanos() : validNanos(directory);
      return Entry.negative(valid);
    } finally {
      state.read().unlock();
    }
  }

  @Override
  public void forget(long node, long count) {
    try {
      names.forget(node, count);
    } catch (VfsException e) {
      org.slf4j.LoggerFactory.getLogger(FileTree.class).warn("{}", e.getMessage());
    }
  }

  @Override
  public byte[] readlink(long node) throws VfsException {
    return names.readlink(node);
  }

  @Override
  public Entry mknod(Caller caller, long parent, byte[] name, int mode, long rdev)
      throws VfsException {
    int type = mode & Stat.S_IFMT;
    int full = type == 0 ? Stat.S_IFREG | mode : mode;
    return switch (full & Stat.S_IFMT) {
      case Stat.S_IFREG ->
          entry(
              files.make(
                  (id, with) ->
                      names.make(caller, parent, name, full, 0, null, id, with, "mknod")));
      case Stat.S_IFIFO, Stat.S_IFSOCK ->
          entry(names.make(caller, parent, name, full, 0, null, 0, null, "mknod"));
      case Stat.S_IFBLK, Stat.S_IFCHR ->
          entry(names.make(caller, parent, name, full, rdev, null, 0, null, "mknod"));
      default -> throw new VfsException(Errno.EINVAL, "mknod", new Name(name).toString());
    };
  }

  @Override
  public Entry mkdir(Caller caller, long parent, byte[] name, int mode) throws VfsException {
    int full = Stat.S_IFDIR | (mode & 07777);
    return entry(names.make(caller, parent, name, full, 0, null, 0, null, "mkdir"));
  }

  @Override
  public Entry symlink(Caller caller, long parent, byte[] name, byte[] target) throws VfsException {
    int full = Stat.S_IFLNK | 0777;
    return entry(names.make(caller, parent, name, full, 0, target.clone(), 0, null, "symlink"));
  }

  @Override
  public Entry link(Caller caller, long node, long parent, byte[] name) throws VfsException {
    return entry(names.link(node, parent, name));
  }

  @Override
  public void unlink(Caller caller, long parent, byte[] name) throws VfsException {
    names.unlink(parent, name);
  }

  @Override
  public void rmdir(Caller caller, long parent, byte[] name) throws VfsException {
    names.rmdir(parent, name);
  }

  @Override
  public void rename(
      Caller caller, long parent, byte[] name, long newParent, byte[] newName, int flags)
      throws VfsException {
    names.rename(parent, name, newParent, newName, flags, caller.resent());
  }

  @Override
  public Opened opendir(Caller caller, long node) throws VfsException {
    Node directory = names.directory(node, "opendir");
    boolean cache;
    state.read().lock();
    try {
      cache = !Tree.isFixed(node) && validNanos(directory) == options.homeValid().toNanos();
    } finally {
      state.read().unlock();
    }
    return Opened.directory(directories.next(Handle.READ), cache);
  }

  @Override
  public void readdir(long node, long handle, long cookie, DirectorySink sink, boolean plus)
      throws VfsException {
    names.readdir(
        node,
        cookie,
        plus,
        new Namespace.Taker() {
          @Override
          public boolean take(Child child) {
            return plus
                ? sink.add(child.name.bytes(), listed(child.node), child.cookie)
                : sink.add(child.name.bytes(), child.node.id, child.node.type(), child.cookie);
          }

          @Override
          public boolean special(String name, Node of, long at) {
            byte[] bytes = name.getBytes(UTF_8);
            if (!plus) {
              return sink.add(bytes, of.id, Stat.S_IFDIR, at);
            }
            state.read().lock();
            try {
              return sink.add(bytes, listed(of), at);
            } finally {
              state.read().unlock();
            }
          }
        });
  }

  /** As {@link #entry}, with the lock held: a file that is being written is asked about again. */
  private Entry listed(Node node) {
    long valid = validNanos(node);
    return new Entry(
        node.id, attributes(node, Optional.empty()), valid, node.writers > 0 ? 0 : valid);
  }

  @Override
  public void releasedir(long node, long handle) {
    // nothing is kept of it
  }

  @Override
  public void fsyncdir(long node, long handle, boolean dataOnly) throws VfsException {
    try {
      state.journal().sync();
    } catch (IOException e) {
      throw Failures.of(e, "fsyncdir", Namespace.path(names.node(node, "fsyncdir")));
    }
  }

  // ---- attributes

  @Override
  public ValidAttributes getattr(long node, OptionalLong handle) throws VfsException {
    return attributes(names.node(node, "getattr"));
  }

  @Override
  public ValidAttributes setattr(
      Caller caller, long id, OptionalLong handle, AttributeChange change) throws VfsException {
    Node node = names.node(id, "setattr");
    names.checkNotSealed(node, "setattr");
    if (change.size().isPresent()) {
      files.truncate(node, change.size().getAsLong(), change.killPrivileges());
    }
    boolean times = change.atime().isPresent() || change.mtime().isPresent();
    boolean owner = change.uid().isPresent() || change.gid().isPresent();
    boolean kill = change.killPrivileges() && change.size().isEmpty();
    if (times || owner || kill || change.mode().isPresent()) {
      files.setAttributes(node, change);
    }
    return attributes(node);
  }

  @Override
  public void setxattr(Caller caller, long node, byte[] name, byte[] value, int flags)
      throws VfsException {
    names.setxattr(node, name, value, flags);
  }

  @Override
  public Optional<byte[]> getxattr(long node, byte[] name) throws VfsException {
    return names.getxattr(node, name);
  }

  @Override
  public List<byte[]> listxattr(long node) throws VfsException {
    return names.listxattr(node);
  }

  @Override
  public void removexattr(Caller caller, long node, byte[] name) throws VfsException {
    names.removexattr(node, name);
  }

  @Override
  public VolumeStat statfs(long node) throws VfsException {
    try {
      FileSystemStat room = contents.room();
      return new VolumeStat(
          room.total() / BLOCK,
          room.free() / BLOCK,
          room.available() / BLOCK,
          room.files(),
          room.freeFiles(),
          BLOCK,
          Name.MAX_BYTES);
    } catch (IOException e) {
      throw Failures.of(e, "statfs", "/");
    }
  }

  // ---- bytes

  @Override
  public Opened open(Caller caller, long node, int flags, boolean killPrivileges)
      throws VfsException {
    return files.open(names.node(node, "open"), flags, killPrivileges);
  }

  @Override
  public Created create(Caller caller, long parent, byte[] name, int mode, int flags)
      throws VfsException {
    int full = Stat.S_IFREG | (mode & 07777);
    try {
      OpenFiles.Made made =
          files.create(
              flags,
              (id, with) -> names.make(caller, parent, name, full, 0, null, id, with, "create"));
      return new Created(entry(made.node()), made.opened());
    } catch (VfsException e) {
      if (e.errno() != Errno.EEXIST || (flags & O_EXCL) != 0) {
        throw e;
      }
      Node node =
          names
              .lookup(parent, name)
              .orElseThrow(
                  () -> new VfsException(Errno.ENOENT, "create", new Name(name).toString()));
      boolean done = false;
      try {
        Opened opened = files.open(node, flags, false);
        done = true;
        return new Created(entry(node), opened);
      } finally {
        if (!done) {
          forget(node.id, 1);
        }
      }
    }
  }

  @Override
  public Created tmpfile(Caller caller, long parent, int mode, int flags) throws VfsException {
    OpenFiles.Made made =
        files.create(flags, (id, with) -> names.makeNameless(caller, parent, mode, id, with));
    return new Created(entry(made.node()), made.opened());
  }

  @Override
  public int read(long node, long handle, long offset, MemorySegment into) throws VfsException {
    return files.read(names.node(node, "read"), handle, offset, into);
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
    return files.write(names.node(node, "write"), handle, offset, from, killPrivileges);
  }

  /** What is written is in the cache's file already. */
  @Override
  public void flush(long node, long handle, long lockOwner) {}

  @Override
  public void release(long node, long handle, OptionalLong flockOwner) throws VfsException {
    files.release(handle);
  }

  @Override
  public void fsync(long node, long handle, boolean dataOnly) throws VfsException {
    files.fsync(names.node(node, "fsync"), handle);
  }

  @Override
  public void fallocate(long node, long handle, int mode, long offset, long length)
      throws VfsException {
    files.allocate(names.node(node, "fallocate"), handle, mode, offset, length);
  }

  @Override
  public long lseek(long node, long handle, long offset, int whence) throws VfsException {
    return files.seek(names.node(node, "lseek"), handle, offset, whence);
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
    if (flags != 0) {
      throw new VfsException(Errno.EINVAL, "copy_file_range", "");
    }
    return files.copy(
        names.node(node, "copy_file_range"),
        handle,
        offset,
        names.node(toNode, "copy_file_range"),
        toHandle,
        toOffset,
        length);
  }

  @Override
  public void syncfs() throws VfsException {
    files.sync();
  }

  @Override
  public void destroy() {
    files.close();
    close();
  }

  /** Lets go of everything, as a death would: what is open stays open for the next engine. */
  public void close() {
    listings.close();
    state.close();
  }
}
