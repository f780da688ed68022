package org.lifeboat.vfs;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.function.Consumer;
import org.lifeboat.store.Keys;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.Stat;

/**
 * Names and attributes: everything of a file system that needs no file's bytes, with the errors of
 * POSIX and Linux. It knows no handles and can be used without a cache.
 *
 * <p>Each change is decided under the lock of {@link State}, from what {@link Listings} have
 * brought in before, as a list of {@link Change}s that is journalled and made at once. A node is
 * journalled before the kernel is first told of it: the kernel may ask the next engine about it.
 *
 * <p>A node without names stays until nobody holds it: then it is given to the disposer.
 */
final class Namespace {

  private static final long XATTR_VALUE_MAX = 64 << 10;

  /** Takes privileges. */
  static final AttributeChange KILL =
      new AttributeChange(
          OptionalInt.empty(),
          OptionalInt.empty(),
          OptionalInt.empty(),
          OptionalLong.empty(),
          Optional.empty(),
          Optional.empty(),
          Optional.empty(),
          true);

  private static final Name CAPABILITY = Name.of("security.capability");

  private final State state;
  private final Tree tree;
  private final Listings listings;
  private final Consumer<Node> disposer;

  /**
   * @param disposer is told of each regular file that is gone for good; called without a lock
   */
  Namespace(State state, Listings listings, Consumer<Node> disposer) {
    this.state = state;
    this.tree = state.tree();
    this.listings = listings;
    this.disposer = disposer;
  }

  // ---- finding

  /** A node that the kernel knows. */
  Node node(long id, String operation) throws VfsException {
    Node node = tree.node(id);
    if (node == null) {
      throw new VfsException(
          Errno.ESTALE,
          operation,
          "node " + Long.toHexString(id),
          "there is no such node",
          "",
          null);
    }
    return node;
  }

  Node directory(long id, String operation) throws VfsException {
    Node node = node(id, operation);
    if (!node.isDirectory()) {
      throw failure(Errno.ENOTDIR, operation, node);
    }
    return node;
  }

  /** Where a node is in the mount, for people; one of its names. */
  static String path(Node node) {
    List<String> names = new ArrayList<>();
    Node at = node;
    while (at.id != FileOperations.ROOT) {
      Child place = at.place();
      if (place == null) {
        return "node " + Long.toHexString(at.id) + " (deleted)";
      }
      names.addFirst(place.name.toString());
      at = place.parent;
    }
    return "/" + String.join("/", names);
  }

  static VfsException failure(Errno errno, String operation, Node node) {
    return new VfsException(errno, operation, path(node));
  }

  private static VfsException failure(Errno errno, String operation, Node directory, Name name) {
    String path = path(directory);
    return new VfsException(errno, operation, path.equals("/") ? "/" + name : path + "/" + name);
  }

  /** A name's node, of which the kernel then holds one reference more; empty if there is none. */
  Optional<Node> lookup(long parent, byte[] bytes) throws VfsException {
    Node directory = directory(parent, "lookup");
    Name name = new Name(bytes);
    if (name.length() > Name.MAX_BYTES) {
      throw failure(Errno.ENAMETOOLONG, "lookup", directory, name);
    }
    listings.ensure(directory, name, "lookup");
    state.read().lock();
    try {
      Child child = directory.children.get(name);
      if (child == null) {
        return Optional.empty();
      }
      if (child.node.journalled) {
        child.node.refer();
        return Optional.of(child.node);
      }
    } finally {
      state.read().unlock();
    }
    state.write().lock();
    try {
      Child child = directory.children.get(name);
      if (child == null) {
        return Optional.empty();
      }
      List<Change> changes = new ArrayList<>();
      journal(child.node, changes);
      commit(changes, "lookup", directory, name);
      child.node.refer();
      return Optional.of(child.node);
    } finally {
      state.write().unlock();
    }
  }

  /** What the journal must have before a node is told of. */
  static void journal(Node node, List<Change> changes) {
    if (!node.journalled) {
      for (Child place : node.places()) {
        journal(place.parent, changes);
      }
      changes.add(Change.PutNode.of(node));
      for (Child place : node.places()) {
        changes.add(new Change.PutChild(place.parent.id, place.name, node.id, place.cookie));
      }
    }
  }

