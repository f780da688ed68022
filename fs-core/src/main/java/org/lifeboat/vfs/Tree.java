package org.lifeboat.vfs;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import org.lifeboat.sys.Stat;

/**
 * All nodes and names, and what is known of the store that they hide.
 *
 * <p>It changes in one way only, by {@link #apply}, of changes that the journal has taken before:
 * so what the next engine reads there can't be anything else than what this one had. What is only
 * in memory (open handles for reading, the kernel's references, names of the store that nobody has
 * asked for) lies beside, in fields of {@link Node} and {@link Children}.
 *
 * <p><b>Node ids</b> are inode numbers, 64 bit, never given twice. What is made here gets the next
 * number of a counter that the journal keeps. What the store has, and nobody has changed, gets bit
 * 62 and 62 bits of a hash of volume and key: the same on each host and at each mount without any
 * record. Where two collide, the later one gets the next number that is free.
 *
 * <p>Not thread-safe, but for {@link #node}: see {@link State}.
 */
final class Tree {

  static final long FOREIGN = 1L << 62;

  /** The fixed directories below the root. */
  static final List<Name> SCHEMES = List.of(Name.of("s3"), Name.of("gs"), Name.of("file"));

  private static final long FIRST_ID = 16;
  private static final int EXCHANGES = 64;

  private final Map<Long, Node> nodes = new ConcurrentHashMap<>();
  private final Map<Long, SortedMap<String, Change.Hidden>> hidden = new TreeMap<>();
  private final SortedMap<Long, Long> writers = new TreeMap<>();
  private final Deque<Change.Exchanged> exchanges = new ArrayDeque<>();
  private int generation;
  private long nextId = FIRST_ID;

  Tree() {
    Node root = fixed(FileOperations.ROOT);
    for (int i = 0; i < SCHEMES.size(); i++) {
      Node scheme = fixed(FileOperations.ROOT + 1 + i);
      Child child = new Child(root, SCHEMES.get(i), scheme, root.children.nextCookie());
      root.children.put(child);
      scheme.arrive(child);
    }
  }

  private Node fixed(long id) {
    Node node = new Node(id, Stat.S_IFDIR | 0755);
    node.children.complete = true;
    node.journalled = true;
    nodes.put(id, node);
    return node;
  }

  /** Whether it is the root or a scheme's directory. */
  static boolean isFixed(long id) {
    return id <= FileOperations.ROOT + SCHEMES.size();
  }

  /** Null if there is none. For any thread. */
  Node node(long id) {
    return nodes.get(id);
  }

  Node root() {
    return nodes.get(FileOperations.ROOT);
  }

  Collection<Node> nodes() {
    return nodes.values();
  }

  int generation() {
    return generation;
  }

  long nextId() {
    return nextId;
  }

  /** A number for something of the store that has none yet. */
  long foreignId(long volume, String key) {
    return freeId(hash(volume, key));
  }

  /** A number for a volume's root. */
  long volumeId(Name scheme, Name volume) {
    return freeId(hash(0, scheme.text() + "/" + volume.text()));
  }

  private long freeId(long hash) {
    long id = FOREIGN | (hash >>> 2);
    while (nodes.containsKey(id)) {
      id = FOREIGN | ((id + 1) & (FOREIGN - 1));
    }
    return id;
  }

  /** FNV-1a over the volume's root, and the key's characters, mixed. On disks: never to change. */
  private static long hash(long volume, String key) {
    long h = 0xcbf29ce484222325L;
    for (int shift = 0; shift < 64; shift += 8) {
      h = (h ^ ((volume >>> shift) & 0xff)) * 0x100000001b3L;
    }
    for (int i = 0; i < key.length(); i++) {
      h = (h ^ key.charAt(i)) * 0x100000001b3L;
    }
    h = (h ^ (h >>> 33)) * 0xff51afd7ed558ccdL;
    h = (h ^ (h >>> 33)) * 0xc4ceb9fe1a85ec53L;
    return h ^ (h >>> 33);
  }

