package org.lifeboat.vfs;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.lifeboat.store.Keys;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.ObjectStore.DirectoryEntry;
import org.lifeboat.store.ObjectStore.DirectoryPage;
import org.lifeboat.store.ObjectStore.ObjectInfo;
import org.lifeboat.store.StoreException;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.Stat;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Brings what the stores have into the {@link Tree}, when somebody asks for it.
 *
 * <p>A directory is listed, one level of it, when a name in it is first asked for: one request
 * answers for a thousand names, and for those that are not there. When there are more than fit into
 * a page, each name is asked for alone, until somebody reads the whole directory. Below the home,
 * where only this mount writes, that is done once; elsewhere again after {@link
 * TreeOptions#otherValid}, and what others changed meanwhile is taken over, but not what is open,
 * changed or renamed here.
 *
 * <p>What was removed or renamed here and is still in the store is not shown ({@link Change.Gone}).
 * Where a store has both the object {@code a} and something below {@code a/}, the directory is
 * shown.
 */
final class Listings implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(Listings.class);

  private final State state;
  private final Tree tree;
  private final TreeOptions options;
  private final Waits waits;
  private final Volumes volumes;
  private final Map<Long, Volume> open = new ConcurrentHashMap<>();
  private final long began;

  Listings(State state, TreeOptions options, Waits waits, Volumes volumes) {
    this.state = state;
    this.tree = state.tree();
    this.options = options;
    this.waits = waits;
    this.volumes = volumes;
    this.began = state.now();
  }

  /** The volume with that root, opened if need be. */
  Volume volume(long root, String operation) throws VfsException {
    Volume volume = open.get(root);
    if (volume != null) {
      return volume;
    }
    Child place;
    state.read().lock();
    try {
      place = tree.node(root).place();
    } finally {
      state.read().unlock();
    }
    return volume(root, place.parent.place().name, place.name, operation);
  }

  private Volume volume(long root, Name scheme, Name name, String operation) throws VfsException {
    synchronized (open) {
      Volume volume = open.get(root);
      if (volume == null) {
        volume = new Volume(root, openStore(scheme, name, operation));
        open.put(root, volume);
      }
      return volume;
    }
  }

  private ObjectStore openStore(Name scheme, Name name, String operation) throws VfsException {
    String path = "/" + scheme + "/" + name;
    try {
      return volumes.open(scheme.text(), name.text());
    } catch (IllegalArgumentException e) {
      throw new VfsException(Errno.ENOENT, operation, path, path + ": " + e.getMessage(), "", e);
    } catch (StoreException e) {
      throw failed(e, operation, path);
    }
  }

  private static VfsException failed(StoreException e, String operation, String path) {
    VfsException failure = Failures.of(e, operation, path);
    if (e.kind() != StoreException.Kind.INTERRUPTED) {
      log.warn("{} {}: {}", operation, path, e.getMessage());
    }
    return failure;
  }

  /** Sees to it that what the store has of that name is in the tree. */
  void ensure(Node directory, Name name, String operation) throws VfsException {
    if (!isKnown(directory, name)) {
      waits.call(
          () -> {
            directory.children.listing.lockInterruptibly();
            try {
              if (!isKnown(directory, name)) {
                ask(directory, name, operation);
              }
            } finally {
              directory.children.listing.unlock();
            }
            return null;
          });
    }
  }

  /** Sees to it that all that the store has in a directory is in the tree. */
  void ensureAll(Node directory, String operation) throws VfsException {
    if (!isKnown(directory)) {
      waits.call(
          () -> {
            directory.children.listing.lockInterruptibly();
            try {
              if (!isKnown(directory)) {
                list(directory, operation, false);
              }
            } finally {
              directory.children.listing.unlock();
            }
            return null;
          });
    }
  }

  /** Asks the store about a file that turned out to be another one there. */
  void refresh(Node file, String operation) throws VfsException {
    Child place = file.place();
    Origin origin = place == null ? null : place.parent.origin;
    if (origin != null) {
      waits.call(
          () -> {
            place.parent.children.listing.lockInterruptibly();
            try {
              probe(place.parent, origin, place.name, operation, true);
            } finally {
              place.parent.children.listing.unlock();
            }
            return null;
          });
    }
  }

  private boolean isKnown(Node directory) {
    state.read().lock();
    try {
      return directory.origin == null || (directory.children.complete && isFresh(directory));
    } finally {
      state.read().unlock();
    }
  }

  private boolean isKnown(Node directory, Name name) {
    state.read().lock();
    try {
      Child child = directory.children.get(name);
      if (isScheme(directory)) {
        return child != null;
      }
      if (directory.origin == null || (directory.children.complete && isFresh(directory))) {
        return true;
      }
      return child != null && !isOfStore(child);
    } finally {
      state.read().unlock();
    }
  }

  private static boolean isScheme(Node directory) {
    return directory.id != FileOperations.ROOT && Tree.isFixed(directory.id);
  }

  private boolean isFresh(Node directory) {
    return directory.children.listed && state.now() < directory.children.validUntil;
  }

  /** Whether the store may say something new of it. */
  private static boolean isOfStore(Child child) {
    Node node = child.node;
    return node.origin != null
        && !node.dirty
        && node.writers == 0
        && node.origin.isIn(child.parent.origin, child.name);
  }

  private void ask(Node directory, Name name, String operation) throws VfsException {
    if (isScheme(directory)) {
      findVolume(directory, name, operation);
      return;
    }
    Origin origin = directory.origin;
    boolean askOne;
    state.read().lock();
    try {
      askOne = isFresh(directory) && !directory.children.complete;
    } finally {
      state.read().unlock();
    }
    if (askOne) {
      probe(directory, origin, name, operation, false);
    } else if (!list(directory, operation, !origin.isHome() || isSealed(directory))) {
      probe(directory, origin, name, operation, false);
    }
  }

  private void findVolume(Node scheme, Name name, String operation) throws VfsException {
    if (!name.isUtf8()) {
      return;
    }
    Name schemeName = scheme.place().name;
    String path = "/" + schemeName + "/" + name;
    long root;
    state.read().lock();
    try {
      root = tree.volumeId(schemeName, name);
    } finally {
      state.read().unlock();
    }
    ObjectStore store;
    DirectoryPage page;
    try {
      store = openStore(schemeName, name, operation);
    } catch (VfsException e) {
      if (e.errno() == Errno.ENOENT) {
        return;
      }
      throw e;
    }
    try {
      page = store.listDirectory("", "");
    } catch (StoreException e) {
      store.close();
      if (e.kind() == StoreException.Kind.NO_STORE || e.kind() == StoreException.Kind.NOT_FOUND) {
        return;
      }
      throw failed(e, operation, path);
    }
    state.write().lock();
    try {
      putVolume(scheme, name, root, operation);
      open.put(root, new Volume(root, store));
      Node node = tree.node(root);
      merge(node, page.entries(), !page.more(), 0, operation);
    } finally {
      state.write().unlock();
    }
  }

  private void putVolume(Node scheme, Name name, long root, String operation) throws VfsException {
    boolean home =
        options
            .home()
            .filter(
                h ->
                    h.key().isEmpty()
                        && h.volume().equals(name.text())
                        && h.scheme().equals(scheme.place().name.text()))
            .isPresent();
    Change.PutNode put = directory(root, Origin.volume(root, home));
    long cookie = scheme.children.nextCookie();
    state.commit(
        List.of(put, new Change.PutChild(scheme.id, name, root, cookie)),
        operation,
        "/" + scheme.place().name + "/" + name);
  }

  /**
   * Makes the directories on the way to the home, also where nothing is in the store yet, and it
   * itself. An earlier mount of this cache may have had another home: that is a directory as others
   * now. The lock must be held for writing.
   */
  void putHome() throws VfsException {
    for (Node node : tree.nodes()) {
      if (node.origin != null) {
        node.origin =
            node.origin.withHome(options.home().filter(h -> isIn(h, node.origin)).isPresent());
      }
    }
    if (options.home().isPresent()) {
      putHome(options.home().get());
    }
  }

  private boolean isIn(TreeOptions.Home home, Origin origin) {
    Child volume = tree.node(origin.volume()).place();
    return volume.name.text().equals(home.volume())
        && volume.parent.place().name.text().equals(home.scheme())
        && (home.key().isEmpty() || origin.prefix().startsWith(home.key() + "/"));
  }

  private void putHome(TreeOptions.Home home) throws VfsException {
    Node scheme =
        tree.root().children.all().stream()
            .filter(child -> child.name.text().equals(home.scheme()))
            .map(child -> child.node)
            .findFirst()
            .orElseThrow(() -> new IllegalArgumentException("there is no scheme " + home.scheme()));
    Name volume = Name.of(home.volume());
    if (scheme.children.get(volume) == null) {
      putVolume(scheme, volume, tree.volumeId(scheme.place().name, volume), "mount");
    }
    Node node = scheme.children.get(volume).node;
    String[] segments = home.key().isEmpty() ? new String[0] : home.key().split("/");
    for (int i = 0; i < segments.length; i++) {
      Name name = Name.of(segments[i]);
      Child child = node.children.get(name);
      if (child == null) {
        Origin origin = node.origin.directory(name, i == segments.length - 1);
        long id = tree.foreignId(origin.volume(), origin.key());
        List<Change> changes = new ArrayList<>();
        changes.add(directory(id, origin));
        changes.add(new Change.PutChild(node.id, name, id, node.children.nextCookie()));
        state.commit(changes, "mount", home.key());
        child = node.children.get(name);
      }
      node = child.node;
      if (!node.kept) {
        state.commit(List.of(Namespace.changed(node, node.ctime)), "mount", home.key());
      }
    }
  }

  /**
   * Lists a directory.
   *
   * @param onePage do no more than one request
   * @return whether all of it is known now
   */
  private boolean list(Node directory, String operation, boolean onePage) throws VfsException {
    Origin origin = directory.origin;
    String prefix = origin.prefix();
    Volume volume = volume(origin.volume(), operation);
    int round = ++directory.children.round;
    String after = "";
    while (true) {
      DirectoryPage page;
      try {
        page = volume.store().listDirectory(prefix, after);
      } catch (StoreException e) {
        if (e.kind() != StoreException.Kind.NO_STORE) {
          throw failed(e, operation, volume.store().url() + "/" + prefix);
        }
        page = new DirectoryPage(List.of(), false); // of a directory that is not made yet
      }
      boolean all = !page.more();
      state.write().lock();
      try {
        merge(directory, page.entries(), all, round, operation);
      } finally {
        state.write().unlock();
      }
      if (all || onePage) {
        return all;
      }
      after = page.entries().getLast().key();
    }
  }

  /** Asks about one name. */
  private void probe(Node directory, Origin origin, Name name, String operation, boolean fileOnly)
      throws VfsException {
    if (!name.isUtf8() || !Keys.isSegment(name.text())) {
      return;
    }
    String key = origin.prefix() + name.text();
    if (Name.of(key).length() > Keys.MAX_BYTES) {
      return;
    }
    Volume volume = volume(origin.volume(), operation);
    List<DirectoryEntry> found = new ArrayList<>();
    try {
      if (!fileOnly && !volume.store().listDirectory(key + "/", "").entries().isEmpty()) {
        found.add(new ObjectStore.Directory(key + "/"));
      } else {
        Optional<ObjectInfo> object = volume.store().head(key);
        object.ifPresent(found::add);
      }
    } catch (StoreException e) {
      throw failed(e, operation, volume.store().url().of(key));
    }
    state.write().lock();
    try {
      if (directory.origin != origin) {
        return;
      }
      put(directory, found, 0, operation);
      Child child = directory.children.get(name);
      if (found.isEmpty() && child != null) {
        dropIfVanished(child, operation);
      }
    } finally {
      state.write().unlock();
    }
  }

  /** The lock must be held for writing. */
  private void merge(
      Node directory, List<DirectoryEntry> entries, boolean all, int round, String operation)
      throws VfsException {
    put(directory, entries, round, operation);
    Children children = directory.children;
    if (all) {
      for (Child child : List.copyOf(children.all())) {
        if (child.round != round) {
          dropIfVanished(child, operation);
        }
      }
      children.complete = true;
    }
    children.listed = true;
    boolean forEver = directory.origin.isHome() && !isSealed(directory);
    children.validUntil = forEver ? Long.MAX_VALUE : state.now() + options.otherValid().toNanos();
  }

  private void put(Node directory, List<DirectoryEntry> entries, int round, String operation)
      throws VfsException {
    Origin origin = directory.origin;
    int prefix = origin.prefix().length();
    boolean sealed = isSealed(directory) && isSealRoot(directory);
    for (DirectoryEntry entry : entries) {
      String text = entry.key().substring(prefix);
      boolean isDirectory = entry instanceof ObjectStore.Directory;
      Name name = Name.of(isDirectory ? text.substring(0, text.length() - 1) : text);
      if (name.length() > Name.MAX_BYTES || (sealed && name.equals(ATTRIBUTES))) {
        continue;
      }
      Child child = directory.children.get(name);
      if (child == null) {
        if (!isHidden(origin, name, entry)) {
          putNew(directory, name, entry).round = round;
        }
        continue;
      }
      child.round = round;
      if (child.node.isDirectory() != isDirectory) {
        if (isDirectory && isRemovable(child)) {
          drop(child, operation);
          putNew(directory, name, entry).round = round;
        }
      } else if (entry instanceof ObjectInfo info) {
        update(child, info, operation);
      }
    }
  }

  private boolean isHidden(Origin directory, Name name, DirectoryEntry entry) {
    String key = directory.prefix() + name.text();
    return switch (tree.hiddenAt(directory.volume(), key)) {
      case null -> false;
      case Change.Hidden.File(String version) ->
          entry instanceof ObjectInfo info && info.version().equals(version);
      case Change.Hidden.Directory(), Change.Hidden.Moved() ->
          entry instanceof ObjectStore.Directory;
    };
  }

  private Child putNew(Node directory, Name name, DirectoryEntry entry) {
    long volume = directory.origin.volume();
    Change.PutNode put;
    long id = tree.foreignId(volume, directory.origin.prefix() + name.text());
    if (entry instanceof ObjectInfo info) {
      put = file(id, directory.origin.object(name, info), info);
    } else {
      boolean home =
          options
              .home()
              .filter(h -> !directory.origin.isHome() && isHome(h, directory, name))
              .isPresent();
      put = directory(id, directory.origin.directory(name, home));
    }
    tree.putForeign(put, directory, name);
    return directory.children.get(name);
  }

  private boolean isHome(TreeOptions.Home home, Node directory, Name name) {
    if (!home.key().equals(directory.origin.prefix() + name.text())) {
      return false;
    }
    Child volume = tree.node(directory.origin.volume()).place();
    return volume.name.text().equals(home.volume())
        && volume.parent.place().name.text().equals(home.scheme());
  }

  private Change.PutNode file(long id, Origin origin, ObjectInfo info) {
    long time = info.lastModifiedMillis() * 1_000_000;
    return new Change.PutNode(
        id,
        Stat.S_IFREG | options.fileMode(),
        options.uid(),
        options.gid(),
        time,
        time,
        time,
        0,
        info.size(),
        0,
        false,
        false,
        origin,
        null,
        null);
  }

  private Change.PutNode directory(long id, Origin origin) {
    return new Change.PutNode(
        id,
        Stat.S_IFDIR | options.directoryMode(),
        options.uid(),
        options.gid(),
        began,
        began,
        began,
        0,
        0,
        0,
        false,
        false,
        origin,
        null,
        null);
  }

  /** Another version of a file. */
  private void update(Child child, ObjectInfo info, String operation) throws VfsException {
    Node node = child.node;
    if (!isOfStore(child) || node.handles > 0 || node.origin.version().equals(info.version())) {
      return;
    }
    Origin origin = child.parent.origin.object(child.name, info);
    Change.PutNode fresh = file(node.id, origin, info);
    Change.PutNode put =
        new Change.PutNode(
            node.id,
            node.mode,
            node.uid,
            node.gid,
            fresh.atime(),
            fresh.mtime(),
            fresh.ctime(),
            0,
            fresh.size(),
            0,
            false,
            node.kept,
            origin,
            null,
            node.xattrs);
    if (node.journalled) {
      state.commit(List.of(put), operation, child.name.toString());
    } else {
      tree.apply(put);
      node.journalled = false;
    }
  }

  private void dropIfVanished(Child child, String operation) throws VfsException {
    if (isRemovable(child)) {
      drop(child, operation);
    }
  }

  /** Whether it and all below is nothing but what the store told. */
  private static boolean isRemovable(Child child) {
    Node node = child.node;
    if (node.kept || node.origin == null || node.dirty || node.handles > 0) {
      return false;
    }
    if (!node.origin.isIn(child.parent.origin, child.name)) {
      return false;
    }
    return !node.isDirectory() || node.children.all().stream().allMatch(Listings::isRemovable);
  }

  private void drop(Child child, String operation) throws VfsException {
    if (isOnlyInMemory(child.node)) {
      tree.dropForeign(child.node);
      return;
    }
    if (child.node.isDirectory()) {
      for (Child below : List.copyOf(child.node.children.all())) {
        drop(below, operation);
      }
    }
    List<Change> changes = new ArrayList<>();
    changes.add(new Change.CutChild(child.parent.id, child.name));
    if (!child.node.isHeld()) {
      changes.add(new Change.Remove(child.node.id));
    }
    state.commit(changes, operation, child.name.toString());
  }

  private static boolean isOnlyInMemory(Node node) {
    return !node.journalled
        && (!node.isDirectory()
            || node.children.all().stream().allMatch(child -> isOnlyInMemory(child.node)));
  }

  private static final Name FUSION = Name.of(".fusion");
  private static final Name ATTRIBUTES = Name.of("attributes");

  /** Whether this is the home's {@code .fusion}. */
  private static boolean isSealRoot(Node node) {
    Child place = node.place();
    return place != null && place.name.equals(FUSION) && isHomeRoot(place.parent);
  }

  /** Whether the home begins here. */
  static boolean isHomeRoot(Node node) {
    if (node.origin == null || !node.origin.isHome()) {
      return false;
    }
    Child place = node.place();
    return place == null || place.parent.origin == null || !place.parent.origin.isHome();
  }

  /** Whether that name is one that the mount keeps to itself. */
  static boolean isSealed(Node directory, Name name) {
    return (name.equals(FUSION) && isHomeRoot(directory)) || isSealed(directory);
  }

  /** Whether it is the home's {@code .fusion} or below it. */
  static boolean isSealed(Node node) {
    for (Node at = node; at.place() != null; at = at.place().parent) {
      if (isSealRoot(at)) {
        return true;
      }
    }
    return false;
  }

  @Override
  public void close() {
    open.values().forEach(volume -> volume.store().close());
  }
}