  private void commit(List<Change> changes, String operation, Node directory, Name name)
      throws VfsException {
    if (!changes.isEmpty()) {
      state.commit(changes, operation, path(directory) + "/" + name);
    }
  }

  /** The kernel gives references back. */
  void forget(long id, long count) throws VfsException {
    Node node = tree.node(id);
    if (node != null) {
      node.forget(count);
      if (node.isNameless()) {
        dispose(node);
      }
    }
  }

  /** Removes a node for good if it has no name and nobody holds it. */
  void dispose(Node node) throws VfsException {
    boolean gone = false;
    state.write().lock();
    try {
      if (node.isNameless() && !node.isHeld() && tree.node(node.id) == node) {
        state.commit(List.of(new Change.Remove(node.id)), "remove", path(node));
        gone = true;
      }
    } finally {
      state.write().unlock();
    }
    if (gone && node.isRegular()) {
      disposer.accept(node);
    }
  }

  /** Takes the entries behind a cookie until the taker returns false. */
  void readdir(long id, long cookie, boolean plus, Taker taker) throws VfsException {
    Node directory = directory(id, "readdir");
    if (cookie == 0) {
      listings.ensureAll(directory, "readdir");
    }
    long at = cookie;
    if (at < Children.SELF) {
      if (!taker.special(".", directory, Children.SELF)) {
        return;
      }
      at = Children.SELF;
    }
    if (at < Children.UP) {
      Child place = directory.place();
      if (!taker.special("..", place == null ? directory : place.parent, Children.UP)) {
        return;
      }
      at = Children.UP;
    }
    while (true) {
      state.read().lock();
      try {
        while (true) {
          Child child = directory.children.after(at);
          if (child == null) {
            return;
          }
          if (plus && !child.node.journalled) {
            break;
          }
          if (!taker.take(child)) {
            return;
          }
          if (plus) {
            child.node.refer();
          }
          at = child.cookie;
        }
      } finally {
        state.read().unlock();
      }
      journalFrom(directory, at);
    }
  }

  private static final int TOLD_AT_ONCE = 1000;

  private void journalFrom(Node directory, long cookie) throws VfsException {
    state.write().lock();
    try {
      List<Change> changes = new ArrayList<>();
      journal(directory, changes);
      Child child = directory.children.after(cookie);
      for (int i = 0; i < TOLD_AT_ONCE && child != null; i++) {
        if (!child.node.journalled) {
          changes.add(Change.PutNode.of(child.node));
          changes.add(new Change.PutChild(directory.id, child.name, child.node.id, child.cookie));
        }
        child = directory.children.after(child.cookie);
      }
      if (!changes.isEmpty()) {
        state.commit(changes, "readdir", path(directory));
      }
    } finally {
      state.write().unlock();
    }
  }

  /** Takes directory entries; is called with the lock held for reading. */
  interface Taker {
    boolean take(Child child) throws VfsException;

    boolean special(String name, Node node, long cookie) throws VfsException;
  }

  // ---- making

  /** What else belongs to the change that makes a node. */
  @FunctionalInterface
  interface With {
    Change of(long node);
  }

  /** The number of a node that is going to be made. */
  long newId() {
    state.write().lock();
    try {
      return reserve();
    } finally {
      state.write().unlock();
    }
  }

  private long reserved;

  private long reserve() {
    reserved = Math.max(reserved, tree.nextId()) + 1;
    return reserved - 1;
  }

