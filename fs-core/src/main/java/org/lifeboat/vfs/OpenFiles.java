package org.lifeboat.vfs;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.lifeboat.store.ObjectStore.ObjectInfo;
import org.lifeboat.store.StoreException;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.Stat;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Regular files that are open, and their bytes.
 *
 * <p><b>How a file is opened.</b> New, cut to nothing, or whole in the cache: passed through where
 * the kernel can. For writing: fetched whole first, so that a content is either a copy of an object
 * or all our own. For reading: fetched whole when it is small, otherwise read by blocks, through
 * the kernel's page cache, which keeps what it has while the version is the same.
 *
 * <p><b>What a writer does is found afterwards</b>, as a passed-through one can't be seen: that it
 * is open is journalled before it is; while it is, size and times are those of the cache's file;
 * when it closes, the file is compared with what it was. A file that was open for writing when an
 * engine died counts as changed. So nothing that was written is lost, and at worst something is
 * uploaded that is there already.
 *
 * <p>The time of a change that somebody set (utimens) stays until the cache's file changes again:
 * {@link Node#seen} is the time of its that is known.
 */
final class OpenFiles {

  private static final Logger log = LoggerFactory.getLogger(OpenFiles.class);

  /** A page cache that has what is only here. */
  private static final String LOCAL = "";

  private static final int O_ACCMODE = 3;
  private static final int O_WRONLY = 1;
  private static final int O_RDWR = 2;
  private static final int O_TRUNC = 01000;
  private static final int KEEP_SIZE = 1;
  private static final int PUNCH_HOLE = 2;
  private static final int ZERO_RANGE = 16;
  private static final int COPY_BUFFER = 1 << 20;
  private static final long COPY_AT_ONCE = 64 << 20;

  /** The coarsest step of a file's times: a change within it may not be seen. */
  private static final long TICK_MILLIS = 10;

  private final State state;
  private final Tree tree;
  private final Namespace names;
  private final Listings listings;
  private final Contents contents;
  private final TreeOptions options;
  private final Waits waits;
  private final Handles handles;
  private volatile boolean passthrough;

  OpenFiles(
      State state,
      Namespace names,
      Listings listings,
      Contents contents,
      TreeOptions options,
      Waits waits) {
    this.state = state;
    this.tree = state.tree();
    this.names = names;
    this.listings = listings;
    this.contents = contents;
    this.options = options;
    this.waits = waits;
    this.handles = new Handles(tree.generation());
  }

  /** Whether the kernel reads and writes itself. */
  void passthrough(boolean agreed) {
    passthrough = agreed;
  }

  // ---- beginning

  /** After an earlier engine, whose mount is gone: what it had open is closed. */
  void settleEarlier() throws VfsException {
    state.write().lock();
    try {
      List<Change> changes = new ArrayList<>();
      for (Map.Entry<Long, Long> writer : tree.writers().entrySet()) {
        Node node = tree.node(writer.getValue());
        findChanged(node, changes);
        changes.add(new Change.Closed(writer.getKey()));
      }
      commitAll(changes);
      List<Node> nameless = tree.nodes().stream().filter(Node::isNameless).toList();
      for (Node node : nameless) {
        changes.add(new Change.Remove(node.id));
      }
      commitAll(changes);
      contents.retain(id -> tree.node(id) != null);
    } catch (IOException e) {
      throw Failures.of(e, "mount", "the cache");
    } finally {
      state.write().unlock();
    }
  }

  private void commitAll(List<Change> changes) throws VfsException {
    if (!changes.isEmpty()) {
      state.commit(changes, "mount", "");
      changes.clear();
    }
  }

  /** What a writer left that nobody saw close. */
  private void findChanged(Node node, List<Change> changes) throws IOException {
    Optional<Contents.Content> found = contents.find(node.id);
    if (found.isEmpty()) {
      if (node.origin == null || node.dirty) {
        log.error("{}: its content is not in the cache any more", Namespace.path(node));
      }
      return;
    }
    try (Contents.Content content = found.get()) {
      if (content.isDirty()) {
        changes.add(left(node, content.stat(), true));
      }
    }
  }

  /** At a take-over: what the earlier engine had open stays open. */
  void takeOver() throws VfsException {
    state.write().lock();
    try {
      for (Node node : tree.nodes()) {
        node.pinned = !Tree.isFixed(node.id);
      }
      for (Map.Entry<Long, Long> writer : tree.writers().entrySet()) {
        Node node = tree.node(writer.getValue());
        ContentState c = node.content();
        c.lock.lock(); // no other thread is there yet
        try {
          if (c.open == null) {
            c.open = obtain(node, "take over");
          }
          c.users++;
          c.writers++;
          c.changed = true;
          if (c.before == null) {
            c.before = c.open.stat();
          }
          node.handles++;
          node.writers++;
          handles.put(new Handle(writer.getKey(), node, c.open));
        } catch (IOException e) {
          log.error("{} was open for writing and can't be opened: {}", Namespace.path(node), e);
        } finally {
          c.lock.unlock();
        }
      }
      contents.retain(id -> tree.node(id) != null);
    } catch (IOException e) {
      throw Failures.of(e, "take over", "the cache");
    } finally {
      state.write().unlock();
    }
  }

  // ---- opening

  private void lock(ContentState c) throws VfsException {
    if (!c.lock.tryLock()) {
      waits.call(
          () -> {
            c.lock.lockInterruptibly();
            return null;
          });
    }
  }

  /** The content of a node, open. */
  private Contents.Content obtain(Node node, String operation) throws IOException {
    Origin origin;
    boolean local;
    state.read().lock();
    try {
      origin = node.origin;
      local = origin == null || node.dirty;
    } finally {
      state.read().unlock();
    }
    if (local) {
      return contents
          .find(node.id)
          .orElseThrow(
              () ->
                  new VfsException(
                      Errno.EIO,
                      operation,
                      Namespace.path(node),
                      Namespace.path(node)
                          + ": its content was only in the cache, and is not there any more",
                      "somebody removed it from the cache's directory",
                      null));
    }
    Volume volume = listings.volume(origin.volume(), operation);
    return contents.attach(
        node.id,
        volume.store().url().of(origin.key()),
        origin.version(),
        origin.size(),
        source(volume, origin));
  }

  private static Contents.Source source(Volume volume, Origin origin) {
    String key = origin.key();
    String version = origin.version();
    return (offset, into) -> {
      ObjectInfo info;
      try {
        info = volume.store().get(key, offset, into);
      } catch (StoreException e) {
        if (e.kind() == StoreException.Kind.NOT_FOUND || e.kind() == StoreException.Kind.INVALID) {
          throw stale(volume, key, "is not there any more", e);
        }
        throw e;
      }
      if (!info.version().equals(version) || into.hasRemaining()) {
        throw stale(volume, key, "is another version now", null);
      }
    };
  }

  private static VfsException stale(Volume volume, String key, String what, IOException cause) {
    String url = volume.store().url().of(key);
    return new VfsException(
        Errno.ESTALE, "read", url, url + " " + what, "open the file again", cause);
  }

  /** Opens a file that is there. */
  Opened open(Node node, int flags, boolean killPrivileges) throws VfsException {
    boolean write = (flags & O_ACCMODE) != 0;
    if (!node.isRegular()) {
      throw Namespace.failure(node.isDirectory() ? Errno.EISDIR : Errno.ENXIO, "open", node);
    }
    if (write) {
      names.checkNotSealed(node, "open");
    }
    boolean truncate = write && (flags & O_TRUNC) != 0;
    if (node.content().stale) {
      node.content().stale = false;
      listings.refresh(node, "open");
    }
    try {
      return open(node, access(flags), truncate, killPrivileges);
    } catch (VfsException e) {
      if (e.errno() != Errno.ESTALE) {
        throw e;
      }
      listings.refresh(node, "open");
      if (node.isNameless()) {
        throw Namespace.failure(Errno.ENOENT, "open", node);
      }
      return open(node, access(flags), truncate, killPrivileges);
    }
  }

  static int access(int flags) {
    return switch (flags & O_ACCMODE) {
      case O_WRONLY -> Handle.WRITE;
      case O_RDWR, O_ACCMODE -> Handle.READ | Handle.WRITE;
      default -> Handle.READ;
    };
  }

  private Opened open(Node node, int access, boolean truncate, boolean killPrivileges)
      throws VfsException {
    ContentState c = node.content();
    lock(c);
    try {
      Handle handle = open(node, c, handles.next(access), truncate, killPrivileges, "open");
      return opened(node, c, handle.content, handle.id);
    } catch (IOException e) {
      throw Failures.of(e, "open", Namespace.path(node));
    } finally {
      c.lock.unlock();
    }
  }

  /** One more handle, of that id; the content's lock is held. */
  private Handle open(
      Node node,
      ContentState c,
      long id,
      boolean truncate,
      boolean killPrivileges,
      String operation)
      throws IOException {
    boolean write = Handle.writes(id);
    boolean first = c.open == null;
    Contents.Content content = first ? obtain(node, operation) : c.open;
    boolean done = false;
    try {
      fetch(node, content, write, truncate);
      if (write) {
        openWriter(node, c, content, id, truncate, killPrivileges);
      } else {
        count(node, 1, 0);
      }
      c.open = content;
      c.users++;
      Handle handle = new Handle(id, node, content);
      handles.put(handle);
      done = true;
      return handle;
    } finally {
      if (!done && first) {
        c.open = null;
        content.close();
      }
    }
  }

  private void fetch(Node node, Contents.Content content, boolean write, boolean truncate)
      throws IOException {
    if (truncate || content.isWhole()) {
      return;
    }
    if (write) {
      fetchWhole(content);
    } else if (node.size <= options.wholeBytes() || content.isLocal(0, node.size)) {
      try {
        fetchWhole(content);
      } catch (IOException e) {
        if (Failures.of(e, "open", "").errno() != Errno.ENOSPC) {
          throw e;
        }
        // it can be read without being kept
      }
    }
  }

  private void fetchWhole(Contents.Content content) throws IOException {
    waits.<Void, IOException>call(
        () -> {
          content.makeWhole();
          return null;
        });
  }

  private void count(Node node, int count, int writing) {
    state.write().lock();
    try {
      node.handles += count;
      node.writers += writing;
    } finally {
      state.write().unlock();
    }
  }

  private void openWriter(
      Node node,
      ContentState c,
      Contents.Content content,
      long id,
      boolean truncate,
      boolean killPrivileges)
      throws IOException {
    Stat before = content.stat();
    state.write().lock();
    try {
      List<Change> changes = new ArrayList<>();
      Namespace.journal(node, changes);
      changes.add(new Change.Opened(id, node.id));
      if (c.writers == 0 && node.seen != State.nanos(before.mtime())) {
        changes.add(seen(node, State.nanos(before.mtime())));
      }
      state.commit(changes, "open", Namespace.path(node));
      node.handles++;
      node.writers++;
    } finally {
      state.write().unlock();
    }
    if (c.writers++ == 0) {
      c.before = before;
      c.changed = before.mtime().plusMillis(TICK_MILLIS).isAfter(Instant.now());
    }
    boolean done = false;
    try {
      if (truncate) {
        cut(node, c, content, 0, killPrivileges);
      } else if (!content.isDirty()) {
        content.markDirty();
      }
      done = true;
    } finally {
      if (!done) {
        c.writers--;
        state.write().lock();
        try {
          node.handles--;
          node.writers--;
          state.record(List.of(new Change.Closed(id)), "open", Namespace.path(node));
        } finally {
          state.write().unlock();
        }
      }
    }
  }

  /** What is known of the file but that its times are known. */
  private static Change.SetContent seen(Node node, long seen) {
    return new Change.SetContent(node.id, node.size, node.mtime, node.ctime, seen, node.dirty);
  }

  private Opened opened(Node node, ContentState c, Contents.Content content, long id)
      throws IOException {
    Opened opened;
    if (passthrough && content.isWhole()) {
      if (Handle.writes(id)) {
        c.pagesOf = null;
      }
      opened = Opened.passthrough(id, content.fd());
    } else {
      String pages = node.dirty || node.origin == null ? LOCAL : node.origin.version();
      boolean keep = pages.equals(c.pagesOf);
      c.pagesOf = pages;
      opened = Opened.file(id, keep ? Opened.Mode.KEEP_CACHE : Opened.Mode.CACHED);
    }
    return Handle.writes(id) ? opened : opened.withoutFlush();
  }

  /** What makes a new file, once its content is there. */
  interface Maker {
    Node make(long id, Namespace.With open) throws VfsException;
  }

  /** A new file and its handle. */
  record Made(Node node, Opened opened) {}

  /** Makes a file and opens it. */
  Made create(int flags, Maker maker) throws VfsException {
    long id = names.newId();
    long handle = handles.next(access(flags));
    boolean write = Handle.writes(handle);
    try {
      Contents.Content content = contents.create(id);
      Node node = null;
      try {
        long handleNow = handle;
        node = maker.make(id, write ? made -> new Change.Opened(handleNow, made) : null);
      } finally {
        if (node == null) {
          content.close();
          contents.discard(id);
        }
      }
      ContentState c = node.content();
      c.lock.lock();
      try {
        count(node, 1, write ? 1 : 0);
        if (c.open == null) {
          c.open = content;
        } else {
          content.close(); // somebody found the name already
        }
        c.users++;
        if (write && c.writers++ == 0) {
          c.before = c.open.stat();
        }
        c.changed = true;
        handles.put(new Handle(handle, node, c.open));
        return new Made(node, opened(node, c, c.open, handle));
      } finally {
        c.lock.unlock();
      }
    } catch (IOException e) {
      throw Failures.of(e, "create", "");
    }
  }

  /** Makes a file that nobody opens. */
  Node make(Maker maker) throws VfsException {
    long id = names.newId();
    try {
      try (Contents.Content content = contents.create(id)) {
        content.isWhole();
      }
      Node node = null;
      try {
        node = maker.make(id, null);
        return node;
      } finally {
        if (node == null) {
          contents.discard(id);
        }
      }
    } catch (IOException e) {
      throw Failures.of(e, "mknod", "");
    }
  }

  /** A file that is gone for good. */
  void discard(Node node) {
    try {
      contents.discard(node.id);
    } catch (IOException e) {
      log.warn("the content of a removed file stays in the cache: {}", e.getMessage());
    }
  }

  // ---- using

  /** A handle of ours, or of an earlier engine, that is opened again. */
  private Handle handle(Node node, long id, String operation) throws VfsException {
    Handle handle = handles.get(id);
    if (handle != null) {
      return handle;
    }
    if (handles.isOurs(id)) {
      throw Namespace.failure(Errno.EBADF, operation, node);
    }
    if (Handle.writes(id)) {
      names.checkNotSealed(node, operation);
    }
    ContentState c = node.content();
    lock(c);
    try {
      handle = handles.get(id);
      if (handle != null) {
        return handle;
      }
      handle = open(node, c, id, false, false, operation);
      if (Handle.writes(id)) {
        c.changed = true;
      }
      return handle;
    } catch (IOException e) {
      throw Failures.of(e, operation, Namespace.path(node));
    } finally {
      c.lock.unlock();
    }
  }

  int read(Node node, long id, long offset, MemorySegment into) throws VfsException {
    Handle handle = handle(node, id, "read");
    try {
      return handle.content.isLocal(offset, into.byteSize())
          ? handle.reader.read(offset, into)
          : waits.<Integer, IOException>call(() -> handle.reader.read(offset, into));
    } catch (IOException e) {
      VfsException failure = Failures.of(e, "read", Namespace.path(node));
      if (failure.errno() == Errno.ESTALE) {
        node.content().stale = true;
      }
      throw failure;
    }
  }

  int write(Node node, long id, long offset, MemorySegment from, boolean killPrivileges)
      throws VfsException {
    Handle handle = handle(node, id, "write");
    if (!Handle.writes(id)) {
      throw Namespace.failure(Errno.EBADF, "write", node);
    }
    node.content().changed = true;
    if (killPrivileges) {
      killPrivileges(node);
    }
    try {
      handle.content.write(offset, from);
    } catch (IOException e) {
      throw Failures.of(e, "write", Namespace.path(node));
    }
    return (int) from.byteSize();
  }

  private void killPrivileges(Node node) throws VfsException {
    boolean any;
    state.read().lock();
    try {
      any = Namespace.withoutPrivileges(node.mode) != node.mode || node.xattrs != null;
    } finally {
      state.read().unlock();
    }
    if (any) {
      names.setAttributes(node, Namespace.KILL, List.of());
    }
  }

  /** Sets the size; through a handle, or without one. */
  void truncate(Node node, long size, boolean killPrivileges) throws VfsException {
    if (!node.isRegular()) {
      throw Namespace.failure(node.isDirectory() ? Errno.EISDIR : Errno.EINVAL, "truncate", node);
    }
    if (size < 0) {
      throw Namespace.failure(Errno.EINVAL, "truncate", node);
    }
    names.checkNotSealed(node, "truncate");
    ContentState c = node.content();
    lock(c);
    try {
      boolean first = c.open == null;
      Contents.Content content = first ? obtain(node, "truncate") : c.open;
      try {
        fetch(node, content, true, size == 0);
        if (c.writers > 0) {
          cut(node, c, content, size, killPrivileges);
        } else {
          long id = handles.next(Handle.WRITE);
          openWriter(node, c, content, id, size == 0, killPrivileges);
          try {
            if (size != 0) {
              cut(node, c, content, size, killPrivileges);
            }
          } finally {
            closeWriter(node, c, content, id);
          }
        }
      } finally {
        if (first) {
          content.close();
        }
      }
    } catch (IOException e) {
      throw Failures.of(e, "truncate", Namespace.path(node));
    } finally {
      c.lock.unlock();
    }
  }

  private void cut(
      Node node, ContentState c, Contents.Content content, long size, boolean killPrivileges)
      throws IOException {
    c.changed = true;
    content.truncate(size);
    Stat stat = content.stat();
    state.write().lock();
    try {
      long now = state.now();
      List<Change> changes = new ArrayList<>();
      changes.add(new Change.SetContent(node.id, size, now, now, State.nanos(stat.mtime()), true));
      if (killPrivileges) {
        changes.add(
            new Change.SetAttributes(
                node.id,
                Namespace.withoutPrivileges(node.mode),
                node.uid,
                node.gid,
                node.atime,
                now,
                now));
      }
      state.record(changes, "truncate", Namespace.path(node));
    } finally {
      state.write().unlock();
    }
  }

  /**
   * Changes mode, owner and times. Where a time is set while the file is open for writing, what the
   * cache's file says is taken over first, so that only later changes count.
   */
  void setAttributes(Node node, AttributeChange change) throws VfsException {
    boolean times = change.atime().isPresent() || change.mtime().isPresent();
    if (!times || !node.isRegular() || node.writers == 0) {
      names.setAttributes(node, change, List.of());
      return;
    }
    ContentState c = node.content();
    lock(c);
    try {
      List<Change> first =
          c.open == null ? List.of() : List.of(left(node, c.open.stat(), node.dirty));
      names.setAttributes(node, change, first);
    } catch (IOException e) {
      throw Failures.of(e, "setattr", Namespace.path(node));
    } finally {
      c.lock.unlock();
    }
  }

  /** The node as the cache's file is now. */
  private static Change.SetContent left(Node node, Stat stat, boolean dirty) {
    long seen = State.nanos(stat.mtime());
    boolean later = seen != node.seen;
    return new Change.SetContent(
        node.id,
        stat.size(),
        later ? seen : node.mtime,
        later ? Math.max(seen, node.ctime) : node.ctime,
        seen,
        dirty);
  }

  /** The cache's file of a node that is open for writing; empty for all others. */
  Optional<Stat> written(Node node) throws VfsException {
    if (!node.isRegular() || node.writers == 0) {
      return Optional.empty();
    }
    ContentState c = node.content();
    lock(c);
    try {
      return c.open == null ? Optional.empty() : Optional.of(c.open.stat());
    } catch (IOException e) {
      throw Failures.of(e, "getattr", Namespace.path(node));
    } finally {
      c.lock.unlock();
    }
  }

  void fsync(Node node, long id) throws VfsException {
    Handle handle = handle(node, id, "fsync");
    try {
      handle.content.sync();
      state.journal().sync();
    } catch (IOException e) {
      throw Failures.of(e, "fsync", Namespace.path(node));
    }
  }

  void sync() throws VfsException {
    try {
      contents.sync();
      state.journal().sync();
    } catch (IOException e) {
      throw Failures.of(e, "syncfs", "");
    }
  }

  void allocate(Node node, long id, int mode, long offset, long length) throws VfsException {
    Handle handle = handle(node, id, "fallocate");
    if (!Handle.writes(id)) {
      throw Namespace.failure(Errno.EBADF, "fallocate", node);
    }
    if (offset < 0 || length <= 0) {
      throw Namespace.failure(Errno.EINVAL, "fallocate", node);
    }
    if (mode != 0
        && mode != KEEP_SIZE
        && mode != (PUNCH_HOLE | KEEP_SIZE)
        && (mode & ~KEEP_SIZE) != ZERO_RANGE) {
      throw Namespace.failure(Errno.EOPNOTSUPP, "fallocate", node);
    }
    node.content().changed = true;
    try {
      handle.content.allocate(mode, offset, length);
    } catch (IOException e) {
      throw Failures.of(e, "fallocate", Namespace.path(node));
    }
  }

  long seek(Node node, long id, long offset, int whence) throws VfsException {
    Handle handle = handle(node, id, "lseek");
    boolean data = whence == FileOperations.SEEK_DATA;
    if (!data && whence != FileOperations.SEEK_HOLE) {
      throw Namespace.failure(Errno.EINVAL, "lseek", node);
    }
    try {
      boolean whole = handle.content.isWhole();
      long size = whole ? handle.content.stat().size() : node.size;
      if (offset < 0 || offset >= size) {
        throw Namespace.failure(Errno.ENXIO, "lseek", node);
      }
      if (!whole) {
        return data ? offset : size;
      }
      long at = data ? handle.content.nextData(offset) : handle.content.nextHole(offset);
      if (at < 0) {
        throw Namespace.failure(Errno.ENXIO, "lseek", node);
      }
      return at;
    } catch (IOException e) {
      throw Failures.of(e, "lseek", Namespace.path(node));
    }
  }

  long copy(Node from, long fromId, long offset, Node to, long toId, long toOffset, long length)
      throws VfsException {
    long most = Math.min(length, COPY_AT_ONCE);
    if (from == to && offset < toOffset + most && toOffset < offset + most) {
      throw Namespace.failure(Errno.EINVAL, "copy_file_range", from);
    }
    long done = 0;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment buffer = arena.allocate(Math.max(1, Math.min(most, COPY_BUFFER)), 4096);
      while (done < most) {
        MemorySegment want = buffer.asSlice(0, Math.min(buffer.byteSize(), most - done));
        int n = read(from, fromId, offset + done, want);
        if (n == 0) {
          break;
        }
        write(to, toId, toOffset + done, want.asSlice(0, n), false);
        done += n;
      }
    }
    return done;
  }

  // ---- closing

  /** Unknown handles are no error. */
  void release(long id) throws VfsException {
    Handle handle = handles.remove(id);
    if (handle == null) {
      return;
    }
    Node node = handle.node;
    ContentState c = node.content();
    c.lock.lock();
    try {
      if (Handle.writes(id)) {
        closeWriter(node, c, handle.content, id);
      } else {
        count(node, -1, 0);
      }
      if (--c.users == 0) {
        c.open = null;
        handle.content.close();
      }
    } catch (IOException e) {
      throw Failures.of(e, "release", Namespace.path(node));
    } finally {
      c.lock.unlock();
    }
    if (node.isNameless()) {
      names.dispose(node);
    }
  }

  private void closeWriter(Node node, ContentState c, Contents.Content content, long id)
      throws IOException {
    Stat stat = content.stat();
    c.writers--;
    boolean clean;
    Origin origin;
    state.write().lock();
    try {
      boolean changed = c.changed || node.dirty || differs(stat, c.before);
      List<Change> changes = new ArrayList<>();
      if (changed) {
        changes.add(left(node, stat, true));
      }
      changes.add(new Change.Closed(id));
      node.handles--;
      node.writers--;
      state.record(changes, "close", Namespace.path(node));
      origin = node.origin;
      clean = c.writers == 0 && !changed && origin != null;
      if (changed && !passthrough) {
        c.pagesOf = LOCAL;
      }
    } finally {
      state.write().unlock();
    }
    if (clean) {
      Volume volume = listings.volume(origin.volume(), "close");
      content.markClean(
          volume.store().url().of(origin.key()),
          origin.version(),
          origin.size(),
          source(volume, origin));
    }
    if (c.writers == 0) {
      c.before = null;
      c.changed = false;
    }
  }

  /** Whether it was written to. The change time tells nothing: the cache renames its files. */
  private static boolean differs(Stat now, Stat before) {
    return now.size() != before.size() || !now.mtime().equals(before.mtime());
  }

  /** Closes all that is open. */
  void close() {
    for (Handle handle : List.copyOf(handles.all())) {
      try {
        release(handle.id);
      } catch (VfsException e) {
        log.warn("{}", e.getMessage());
      }
    }
  }
}
