package org.lifeboat.vfs;

import java.util.Collection;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

/** The open files of an engine and those that it took over. Thread-safe. */
final class Handles {

  private final int generation;
  private final Map<Long, Handle> open = new ConcurrentHashMap<>();
  private final AtomicInteger last = new AtomicInteger();

  Handles(int generation) {
    this.generation = generation;
  }

  /** A number that no open handle has. */
  long next(int access) {
    while (true) {
      int number = last.incrementAndGet() & Handle.MAX_NUMBER;
      long id = Handle.id(generation, number, access);
      if (!open.containsKey(id)) {
        return id;
      }
    }
  }

  boolean isOurs(long id) {
    return Handle.generation(id) == generation;
  }

  /** Null if it is not open. */
  Handle get(long id) {
    return open.get(id);
  }

  void put(Handle handle) {
    open.put(handle.id, handle);
  }

  /** Null if it was not open. */
  Handle remove(long id) {
    return open.remove(id);
  }

  Collection<Handle> all() {
    return open.values();
  }
}