  /**
   * Makes a node, of which the kernel then holds a reference.
   *
   * @param id from {@link #newId}, or 0
   * @param with may be null
   */
  Node make(
      Caller caller,
      long parent,
      byte[] bytes,
      int mode,
      long rdev,
      byte[] target,
      long id,
      With with,
      String operation)
      throws VfsException {
    Node directory = directory(parent, operation);
    Name name = new Name(bytes);
    checkName(directory, name, operation);
    listings.ensure(directory, name, operation);
    state.write().lock();
    try {
      checkChangeable(directory, name, operation);
      if (directory.children.get(name) != null) {
        throw failure(Errno.EEXIST, operation, directory, name);
      }
      checkKey(directory, name.length(), operation, name);
      long now = state.now();
      long number = id == 0 ? reserve() : id;
      List<Change> changes = new ArrayList<>();
      journal(directory, changes);
      changes.add(newNode(caller, directory, number, mode, rdev, target, now));
      changes.add(new Change.PutChild(directory.id, name, number, directory.children.nextCookie()));
      changes.add(touched(directory, now));
      if (with != null) {
        changes.add(with.of(number));
      }
      commit(changes, operation, directory, name);
      Node node = tree.node(number);
      node.refer();
      return node;
    } finally {
      state.write().unlock();
    }
  }

  /** Makes a regular file without a name, of which the kernel then holds a reference. */
  Node makeNameless(Caller caller, long parent, int mode, long id, With with) throws VfsException {
    Node directory = directory(parent, "tmpfile");
    state.write().lock();
    try {
      checkChangeable(directory, null, "tmpfile");
      List<Change> changes = new ArrayList<>();
      changes.add(
          newNode(caller, directory, id, Stat.S_IFREG | (mode & 07777), 0, null, state.now()));
      changes.add(with.of(id));
      state.commit(changes, "tmpfile", path(directory));
      Node node = tree.node(id);
      node.refer();
      return node;
    } finally {
      state.write().unlock();
    }
  }

  private static Change.PutNode newNode(
      Caller caller, Node directory, long id, int mode, long rdev, byte[] target, long now) {
    boolean inherits = (directory.mode & S_ISGID) != 0;
    boolean isDirectory = (mode & Stat.S_IFMT) == Stat.S_IFDIR;
    return new Change.PutNode(
        id,
        inherits && isDirectory ? mode | S_ISGID : mode,
        caller.uid(),
        inherits ? directory.gid : caller.gid(),
        now,
        now,
        now,
        rdev,
        target == null ? 0 : target.length,
        0,
        (mode & Stat.S_IFMT) == Stat.S_IFREG,
        true,
        null,
        target,
        null);
  }

  private static final int S_ISUID = 04000;
  private static final int S_ISGID = 02000;
  private static final int S_IXGRP = 010;

  private static Change.SetAttributes touched(Node directory, long now) {
    return new Change.SetAttributes(
        directory.id, directory.mode, directory.uid, directory.gid, directory.atime, now, now);
  }

  static Change.SetAttributes changed(Node node, long now) {
    return new Change.SetAttributes(
        node.id, node.mode, node.uid, node.gid, node.atime, node.mtime, now);
  }

  private static void checkName(Node directory, Name name, String operation) throws VfsException {
    if (name.length() > Name.MAX_BYTES) {
      throw failure(Errno.ENAMETOOLONG, operation, directory, name);
    }
    if (!name.isUtf8()) {
      throw failure(Errno.EILSEQ, operation, directory, name);
    }
  }

  /** Whether names may be made and removed there; the lock is held. */
  private void checkChangeable(Node directory, Name name, String operation) throws VfsException {
    if (directory.isNameless()) {
      throw failure(Errno.ENOENT, operation, directory);
    }
    boolean sealed =
        name == null ? Listings.isSealed(directory) : Listings.isSealed(directory, name);
    if (Tree.isFixed(directory.id) || sealed) {
      throw name == null
          ? failure(Errno.EROFS, operation, directory)
          : failure(Errno.EROFS, operation, directory, name);
    }
  }

  /** The node of the volume that this is in; 0 for the fixed directories. */
  private static long volume(Node node) {
    Node at = node;
    while (at.place() != null && !Tree.isFixed(at.place().parent.id)) {
      at = at.place().parent;
    }
    return Tree.isFixed(at.id) ? 0 : at.id;
  }

  /** Bytes that the keys of what is in this directory begin with, with a slash. */
  private static int prefixBytes(Node directory) {
    int bytes = 0;
    Node at = directory;
    while (at.place() != null && !Tree.isFixed(at.place().parent.id)) {
      bytes += at.place().name.length() + 1;
      at = at.place().parent;
    }
    return bytes;
  }

