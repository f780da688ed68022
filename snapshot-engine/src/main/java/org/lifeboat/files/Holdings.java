package org.lifeboat.files;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.sys.Stat;

/**
 * The directories of one roll-back: where content is staged, where what was in the way is kept, and
 * the journal. A rename must stay within a mount, so there is one for each mount that is touched:
 *
 * <pre>
 * WORK/.fusion/aside/N/NAME...              what was WORK/NAME, on the mount of the working directory
 * WORK/.fusion/aside/N/.lifeboat-root/...   what was outside of WORK on the same mount, by full path
 * DIR/.lifeboat-aside/N/.lifeboat-root/...  on another mount; DIR is the scope's root there, or the
 *                                           nearest directory of a file outside of the scope
 *   .lifeboat-stage/INDEX                   content on its way, by the entry's place in the manifest
 *   .lifeboat-again-K/...                   where a name was taken already
 * WORK/.fusion/aside/N/.lifeboat-journal    only while the roll-back is under way
 * </pre>
 *
 * The journal is lines of text, appended before what they tell is done:
 *
 * <pre>
 * begin 1 SHA256            the manifest
 * hold BASE64               a directory N on another mount
 * put INDEX DEV INO .       entry INDEX is about to be renamed into place, and is that inode
 * made INDEX .              directory INDEX is about to be made
 * </pre>
 *
 * <p>It only saves work and clutter: without it a second run would take what the first had put in
 * place for something foreign and move it aside. So it is never synced, and a torn last line counts
 * for nothing.
 */
final class Holdings implements AutoCloseable {

  private static final String JOURNAL = ".lifeboat-journal";
  private static final String STAGE = ".lifeboat-stage";
  private static final String OUTSIDE = ".lifeboat-root";
  private static final String AGAIN = ".lifeboat-again-";

  private record Inode(long dev, long ino) {}

  private final BytePath work;
  private final BytePath prefix;
  private final List<BytePath> roots;
  private final BytePath main;
  private final String number;
  private final Map<Long, BytePath> byMount = new LinkedHashMap<>();
  private final Map<Integer, Inode> put = new HashMap<>();
  private final Set<Integer> made = new HashSet<>();
  private OutputStream journal;

  private Holdings(
      BytePath prefix, BytePath work, List<BytePath> roots, BytePath main, String number) {
    this.prefix = prefix;
    this.work = work;
    this.roots = roots;
    this.main = main;
    this.number = number;
  }

  /**
   * Finds the interrupted roll-back of the same manifest, whose staged files it removes, or chooses
   * a new number. Makes nothing yet.
   */
  static Holdings find(Manifest manifest, BytePath prefix) throws FilesException {
    BytePath work = prefix.rebase(manifest.header().work());
    BytePath aside = work.resolve(".fusion").resolve("aside");
    long highest = 0;
    try {
      if (Libc.find(aside).isPresent()) {
        for (byte[] name : Libc.list(aside)) {
          String text = new String(name, US_ASCII);
          if (text.matches("[1-9][0-9]{0,9}")) {
            highest = Math.max(highest, Long.parseLong(text));
          }
        }
      }
      if (highest > 0) {
        Holdings last = at(manifest, prefix, work, aside, highest);
        if (last.replay(manifest.sha256())) {
          last.clean();
          return last;
        }
      }
    } catch (ErrnoException e) {
      throw FilesException.of("look at", aside, "", e);
    }
    return at(manifest, prefix, work, aside, highest + 1);
  }

  private static Holdings at(
      Manifest manifest, BytePath prefix, BytePath work, BytePath aside, long number) {
    String text = Long.toString(number);
    return new Holdings(prefix, work, manifest.header().roots(), aside.resolve(text), text);
  }

  private BytePath journalPath() {
    return main.resolve(JOURNAL);
  }

  private boolean replay(String sha256) throws FilesException, ErrnoException {
    Optional<Stat> stat = Libc.find(journalPath());
    if (stat.isEmpty()) {
      return false;
    }
    byte[] text;
    try (FileChannel in = channel(StandardOpenOption.READ)) {
      ByteBuffer all = ByteBuffer.allocate((int) Math.min(in.size(), 1 << 30));
      while (all.hasRemaining() && in.read(all) >= 0) {}
      text = all.array();
    } catch (IOException e) {
      throw FilesException.of("read", journalPath(), "", e);
    }
    boolean ours = false;
    int start = 0;
    for (int i = 0; i < text.length; i++) {
      if (text[i] == '\n') {
        String[] words = new String(text, start, i - start, UTF_8).split(" ", -1);
        start = i + 1;
        try {
          if (words.length == 3 && words[0].equals("begin")) {
            ours = words[2].equals(sha256);
          } else if (words.length == 2 && words[0].equals("hold")) {
            BytePath path = BytePath.of(Base64.getDecoder().decode(words[1]));
            Optional<Stat> held = Libc.find(path);
            held.ifPresent(s -> byMount.put(mountKey(s), path));
          } else if (words.length == 5 && words[0].equals("put") && words[4].equals(".")) {
            put.put(
                Integer.parseInt(words[1]),
                new Inode(Long.parseLong(words[2]), Long.parseLong(words[3])));
          } else if (words.length == 3 && words[0].equals("made") && words[2].equals(".")) {
            made.add(Integer.parseInt(words[1]));
          }
        } catch (IllegalArgumentException torn) {
          // a line that a kill cut off
        }
      }
    }
    return ours;
  }

