package org.lifeboat.vfs;

import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The names in a directory.
 *
 * <p>A reader of a directory comes back with the cookie of the last entry that it got, while others
 * make and remove names. So a name gets the next number of its directory when it is made, the order
 * is the order of these numbers, and going on means: what has a greater one. Whatever was there all
 * the time is seen exactly once. The numbers are journalled: a reader may go on at the next engine.
 * Positions in a hash table were rejected (they move when it grows), and a tree by number as well
 * (40 bytes more for each of a million names): the order is an array into which names are only ever
 * appended, and out of which the removed ones are dropped when they are the half of it.
 *
 * <p>Guarded by the lock of {@link State}; {@link #listing} is taken before that.
 */
final class Children {

  /** The cookies of {@code .} and {@code ..}. */
  static final long SELF = 1;

  static final long UP = 2;
  private static final Child[] NONE = {};

  private final Map<Name, Child> names = new HashMap<>();
  private Child[] order = NONE;
  private int used;
  private int directories;
  private long last = UP;
  private long skipped = UP;

  /** All names of the store are here. */
  boolean complete;

  /** Until then the store need not be asked about what is here; nanoTime's, if not for ever. */
  long validUntil;

  /** Whether it was ever listed from the store, so that {@link #validUntil} means something. */
  boolean listed;

  /** Counts the listings; guarded by {@link #listing}. */
  int round;

  /** Held while the store is asked about this directory. */
  final ReentrantLock listing = new ReentrantLock();

  Child get(Name name) {
    return names.get(name);
  }

  int size() {
    return names.size();
  }

  boolean isEmpty() {
    return names.isEmpty();
  }

  /** How many of them are directories. */
  int directories() {
    return directories;
  }

  Collection<Child> all() {
    return names.values();
  }

  /** The last cookie that the journal knows of. */
  long lastCookie() {
    return skipped;
  }

  /** No cookie up to this one is given any more; the journal knows that. */
  void skipTo(long cookie) {
    skipped = Math.max(skipped, cookie);
    last = Math.max(last, cookie);
  }

  long nextCookie() {
    return last + 1;
  }

  /** At its cookie, which mostly is the last; what the store told comes in any order. */
  void put(Child child) {
    int at = used > 0 && child.cookie <= order[used - 1].cookie ? firstAfter(child.cookie) : used;
    if (at > 0 && order[at - 1].cookie == child.cookie) {
      throw new IllegalStateException("cookie " + child.cookie + " of " + child.name + " is taken");
    }
    if (names.putIfAbsent(child.name, child) != null) {
      throw new IllegalStateException(child.name + " is there already");
    }
    if (used == order.length) {
      order = Arrays.copyOf(order, Math.max(4, used + (used >> 1)));
    }
    System.arraycopy(order, at, order, at + 1, used - at);
    order[at] = child;
    used++;
    last = Math.max(last, child.cookie);
    if (child.node.isDirectory()) {
      directories++;
    }
  }

  Child cut(Name name) {
    Child child = names.remove(name);
    if (child == null) {
      throw new IllegalStateException("there is no " + name);
    }
    child.gone = true;
    if (child.node.isDirectory()) {
      directories--;
    }
    if (names.size() < used / 2 || names.isEmpty()) {
      compact();
    }
    return child;
  }

  private void compact() {
    int kept = 0;
    for (int i = 0; i < used; i++) {
      if (!order[i].gone) {
        order[kept++] = order[i];
      }
    }
    Arrays.fill(order, kept, used, null);
    used = kept;
    if (kept == 0) {
      order = NONE;
    } else if (kept < order.length / 4) {
      order = Arrays.copyOf(order, kept);
    }
  }

  /** The first name with a greater cookie; null if there is none. */
  Child after(long cookie) {
    int at = firstAfter(cookie);
    while (at < used && order[at].gone) {
      at++;
    }
    return at < used ? order[at] : null;
  }

  private int firstAfter(long cookie) {
    int low = 0;
    int high = used;
    while (low < high) {
      int middle = (low + high) >>> 1;
      if (order[middle].cookie <= cookie) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}