  private static void checkKey(Node directory, int bytes, String operation, Name name)
      throws VfsException {
    if (prefixBytes(directory) + bytes > Keys.MAX_BYTES) {
      throw failure(Errno.ENAMETOOLONG, operation, directory, name);
    }
  }

  /** The longest that a path in this directory has, as far as it is known, with the slash. */
  private static int longest(Node node) {
    int longest = 0;
    if (node.isDirectory()) {
      for (Child child : node.children.all()) {
        longest = Math.max(longest, 1 + child.name.length() + longest(child.node));
      }
    }
    return longest;
  }

  /** Gives a node one more name, and the kernel one reference more. */
  Node link(long id, long parent, byte[] bytes) throws VfsException {
    Node node = node(id, "link");
    Node directory = directory(parent, "link");
    Name name = new Name(bytes);
    checkName(directory, name, "link");
    listings.ensure(directory, name, "link");
    state.write().lock();
    try {
      checkChangeable(directory, name, "link");
      if (directory.children.get(name) != null) {
        throw failure(Errno.EEXIST, "link", directory, name);
      }
      if (node.isDirectory()) {
        throw failure(Errno.EPERM, "link", node);
      }
      if (Listings.isSealed(node)) {
        throw failure(Errno.EROFS, "link", node);
      }
      if (!node.isNameless() && volume(node) != volume(directory)) {
        throw failure(Errno.EXDEV, "link", directory, name);
      }
      checkKey(directory, name.length(), "link", name);
      long now = state.now();
      List<Change> changes = new ArrayList<>();
      journal(directory, changes);
      journal(node, changes);
      changes.add(new Change.PutChild(directory.id, name, id, directory.children.nextCookie()));
      arrive(node, directory, name, changes);
      changes.add(changed(node, now));
      changes.add(touched(directory, now));
      commit(changes, "link", directory, name);
      node.refer();
      return node;
    } finally {
      state.write().unlock();
    }
  }

  // ---- removing and renaming

  /** The store's object at that name, if it is this child's, is not to be shown any more. */
  private void depart(Child child, boolean moved, List<Change> changes) {
    Node node = child.node;
    Origin directory = child.parent.origin;
    if (node.origin == null || !node.origin.isIn(directory, child.name)) {
      return;
    }
    Change.Hidden hidden;
    if (!node.origin.isDirectory()) {
      hidden = new Change.Hidden.File(node.origin.version());
    } else {
      hidden = moved ? new Change.Hidden.Moved() : new Change.Hidden.Directory();
    }
    changes.add(new Change.Gone(node.origin.volume(), node.origin.key(), hidden));
  }

  /** If the node is back where the store has it, that is shown again. */
  private void arrive(Node node, Node directory, Name name, List<Change> changes) {
    if (node.origin != null && node.origin.isIn(directory.origin, name)) {
      String key = node.origin.key();
      boolean leaves =
          changes.stream()
              .anyMatch(
                  change ->
                      change instanceof Change.Gone gone
                          && gone.volume() == node.origin.volume()
                          && gone.key().equals(key));
      if (leaves || tree.hiddenAt(node.origin.volume(), key) != null) {
        changes.add(new Change.Back(node.origin.volume(), key));
      }
    }
  }

  void unlink(long parent, byte[] bytes) throws VfsException {
    remove(parent, new Name(bytes), false, "unlink");
  }

  void rmdir(long parent, byte[] bytes) throws VfsException {
    remove(parent, new Name(bytes), true, "rmdir");
  }