  /** The journal through its descriptor: its path may not be UTF-8. */
  private FileChannel channel(StandardOpenOption... options) throws IOException {
    try (OpenFile file =
        Libc.find(journalPath()).isPresent()
            ? OpenFile.write(journalPath())
            : OpenFile.create(journalPath())) {
      return FileChannel.open(Path.of("/proc/self/fd/" + file.fd()), options);
    }
  }

  /** Whether an interrupted run had put exactly this inode in place for the entry. */
  boolean wasPut(int index, Stat stat) {
    return new Inode(stat.dev(), stat.ino()).equals(put.get(index));
  }

  boolean wasMade(int index) {
    return made.contains(index);
  }

  /** Makes the main directory and opens the journal; the working directory exists. */
  void begin(String sha256) throws FilesException {
    try {
      mkdirs(main);
      boolean fresh = Libc.find(journalPath()).isEmpty();
      journal =
          Channels.newOutputStream(channel(StandardOpenOption.WRITE, StandardOpenOption.APPEND));
      byMount.put(mountKey(Libc.lstat(main)), main);
      if (fresh) {
        log("begin 1 " + sha256);
      } else {
        // ends a line that the last run may have left torn
        journal.write("\n".getBytes(US_ASCII));
      }
    } catch (IOException e) {
      throw e instanceof FilesException f ? f : FilesException.of("make", main, "", e);
    }
  }

  void logPut(int index, Stat stat) throws FilesException {
    log("put " + index + " " + stat.dev() + " " + stat.ino() + " .");
  }

  void logMade(int index) throws FilesException {
    log("made " + index + " .");
    made.add(index);
  }

  private synchronized void log(String line) throws FilesException {
    try {
      journal.write((line + "\n").getBytes(US_ASCII));
    } catch (IOException e) {
      throw FilesException.of("write", journalPath(), "", e);
    }
  }

  private static long mountKey(Stat stat) {
    return stat.mount() != 0 ? stat.mount() : stat.dev();
  }

  /** The directory for what is at, or will be at, a host path. */
  private BytePath holding(BytePath host) throws FilesException, ErrnoException {
    BytePath directory = host.parent();
    Optional<Stat> stat = Libc.find(directory);
    while (stat.isEmpty() || !stat.get().isDirectory()) {
      directory = directory.parent();
      stat = Libc.find(directory);
    }
    long mount = mountKey(stat.get());
    BytePath known = byMount.get(mount);
    if (known != null) {
      return known;
    }
    BytePath base = directory;
    for (BytePath root : roots) {
      BytePath at = prefix.rebase(root);
      if (host.startsWith(at)) {
        while (base.length() > at.length() && mountKey(Libc.lstat(base.parent())) == mount) {
          base = base.parent();
        }
      }
    }
    BytePath made = base.resolve(Scope.ASIDE).resolve(number);
    mkdirs(made);
    log("hold " + Base64.getEncoder().encodeToString(made.bytes()));
    byMount.put(mount, made);
    return made;
  }

  /** Where an entry's content is staged; on the mount where it will be. */
  synchronized BytePath stage(int index, BytePath host) throws FilesException {
    try {
      BytePath stage = holding(host).resolve(STAGE);
      mkdirs(stage);
      return stage.resolve(Integer.toString(index));
    } catch (ErrnoException e) {
      throw FilesException.of("stage", host, "", e);
    }
  }

