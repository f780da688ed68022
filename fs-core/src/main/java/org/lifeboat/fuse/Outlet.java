package org.lifeboat.fuse;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.lifeboat.sys.Device;
import org.lifeboat.sys.Errno;

/**
 * Where threads that are no readers write to the device. They may come when the mount is gone, and
 * then the number of its descriptor may be another file's: so nothing is written once it is closed.
 * Thread-safe.
 */
final class Outlet {

  private final ReadWriteLock lock = new ReentrantReadWriteLock();
  private Device device;

  void open(Device to) {
    lock.writeLock().lock();
    try {
      device = to;
    } finally {
      lock.writeLock().unlock();
    }
  }

  /** Waits for who is writing. */
  void close() {
    lock.writeLock().lock();
    try {
      device = null;
    } finally {
      lock.writeLock().unlock();
    }
  }

  /** As {@link Device#write}; ENODEV where there is no mount. */
  long write(MemorySegment message) {
    lock.readLock().lock();
    try {
      return device == null ? -Errno.ENODEV.number() : device.write(message);
    } finally {
      lock.readLock().unlock();
    }
  }
}
