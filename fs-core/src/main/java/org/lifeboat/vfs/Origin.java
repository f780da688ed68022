package org.lifeboat.vfs;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.lifeboat.store.ObjectStore.ObjectInfo;

/**
 * What the store has of a node: an object, or for a directory the prefix that its objects have in
 * common. It does not change when the node gets another name: the object is still where it was,
 * until sync has copied it.
 *
 * <p>The key is kept as the last segment and the origin of the directory that it was found in: a
 * million objects of one directory share the rest. Immutable.
 */
final class Origin {

  private final long volume;
  private final Origin parent;
  private final Name last;
  private final boolean home;
  private final long size;
  private final String version;

  private Origin(long volume, Origin parent, Name last, boolean home, long size, String version) {
    this.volume = volume;
    this.parent = parent;
    this.last = last;
    this.home = home;
    this.size = size;
    this.version = version;
  }

  /** All of a volume. */
  static Origin volume(long volume, boolean home) {
    return new Origin(volume, null, null, home, 0, null);
  }

  /** An object or, with the version null, a prefix at that key. */
  static Origin at(long volume, String key, boolean home, long size, String version) {
    return key.isEmpty()
        ? volume(volume, home)
        : new Origin(volume, null, Name.of(key), home, size, version);
  }

  /** A prefix in this one; {@code home} where the mount's home begins. */
  Origin directory(Name name, boolean begin) {
    return new Origin(volume, this, name, home || begin, 0, null);
  }

  /** An object in this prefix. */
  Origin object(Name name, ObjectInfo info) {
    return new Origin(volume, this, name, home, info.size(), info.version());
  }

  /** The same, in a mount's home or not. */
  Origin withHome(boolean in) {
    return in == home ? this : new Origin(volume, parent, last, in, size, version);
  }

  /** The node of the volume's root. */
  long volume() {
    return volume;
  }

  /** Without a slash at the end; empty for the whole volume. */
  String key() {
    StringBuilder key = new StringBuilder();
    append(key);
    return key.toString();
  }

  private void append(StringBuilder key) {
    if (parent != null) {
      parent.append(key);
      if (!key.isEmpty()) {
        key.append('/');
      }
    }
    if (last != null) {
      key.append(last.text());
    }
  }

  /** What the keys of all that is below begin with. */
  String prefix() {
    String key = key();
    return key.isEmpty() ? "" : key + "/";
  }

  /** Whether the object is the one of that name in that prefix. */
  boolean isIn(Origin directory, Name name) {
    if (directory == null || volume != directory.volume || last == null) {
      return false;
    }
    return (parent == directory && last.equals(name))
        || key().equals(directory.prefix() + name.text());
  }

  boolean isDirectory() {
    return version == null;
  }

  /** Whether nobody but this mount is expected to write there. */
  boolean isHome() {
    return home;
  }

  /** The object's size in bytes. */
  long size() {
    return size;
  }

  /** The object's version; null for a prefix. */
  String version() {
    return version;
  }

  /** Whether both are the same bytes at the same place. */
  boolean same(Origin other) {
    return other != null
        && volume == other.volume
        && size == other.size
        && java.util.Objects.equals(version, other.version)
        && key().equals(other.key());
  }

  int keyBytes() {
    return key().getBytes(UTF_8).length;
  }
}