  private void remove(long parent, Name name, boolean wantsDirectory, String operation)
      throws VfsException {
    Node directory = directory(parent, operation);
    listings.ensure(directory, name, operation);
    if (wantsDirectory) {
      ensureContents(directory, name, operation);
    }
    Node node;
    boolean gone;
    state.write().lock();
    try {
      Child child = directory.children.get(name);
      if (child == null) {
        throw failure(Errno.ENOENT, operation, directory, name);
      }
      checkChangeable(directory, name, operation);
      node = child.node;
      if (wantsDirectory != node.isDirectory()) {
        throw failure(wantsDirectory ? Errno.ENOTDIR : Errno.EISDIR, operation, directory, name);
      }
      if (node.isDirectory() && !node.children.isEmpty()) {
        throw failure(Errno.ENOTEMPTY, operation, directory, name);
      }
      List<Change> changes = new ArrayList<>();
      journal(directory, changes);
      long now = state.now();
      gone = cut(child, now, changes);
      changes.add(touched(directory, now));
      commit(changes, operation, directory, name);
    } finally {
      state.write().unlock();
    }
    if (gone && node.isRegular()) {
      disposer.accept(node);
    }
  }

  /** So that it is known whether a directory of that name is empty. */
  private void ensureContents(Node directory, Name name, String operation) throws VfsException {
    Node node;
    state.read().lock();
    try {
      Child child = directory.children.get(name);
      node = child == null ? null : child.node;
    } finally {
      state.read().unlock();
    }
    if (node != null && node.isDirectory()) {
      listings.ensureAll(node, operation);
    }
  }

  /** Cuts a name; returns whether the node goes with it. */
  private boolean cut(Child child, long now, List<Change> changes) {
    Node node = child.node;
    depart(child, false, changes);
    boolean last = node.isDirectory() || node.nlink() == 1;
    boolean gone = last && !node.isHeld();
    if (!node.journalled) {
      journal(node, changes);
    }
    changes.add(new Change.CutChild(child.parent.id, child.name));
    changes.add(gone ? new Change.Remove(node.id) : changed(node, now));
    return gone;
  }

  void rename(long parent, byte[] bytes, long newParent, byte[] newBytes, int flags, boolean resent)
      throws VfsException {
    boolean exchange = flags == FileOperations.RENAME_EXCHANGE;
    boolean noReplace = flags == FileOperations.RENAME_NOREPLACE;
    Node from = directory(parent, "rename");
    Node to = directory(newParent, "rename");
    Name name = new Name(bytes);
    Name newName = new Name(newBytes);
    if (flags != 0 && !exchange && !noReplace) {
      throw failure(Errno.EINVAL, "rename", from, name);
    }
    checkName(to, newName, "rename");
    listings.ensure(from, name, "rename");
    listings.ensure(to, newName, "rename");
    if (!exchange) {
      ensureContents(to, newName, "rename");
    }
    Node gone = null;
    state.write().lock();
    try {
      Child source = from.children.get(name);
      if (source == null) {
        throw failure(Errno.ENOENT, "rename", from, name);
      }
      Child target = to.children.get(newName);
      checkChangeable(from, name, "rename");
      checkChangeable(to, newName, "rename");
      if (volume(from) != volume(to)) {
        throw failure(Errno.EXDEV, "rename", to, newName);
      }
      if (noReplace && target != null) {
        throw failure(Errno.EEXIST, "rename", to, newName);
      }
      if (exchange && target == null) {
        throw failure(Errno.ENOENT, "rename", to, newName);
      }
      if (isOnTheWay(source.node, to)) {
        throw failure(Errno.EINVAL, "rename", to, newName);
      }
      if (target != null && isOnTheWay(target.node, from)) {
        throw failure(exchange ? Errno.EINVAL : Errno.ENOTEMPTY, "rename", to, newName);
      }
      if (target != null && target.node == source.node) {
        return;
      }
      if (exchange) {
        exchange(source, target, from, name, to, newName, resent);
        return;
      }
      if (target != null) {
        checkReplaceable(source.node, target, to, newName);
      }
      checkKey(to, newName.length() + longest(source.node), "rename", newName);
      List<Change> changes = new ArrayList<>();
      long now = state.now();
      journal(from, changes);
      journal(to, changes);
      journal(source.node, changes);
      if (target != null && cut(target, now, changes)) {
        gone = target.node;
      }
      move(source, to, newName, to.children.nextCookie(), changes);
      changes.add(changed(source.node, now));
      touch(from, to, now, changes);
      commit(changes, "rename", to, newName);
    } finally {
      state.write().unlock();
    }
    if (gone != null && gone.isRegular()) {
      disposer.accept(gone);
    }
  }

