package org.lifeboat.files;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.Stat;

/**
 * What the processes of a frozen tree hold: descriptors, mappings, executables, working and root
 * directories, and the names of their UNIX sockets. CRIU opens all of these by path again.
 *
 * <p>A deleted file that is still open is CRIU's own affair (its content goes into the images), but
 * it is made again in the directory where it was, so that must exist. /proc tells such a file by
 * {@code " (deleted)"} after its name, which may as well be a name: what is at the path decides.
 */
final class OpenFiles {

  private static final byte[] DELETED = " (deleted)".getBytes(US_ASCII);

  private record Inode(long dev, long ino) {}

  private final Mounts mounts;
  private final List<String> warnings;
  private final TreeSet<BytePath> files = new TreeSet<>();
  private final TreeSet<BytePath> nodes = new TreeSet<>();
  private final TreeSet<BytePath> directories = new TreeSet<>();
  private final TreeSet<BytePath> sockets = new TreeSet<>();
  private final Set<Inode> writable = new HashSet<>();
  private final Set<String> socketInodes = new HashSet<>();

  private OpenFiles(Mounts mounts, List<String> warnings) {
    this.mounts = mounts;
    this.warnings = warnings;
  }

  /**
   * @param pids every process of the tree; they must not run meanwhile
   * @param warnings gets what will probably not restore
   */
  static OpenFiles of(Collection<Integer> pids, Mounts mounts, List<String> warnings)
      throws FilesException {
    OpenFiles open = new OpenFiles(mounts, warnings);
    for (int pid : pids) {
      open.read(pid);
    }
    if (!pids.isEmpty()) {
      open.readSockets(pids.iterator().next());
    }
    return open;
  }

  /** Regular files that have a name. */
  Set<BytePath> files() {
    return files;
  }

  /** FIFOs that have a name. */
  Set<BytePath> nodes() {
    return nodes;
  }

  /** Directories that must exist. */
  Set<BytePath> directories() {
    return directories;
  }

  /** Names of bound UNIX sockets. */
  Set<BytePath> sockets() {
    return sockets;
  }

  /** Whether the tree has the file open for writing, or mapped shared and writable. */
  boolean isWritable(Stat stat) {
    return writable.contains(new Inode(stat.dev(), stat.ino()));
  }

  private void read(int pid) throws FilesException {
    BytePath proc = BytePath.of("/proc/" + pid);
    try {
      for (byte[] fd : Libc.list(proc.resolve("fd"))) {
        descriptor(proc, fd);
      }
      maps(proc);
    } catch (IOException e) {
      if (e instanceof FilesException f) {
        throw f;
      }
      throw FilesException.of(
          "look at process",
          pid,
          "the tree must be frozen, and we need CAP_SYS_PTRACE to look into it",
          e);
    }
    for (String name : List.of("exe", "cwd", "root")) {
      BytePath link = proc.resolve(name);
      try {
        Stat stat = Libc.stat(link);
        holds(link, Libc.readlink(link), stat, false);
      } catch (ErrnoException e) {
        // a zombie has none of them, nor has a directory that is gone
        if (!e.isAbsent()) {
          throw FilesException.of("look at", link, "", e);
        }
      }
    }
  }

  private void descriptor(BytePath proc, byte[] fd) throws IOException {
    BytePath link = proc.resolve("fd").resolve(fd);
    byte[] target = Libc.readlink(link);
    String text = Lines.latin1(target);
    if (text.startsWith("socket:[")) {
      socketInodes.add(text.substring("socket:[".length(), text.length() - 1));
      return;
    }
    if (!text.startsWith("/")) {
      return;
    }
    Stat stat = Libc.stat(link);
    boolean writes = false;
    BytePath info = proc.resolve("fdinfo").resolve(fd);
    for (byte[] line : Lines.of(Files.readAllBytes(Path.of(info.toString())))) {
      String field = Lines.latin1(line);
      if (field.startsWith("flags:")) {
        writes = (Integer.parseUnsignedInt(field.substring(6).strip(), 8) & 3) != 0;
      }
    }
    holds(link, target, stat, writes);
  }

