package org.lifeboat.files;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.random.RandomGenerator;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.sys.Stat;

/** Makes and mutates a tree with everything that a file system has. */
final class RandomTree {

  private final RandomGenerator random;
  private final List<BytePath> roots;
  private int counter;

  RandomTree(RandomGenerator random, List<BytePath> roots) {
    this.random = random;
    this.roots = roots;
  }

  /** Does {@code steps} random things. */
  void mutate(int steps) throws ErrnoException {
    for (int i = 0; i < steps; i++) {
      try {
        step();
      } catch (ErrnoException e) {
        switch (e.errno()) {
          case EEXIST, ENOTEMPTY, ENOENT, ENOTDIR, EISDIR, EINVAL, EBUSY -> {}
          default -> throw e;
        }
      }
    }
  }

  private void step() throws ErrnoException {
    BytePath directory = any(true);
    BytePath other = any(false);
    Stat stat = Libc.lstat(other);
    switch (random.nextInt(20)) {
      case 0, 1, 2, 3 -> write(directory.resolve(name()), false);
      case 4, 5 -> Libc.mkdir(directory.resolve(name()), 0700 | random.nextInt(0100));
      case 6 -> Libc.symlink(name(), directory.resolve(name()));
      case 7 -> Libc.mknod(directory.resolve(name()), Stat.S_IFIFO | 0600, 0);
      case 8 -> {
        if (stat.isRegular()) {
          Libc.link(other, directory.resolve(name()));
        }
      }
      case 9 -> write(directory.resolve(name()), true);
      case 10, 11 -> {
        if (stat.isRegular()) {
          overwrite(other, stat);
        }
      }
      case 12, 13 -> remove(other, stat);
      case 14 -> {
        if (!roots.contains(other)) {
          Libc.rename(other, directory.resolve(name()));
        }
      }
      case 15 -> {
        if (!stat.isSymlink()) {
          Libc.chmod(other, random.nextInt(010000) | 0700);
        }
      }
      case 16 -> Libc.lchown(other, random.nextInt(3000), random.nextInt(3000));
      case 17 ->
          Libc.setModified(
              other,
              Instant.ofEpochSecond(
                  random.nextLong(-100_000, 2_000_000_000L), random.nextInt(1_000_000_000)));
      case 18 -> {
        if (stat.isRegular() || stat.isDirectory()) {
          byte[] value = new byte[random.nextInt(300)];
          random.nextBytes(value);
          String namespace = random.nextBoolean() ? "user." : "trusted.";
          Libc.setXattr(other, (namespace + random.nextInt(4)).getBytes(UTF_8), value);
        }
      }
      default -> {
        if (stat.isRegular()) {
          Libc.setXattr(
              other,
              "security.capability".getBytes(UTF_8),
              new byte[] {1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
        } else {
          Libc.mknod(directory.resolve(name()), Stat.S_IFCHR | 0640, (5L << 32) | 1234);
        }
      }
    }
  }

  private byte[] name() {
    byte[] name = ("n" + random.nextInt(40)).getBytes(UTF_8);
    if (random.nextInt(8) == 0) {
      byte[] odd = new byte[1 + random.nextInt(4)];
      for (int i = 0; i < odd.length; i++) {
        int b = 1 + random.nextInt(255);
        odd[i] = (byte) (b == '/' || b == '.' ? 0xfe : b);
      }
      return odd;
    }
    return name;
  }

  private void write(BytePath path, boolean sparse) throws ErrnoException {
    try (OpenFile file = OpenFile.create(path)) {
      if (sparse) {
        long size = random.nextLong(1 << 23);
        file.truncate(size);
        for (int i = random.nextInt(3); i > 0; i--) {
          byte[] some = content(random.nextInt(100_000));
          file.write(direct(some), random.nextLong(Math.max(1, size - some.length)));
        }
      } else {
        int size = random.nextInt(6) == 0 ? random.nextInt(3 << 20) : random.nextInt(3000);
        file.write(direct(content(size)), 0);
      }
    }
  }

  private void overwrite(BytePath path, Stat stat) throws ErrnoException {
    try (OpenFile file = OpenFile.write(path)) {
      byte[] some = content(1 + random.nextInt(5000));
      file.write(direct(some), random.nextLong(stat.size() + 1));
      if (random.nextInt(4) == 0) {
        file.truncate(random.nextLong(stat.size() + 1));
      }
    }
  }

  private static MemorySegment direct(byte[] bytes) {
    MemorySegment segment = Arena.ofAuto().allocate(Math.max(1, bytes.length));
    MemorySegment.copy(bytes, 0, segment, ValueLayout.JAVA_BYTE, 0, bytes.length);
    return segment.asSlice(0, bytes.length);
  }

  private byte[] content(int size) {
    byte[] bytes = new byte[size];
    if (random.nextBoolean()) {
      random.nextBytes(bytes);
    } else {
      Arrays.fill(bytes, (byte) random.nextInt(3));
      byte[] mark = ("mark " + counter++).getBytes(UTF_8);
      System.arraycopy(mark, 0, bytes, 0, Math.min(size, mark.length));
    }
    return bytes;
  }

  private void remove(BytePath path, Stat stat) throws ErrnoException {
    if (roots.contains(path)) {
      return;
    }
    if (!stat.isDirectory()) {
      Libc.unlink(path);
      return;
    }
    if (random.nextInt(4) != 0) {
      return;
    }
    for (byte[] name : Libc.list(path)) {
      remove(path.resolve(name), Libc.lstat(path.resolve(name)));
    }
    Libc.rmdir(path);
  }

  private BytePath any(boolean directory) throws ErrnoException {
    List<BytePath> all = new ArrayList<>();
    for (BytePath root : roots) {
      collect(root, directory, all);
    }
    return all.get(random.nextInt(all.size()));
  }

  private void collect(BytePath path, boolean directory, List<BytePath> all) throws ErrnoException {
    boolean isDirectory = Libc.lstat(path).isDirectory();
    if (!directory || isDirectory) {
      if (directory || !roots.contains(path)) {
        all.add(path);
      }
    }
    if (isDirectory) {
      for (byte[] name : Libc.list(path)) {
        if (!new String(name, UTF_8).equals(".fusion")) {
          collect(path.resolve(name), directory, all);
        }
      }
    }
    if (all.isEmpty()) {
      all.add(path);
    }
  }
}