  private static void touch(Node from, Node to, long now, List<Change> changes) {
    changes.add(touched(from, now));
    if (to != from) {
      changes.add(touched(to, now));
    }
  }

  private void move(Child source, Node to, Name newName, long cookie, List<Change> changes) {
    depart(source, true, changes);
    changes.add(new Change.CutChild(source.parent.id, source.name));
    changes.add(new Change.PutChild(to.id, newName, source.node.id, cookie));
    arrive(source.node, to, newName, changes);
  }

  private void exchange(
      Child source, Child target, Node from, Name name, Node to, Name newName, boolean resent)
      throws VfsException {
    Change.Exchanged done = new Change.Exchanged(from.id, name, to.id, newName);
    if (resent && tree.wasExchanged(done)) {
      return;
    }
    checkKey(to, newName.length() + longest(source.node), "rename", newName);
    checkKey(from, name.length() + longest(target.node), "rename", name);
    List<Change> changes = new ArrayList<>();
    long now = state.now();
    journal(from, changes);
    journal(to, changes);
    journal(source.node, changes);
    journal(target.node, changes);
    depart(source, true, changes);
    depart(target, true, changes);
    changes.add(new Change.CutChild(from.id, name));
    changes.add(new Change.CutChild(to.id, newName));
    long cookie = to.children.nextCookie();
    changes.add(new Change.PutChild(to.id, newName, source.node.id, cookie));
    arrive(source.node, to, newName, changes);
    cookie = to == from ? cookie + 1 : from.children.nextCookie();
    changes.add(new Change.PutChild(from.id, name, target.node.id, cookie));
    arrive(target.node, from, name, changes);
    changes.add(changed(source.node, now));
    changes.add(changed(target.node, now));
    touch(from, to, now, changes);
    changes.add(done);
    commit(changes, "rename", to, newName);
  }

  /** Whether {@code node} is the directory or one above it. */
  private static boolean isOnTheWay(Node node, Node directory) {
    if (!node.isDirectory()) {
      return false;
    }
    for (Node at = directory; ; at = at.place().parent) {
      if (at == node) {
        return true;
      }
      if (at.place() == null) {
        return false;
      }
    }
  }

  private static void checkReplaceable(Node node, Child target, Node to, Name newName)
      throws VfsException {
    if (target.node.isDirectory()) {
      if (!node.isDirectory()) {
        throw failure(Errno.EISDIR, "rename", to, newName);
      }
      if (!target.node.children.isEmpty()) {
        throw failure(Errno.ENOTEMPTY, "rename", to, newName);
      }
    } else if (node.isDirectory()) {
      throw failure(Errno.ENOTDIR, "rename", to, newName);
    }
  }

  // ---- attributes

  /** Whether the node may be changed at all. */
  void checkNotSealed(Node node, String operation) throws VfsException {
    state.read().lock();
    try {
      if (Tree.isFixed(node.id) || Listings.isSealed(node)) {
        throw failure(Errno.EROFS, operation, node);
      }
    } finally {
      state.read().unlock();
    }
  }

  /**
   * Changes mode, owner and times, in one step with other changes.
   *
   * @param first is made before
   */
  void setAttributes(Node node, AttributeChange change, List<Change> first) throws VfsException {
    state.write().lock();
    try {
      long now = state.now();
      List<Change> changes = new ArrayList<>();
      journal(node, changes);
      changes.addAll(first);
      int mode = node.mode;
      if (change.mode().isPresent()) {
        mode = node.type() | (change.mode().getAsInt() & 07777);
      }
      boolean owner = change.uid().isPresent() || change.gid().isPresent();
      boolean kill = change.killPrivileges() || (owner && change.mode().isEmpty());
      if (kill && !node.isDirectory()) {
        mode = withoutPrivileges(mode);
        if (node.xattrs != null && node.xattrs.containsKey(CAPABILITY)) {
          changes.add(new Change.SetXattr(node.id, CAPABILITY, null));
        }
      }
      long mtime = node.mtime;
      for (Change before : first) {
        if (before instanceof Change.SetContent content && content.node() == node.id) {
          mtime = content.mtime();
        }
      }
      changes.add(
          new Change.SetAttributes(
              node.id,
              mode,
              change.uid().orElse(node.uid),
              change.gid().orElse(node.gid),
              time(change.atime(), node.atime, now),
              time(change.mtime(), mtime, now),
              now));
      state.commit(changes, "setattr", path(node));
    } finally {
      state.write().unlock();
    }
  }