  /** Moves what is at a host path aside; nothing happens if nothing is there. */
  void moveAside(BytePath host) throws FilesException {
    try {
      for (int again = 0; again < 1000; again++) {
        BytePath target = target(host, again);
        try {
          mkdirs(target.parent());
          rename(host, target);
          return;
        } catch (ErrnoException e) {
          switch (e.errno()) {
            case EEXIST, ENOTDIR, ENOTEMPTY, EISDIR -> {
              if (Libc.find(host).isEmpty()) {
                return;
              }
            }
            case ENOENT -> {
              return;
            }
            case EBUSY ->
                throw FilesException.of(
                    "move aside", host, "something is mounted there: unmount it first", e);
            default -> throw e;
          }
        }
      }
      throw new FilesException("move aside", host, "a thousand such names are taken", "");
    } catch (ErrnoException e) {
      throw FilesException.of("move aside", host, "", e);
    }
  }

  private BytePath target(BytePath host, int again) throws FilesException, ErrnoException {
    BytePath holding = holding(host);
    if (again > 0) {
      holding = holding.resolve(AGAIN + again);
    }
    return host.startsWith(work) && holding.startsWith(main)
        ? holding.rebase(host.below(work))
        : holding.resolve(OUTSIDE).rebase(host.below(prefix));
  }

  /**
   * Moves an empty directory aside, by making another and removing this.
   *
   * @return whether it is gone; a directory that isn't empty stays
   */
  boolean moveDirectoryAside(BytePath host) throws FilesException {
    try {
      if (Libc.find(host).isEmpty()) {
        return true;
      }
      if (!Libc.list(host).isEmpty()) {
        return false;
      }
      for (int again = 0; ; again++) {
        BytePath target = target(host, again);
        try {
          mkdirs(target);
          break;
        } catch (ErrnoException e) {
          if (again == 1000 || (e.errno() != Errno.ENOTDIR && e.errno() != Errno.EEXIST)) {
            throw e;
          }
        }
      }
      Libc.rmdir(host);
      return true;
    } catch (ErrnoException e) {
      if (e.errno() == Errno.ENOTEMPTY || e.errno() == Errno.EBUSY) {
        return false;
      }
      throw FilesException.of("move aside", host, "", e);
    }
  }

  /** Renames a staged file to a name that is free. */
  static void rename(BytePath from, BytePath to) throws ErrnoException {
    try {
      Libc.renameNoReplace(from, to);
    } catch (ErrnoException e) {
      if (e.errno() != Errno.EINVAL && e.errno() != Errno.ENOSYS) {
        throw e;
      }
      if (Libc.find(to).isPresent()) {
        throw new ErrnoException("rename", from + " -> " + to, Errno.EEXIST.number());
      }
      Libc.rename(from, to);
    }
  }

  private static void mkdirs(BytePath path) throws ErrnoException {
    Optional<Stat> now = Libc.find(path);
    if (now.isPresent()) {
      if (!now.get().isDirectory()) {
        throw new ErrnoException("mkdir", path.toString(), Errno.ENOTDIR.number());
      }
      return;
    }
    if (path.length() > 1) {
      mkdirs(path.parent());
    }
    try {
      Libc.mkdir(path, 0700);
    } catch (ErrnoException e) {
      if (e.errno() != Errno.EEXIST) {
        throw e;
      }
    }
  }

  /** Removes staged files, and directories of ours that hold nothing. */
  void clean() throws FilesException {
    for (BytePath holding : byMount.values()) {
      cleanOne(holding);
    }
    if (!byMount.containsValue(main)) {
      cleanOne(main);
    }
  }

  private void cleanOne(BytePath holding) throws FilesException {
    try {
      BytePath stage = holding.resolve(STAGE);
      if (Libc.find(stage).isPresent()) {
        for (byte[] name : Libc.list(stage)) {
          Libc.unlink(stage.resolve(name));
        }
        Libc.rmdir(stage);
      }
      if (!holding.equals(main)) {
        removeIfEmpty(holding);
        if (Libc.find(holding).isEmpty()) {
          removeIfEmpty(holding.parent());
        }
      }
    } catch (ErrnoException e) {
      throw FilesException.of("clean", holding, "", e);
    }
  }

  private static void removeIfEmpty(BytePath directory) throws ErrnoException {
    if (Libc.find(directory).isPresent() && Libc.list(directory).isEmpty()) {
      Libc.rmdir(directory);
    }
  }

  /** The journal is done with: the next roll-back of the same manifest is another one. */
  void end() throws FilesException {
    try {
      close();
      Libc.unlink(journalPath());
      removeIfEmpty(main);
    } catch (ErrnoException e) {
      throw FilesException.of("finish", main, "", e);
    }
  }

  /** Where this roll-back puts what was in its way in the working directory. */
  BytePath main() {
    return main;
  }

  @Override
  public void close() throws FilesException {
    if (journal != null) {
      try {
        journal.close();
      } catch (IOException e) {
        throw FilesException.of("close", journalPath(), "", e);
      }
      journal = null;
    }
  }
}
