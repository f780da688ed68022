package org.lifeboat.cache;

import java.lang.foreign.Arena;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.sys.Stat;

/** Files that share disk blocks: the FICLONE ioctl. XFS (with reflink=1) and btrfs have it. */
final class Reflink {

  private Reflink() {}

  /** Makes {@code to} share the blocks of a file; removes it again where that can't be. */
  static Seal clone(OpenFile from, BytePath to, CrashPoints points) throws ErrnoException {
    Stat before = from.stat();
    boolean done = false;
    try (OpenFile copy = OpenFile.create(to)) {
      try {
        points.at(CachePoint.CACHE_SEALING);
        copy.cloneFrom(from);
        done = true;
        return new Seal.Sealed(to, before);
      } finally {
        if (!done) {
          Layout.remove(to);
        }
      }
    } catch (ErrnoException e) {
      if (!e.call().startsWith("ioctl")) {
        throw e;
      }
      return switch (e.errno()) {
        case EOPNOTSUPP, ENOTTY, ENOSYS, EINVAL, EXDEV ->
            new Seal.CannotReflink(
                from.path() + " and " + to + " can't share blocks: " + e.errno());
        default -> throw e;
      };
    }
  }

  /** Tries it with two small files, which are gone afterwards. */
  static Seal probe(BytePath directory) throws ErrnoException {
    BytePath one = directory.resolve("reflink.tmp");
    BytePath other = directory.resolve("reflink-copy.tmp");
    Layout.remove(one);
    Layout.remove(other);
    try (OpenFile file = OpenFile.create(one);
        Arena arena = Arena.ofConfined()) {
      file.write(arena.allocate(8192).fill((byte) 1), 0);
      return clone(file, other, CrashPoints.NONE);
    } finally {
      Layout.remove(one);
      Layout.remove(other);
    }
  }
}