  private void maps(BytePath proc) throws IOException {
    Set<String> seen = new HashSet<>();
    for (byte[] line : Lines.of(Files.readAllBytes(Path.of(proc + "/maps")))) {
      // START-END PERMS OFFSET DEVICE INODE PATH, where the path may hold spaces
      String text = Lines.latin1(line);
      String[] fields = text.split(" +", 6);
      if (fields.length < 6 || !fields[5].startsWith("/") || fields[4].equals("0")) {
        continue;
      }
      boolean writes = fields[1].startsWith("w", 1) && fields[1].startsWith("s", 3);
      if (!seen.add((writes ? "w" : "r") + fields[5])) {
        continue;
      }
      byte[] target = Lines.latin1(fields[5]);
      BytePath link = proc.resolve("map_files").resolve(addresses(fields[0]));
      Optional<Stat> stat = Optional.empty();
      try {
        target = Libc.readlink(link);
        stat = Optional.of(Libc.stat(link));
      } catch (ErrnoException noCapability) {
        // map_files needs CAP_CHECKPOINT_RESTORE; the path alone does where a file has one
        target = Lines.unescape(target);
      }
      if (stat.isEmpty() && BytePath.isCanonical(target)) {
        stat = Libc.find(BytePath.of(target));
      }
      if (stat.isPresent()) {
        holds(link, target, stat.get(), writes);
      } else {
        gone(target);
      }
    }
  }

  /** map_files writes addresses without the leading zeros that maps may have. */
  private static String addresses(String range) {
    String[] ends = range.split("-", 2);
    return Long.toHexString(Long.parseUnsignedLong(ends[0], 16))
        + "-"
        + Long.toHexString(Long.parseUnsignedLong(ends[1], 16));
  }

  private void holds(BytePath link, byte[] target, Stat stat, boolean writes)
      throws FilesException {
    if (!BytePath.isCanonical(target)) {
      return;
    }
    BytePath path = BytePath.of(target);
    if (mounts.isOnKernel(path)) {
      return;
    }
    if (stat.isDirectory()) {
      if (stat.nlink() == 0) {
        gone(target);
      } else {
        directories.add(path);
      }
      return;
    }
    boolean fifo = stat.type() == Stat.S_IFIFO;
    if (!stat.isRegular() && !fifo) {
      return;
    }
    if (stat.nlink() == 0) {
      gone(target);
      return;
    }
    Optional<Stat> named;
    try {
      named = Libc.find(path);
    } catch (ErrnoException e) {
      throw FilesException.of("look at", path, "", e);
    }
    if (named.isEmpty()) {
      warnings.add(
          path + " is open (" + link + ") but its name is gone while another name of it exists");
      gone(target);
      return;
    }
    if (!named.get().sameFile(stat)) {
      warnings.add(path + " is open (" + link + ") but another file has its name now");
    }
    if (fifo) {
      nodes.add(path);
      return;
    }
    files.add(path);
    if (writes) {
      writable.add(new Inode(stat.dev(), stat.ino()));
      writable.add(new Inode(named.get().dev(), named.get().ino()));
    }
  }

  /** What is deleted but held is restored where it was: its directory must exist. */
  private void gone(byte[] target) {
    byte[] name = target;
    int head = target.length - DELETED.length;
    if (head > 0 && Arrays.equals(target, head, target.length, DELETED, 0, DELETED.length)) {
      name = Arrays.copyOf(target, head);
    }
    if (BytePath.isCanonical(name)) {
      BytePath parent = BytePath.of(name).parent();
      if (!mounts.isOnKernel(parent)) {
        directories.add(parent);
      }
    }
  }

  private void readSockets(int pid) throws FilesException {
    Path table = Path.of("/proc/" + pid + "/net/unix");
    List<byte[]> lines = new ArrayList<>();
    try {
      lines.addAll(Lines.of(Files.readAllBytes(table)));
    } catch (NoSuchFileException e) {
      return;
    } catch (IOException e) {
      throw FilesException.of("read", table, "", e);
    }
    for (byte[] line : lines) {
      // NUM REFCOUNT PROTOCOL FLAGS TYPE STATE INODE PATH
      String[] fields = Lines.latin1(line).strip().split(" +", 8);
      if (fields.length == 8 && socketInodes.contains(fields[6])) {
        byte[] path = Lines.latin1(fields[7]);
        if (BytePath.isCanonical(path)) {
          sockets.add(BytePath.of(path));
        } else if (path.length > 0 && path[0] != '@') {
          warnings.add("a UNIX socket is bound to the relative name " + fields[7]);
        }
      }
    }
  }
}