  /** What is not shown at a key of the store; null if it is as the store has it. */
  Change.Hidden hiddenAt(long volume, String key) {
    SortedMap<String, Change.Hidden> keys = hidden.get(volume);
    return keys == null ? null : keys.get(key);
  }

  /** All keys of a volume that are not shown. */
  SortedMap<String, Change.Hidden> hidden(long volume) {
    return hidden.getOrDefault(volume, new TreeMap<>());
  }

  /** Handles that may write, of this engine and of earlier ones, with their nodes. */
  SortedMap<Long, Long> writers() {
    return writers;
  }

  /** Whether these names were exchanged, not long ago. */
  boolean wasExchanged(Change.Exchanged exchange) {
    return exchanges.contains(exchange);
  }

  /** Puts what the store has into memory, without the journal. */
  Node putForeign(Change.PutNode put, Node parent, Name name) {
    put(put);
    Node node = nodes.get(put.id());
    node.journalled = false;
    Child child = new Child(parent, name, node, parent.children.nextCookie());
    parent.children.put(child);
    node.arrive(child);
    return node;
  }

  /** Takes what only memory had of the store out of it again, and all below. */
  void dropForeign(Node node) {
    if (node.isDirectory()) {
      for (Child child : List.copyOf(node.children.all())) {
        dropForeign(child.node);
      }
    }
    Child place = node.place();
    place.parent.children.cut(place.name);
    node.leave(place);
    nodes.remove(node.id);
  }

  /**
   * @throws IllegalStateException if this can't follow what there is; nothing has happened then
   */
  void apply(Change change) {
    switch (change) {
      case Change.PutNode put -> {
        put(put);
        nodes.get(put.id()).journalled = true;
      }
      case Change.PutChild(long parent, Name name, long id, long cookie) -> {
        Node directory = directory(parent);
        Node node = known(id);
        Child there = directory.children.get(name);
        if (there != null && there.node == node && there.cookie == cookie) {
          directory.children.skipTo(cookie);
          return; // of the store, in memory already
        }
        Child child = new Child(directory, name, node, cookie);
        directory.children.put(child);
        directory.children.skipTo(cookie);
        node.arrive(child);
      }
      case Change.CutChild(long parent, Name name) -> {
        Child child = directory(parent).children.cut(name);
        child.node.leave(child);
      }
      case Change.Remove(long id) -> {
        Node node = known(id);
        if (!node.isNameless()) {
          throw new IllegalStateException("node " + id + " has a name and can't be removed");
        }
        nodes.remove(id);
      }
      case Change.SetAttributes(
              long id,
              int mode,
              int uid,
              int gid,
              long atime,
              long mtime,
              long ctime) -> {
        Node node = known(id);
        node.mode = mode;
        node.uid = uid;
        node.gid = gid;
        node.atime = atime;
        node.mtime = mtime;
        node.ctime = ctime;
        node.kept = true;
      }
      case Change.SetContent(
              long id,
              long size,
              long mtime,
              long ctime,
              long seen,
              boolean dirty) -> {
        Node node = known(id);
        node.size = size;
        node.mtime = mtime;
        node.ctime = ctime;
        node.seen = seen;
        node.dirty = dirty;
        node.kept = true;
      }
      case Change.SetOrigin(long id, Origin origin) -> known(id).origin = origin;
      case Change.SetXattr(long id, Name name, byte[] value) -> {
        Node node = known(id);
        SortedMap<Name, byte[]> xattrs =
            node.xattrs == null ? new TreeMap<>() : new TreeMap<>(node.xattrs);
        if (value == null) {
          xattrs.remove(name);
        } else {
          xattrs.put(name, value);
        }
        node.xattrs = xattrs.isEmpty() ? null : xattrs;
        node.kept = true;
      }
      case Change.Opened(long handle, long id) -> {
        known(id);
        writers.put(handle, id);
      }
      case Change.Closed(long handle) -> writers.remove(handle);
      case Change.Gone(long volume, String key, Change.Hidden what) ->
          hidden.computeIfAbsent(volume, v -> new TreeMap<>()).put(key, what);
      case Change.Back(long volume, String key) -> {
        SortedMap<String, Change.Hidden> keys = hidden.get(volume);
        if (keys != null) {
          keys.remove(key);
          if (keys.isEmpty()) {
            hidden.remove(volume);
          }
        }
      }
      case Change.Begin(int number, long next) -> {
        generation = Math.max(generation, number);
        nextId = Math.max(nextId, next);
      }
      case Change.Exchanged exchange -> {
        exchanges.remove(exchange);
        exchanges.add(exchange);
        if (exchanges.size() > EXCHANGES) {
          exchanges.removeFirst();
        }
      }
    }
  }