  static int withoutPrivileges(int mode) {
    int rest = mode & ~S_ISUID;
    return (mode & S_IXGRP) != 0 ? rest & ~S_ISGID : rest;
  }

  static long time(Optional<Timespec> time, long old, long now) {
    if (time.isEmpty()) {
      return old;
    }
    Timespec to = time.get();
    return to.isNow() ? now : State.nanos(to.seconds(), to.nanos());
  }

  /** A symbolic link's target. */
  byte[] readlink(long id) throws VfsException {
    Node node = node(id, "readlink");
    if (node.type() != Stat.S_IFLNK) {
      throw failure(Errno.EINVAL, "readlink", node);
    }
    return node.target.clone();
  }

  void setxattr(long id, byte[] bytes, byte[] value, int flags) throws VfsException {
    Node node = node(id, "setxattr");
    Name name = new Name(bytes);
    checkXattr(node, name, "setxattr");
    checkNotSealed(node, "setxattr");
    if (value.length > XATTR_VALUE_MAX) {
      throw failure(Errno.E2BIG, "setxattr", node);
    }
    state.write().lock();
    try {
      boolean there = node.xattrs != null && node.xattrs.containsKey(name);
      if ((flags & FileOperations.XATTR_CREATE) != 0 && there) {
        throw failure(Errno.EEXIST, "setxattr", node);
      }
      if ((flags & FileOperations.XATTR_REPLACE) != 0 && !there) {
        throw failure(Errno.ENODATA, "setxattr", node);
      }
      putXattr(node, name, value.clone(), "setxattr");
    } finally {
      state.write().unlock();
    }
  }

  void removexattr(long id, byte[] bytes) throws VfsException {
    Node node = node(id, "removexattr");
    Name name = new Name(bytes);
    checkXattr(node, name, "removexattr");
    checkNotSealed(node, "removexattr");
    state.write().lock();
    try {
      if (node.xattrs == null || !node.xattrs.containsKey(name)) {
        throw failure(Errno.ENODATA, "removexattr", node);
      }
      putXattr(node, name, null, "removexattr");
    } finally {
      state.write().unlock();
    }
  }

  private void putXattr(Node node, Name name, byte[] value, String operation) throws VfsException {
    List<Change> changes = new ArrayList<>();
    journal(node, changes);
    changes.add(new Change.SetXattr(node.id, name, value));
    changes.add(changed(node, state.now()));
    state.commit(changes, operation, path(node));
  }

  private static void checkXattr(Node node, Name name, String operation) throws VfsException {
    if (name.length() > Name.MAX_BYTES) {
      throw failure(Errno.ERANGE, operation, node);
    }
    String text = name.toString();
    if (!text.startsWith("user.")
        && !text.startsWith("trusted.")
        && !text.startsWith("security.")) {
      throw failure(Errno.EOPNOTSUPP, operation, node);
    }
  }

  Optional<byte[]> getxattr(long id, byte[] bytes) throws VfsException {
    Node node = node(id, "getxattr");
    state.read().lock();
    try {
      byte[] value = node.xattrs == null ? null : node.xattrs.get(new Name(bytes));
      return Optional.ofNullable(value).map(byte[]::clone);
    } finally {
      state.read().unlock();
    }
  }

  List<byte[]> listxattr(long id) throws VfsException {
    Node node = node(id, "listxattr");
    state.read().lock();
    try {
      return node.xattrs == null
          ? List.of()
          : node.xattrs.keySet().stream()
              .map(name -> Arrays.copyOf(name.bytes(), name.length()))
              .toList();
    } finally {
      state.read().unlock();
    }
  }
}