  private Node known(long id) {
    Node node = nodes.get(id);
    if (node == null) {
      throw new IllegalStateException("there is no node " + id);
    }
    return node;
  }

  private Node directory(long id) {
    Node node = known(id);
    if (!node.isDirectory()) {
      throw new IllegalStateException("node " + id + " is no directory");
    }
    return node;
  }

  private void put(Change.PutNode put) {
    Node node = nodes.get(put.id());
    if (node == null) {
      node = new Node(put.id(), put.mode());
      nodes.put(put.id(), node);
      if (node.isDirectory()) {
        node.children.complete = put.origin() == null;
      }
    } else if (node.type() != (put.mode() & Stat.S_IFMT)) {
      throw new IllegalStateException("node " + put.id() + " changes its type");
    }
    node.mode = put.mode();
    node.uid = put.uid();
    node.gid = put.gid();
    node.atime = put.atime();
    node.mtime = put.mtime();
    node.ctime = put.ctime();
    node.rdev = put.rdev();
    node.seen = put.seen();
    node.dirty = put.dirty();
    node.kept = put.kept();
    node.origin = put.origin();
    node.target = put.target();
    node.xattrs = put.xattrs();
    if (node.isDirectory()) {
      node.children.skipTo(put.size());
    } else {
      node.size = put.size();
    }
    if ((put.id() & FOREIGN) == 0) {
      nextId = Math.max(nextId, put.id() + 1);
    }
  }

  /**
   * The changes that make this state of an empty tree, in an order that depends on nothing else.
   * Left out is what the store tells anyhow and the kernel does not know.
   *
   * @return the nodes that are in it
   */
  Set<Node> describe(Consumer<Change> to) {
    to.accept(new Change.Begin(generation, nextId));
    Set<Node> wanted = new HashSet<>();
    for (Node node : nodes.values()) {
      if (node.kept || (node.journalled && (node.isHeld() || node.isNameless()))) {
        want(node, wanted);
      }
    }
    for (long volume : hidden.keySet()) {
      want(known(volume), wanted);
    }
    for (long node : writers.values()) {
      want(known(node), wanted);
    }
    List<Node> sorted = new ArrayList<>(wanted);
    sorted.sort(Comparator.comparingLong(node -> node.id));
    List<Child> children = new ArrayList<>();
    for (Node node : sorted) {
      to.accept(Change.PutNode.of(node));
      for (Child place : node.places()) {
        if (!isFixed(node.id)) {
          children.add(place);
        }
      }
    }
    children.sort(
        Comparator.comparingLong((Child child) -> child.parent.id)
            .thenComparingLong(child -> child.cookie));
    for (Child child : children) {
      to.accept(new Change.PutChild(child.parent.id, child.name, child.node.id, child.cookie));
    }
    hidden.forEach(
        (volume, keys) ->
            keys.forEach((key, what) -> to.accept(new Change.Gone(volume, key, what))));
    writers.forEach((handle, node) -> to.accept(new Change.Opened(handle, node)));
    exchanges.forEach(to);
    return wanted;
  }

  /** With the directories on the way to it. */
  private static void want(Node node, Set<Node> wanted) {
    if (wanted.add(node)) {
      for (Child place : node.places()) {
        want(place.parent, wanted);
      }
    }
  }
}
