package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.lifeboat.criu.CriuImages;
import org.lifeboat.files.Entry;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.Stat;

/**
 * Whether the files that a snapshot takes from the machine image, as programs and libraries are,
 * are on this host as they were on the one that was saved. CRIU would find out itself, but only
 * when the memory has been fetched and the task's files have been put back, and one at a time.
 */
final class HostFiles {

  /** How many are named. */
  private static final int NAMED = 3;

  private HostFiles() {}

  /**
   * @param captured what comes with the snapshot
   * @throws SnapshotException of kind ENVIRONMENT that names what differs
   */
  static void check(Path images, List<Entry> captured) throws IOException {
    Set<BytePath> ours = new HashSet<>();
    captured.forEach(entry -> ours.add(entry.path()));
    List<String> problems = new ArrayList<>();
    Set<String> seen = new HashSet<>();
    for (CriuImages.NamedFile file : CriuImages.namedFiles(images)) {
      BytePath path = BytePath.of(file.path().getBytes(StandardCharsets.ISO_8859_1));
      if (ours.contains(path) || !seen.add(file.path())) {
        continue;
      }
      try {
        Stat here = Libc.lstat(path);
        boolean regular = (here.mode() & Stat.S_IFMT) == Stat.S_IFREG;
        if (regular && file.size() >= 0 && here.size() != file.size()) {
          problems.add(
              path + " has " + here.size() + " bytes here and had " + file.size() + " there");
        }
      } catch (ErrnoException e) {
        if (e.errno() != Errno.ENOENT && e.errno() != Errno.ENOTDIR) {
          throw e;
        }
        problems.add(path + " is missing here");
      }
    }
    if (!problems.isEmpty()) {
      int more = problems.size() - NAMED;
      throw new SnapshotException(
          SnapshotException.Kind.ENVIRONMENT,
          "files that the task has open differ from those of the host where it was saved: "
              + String.join(", ", problems.subList(0, Math.min(NAMED, problems.size())))
              + (more > 0 ? ", and " + more + " more" : ""),
          "restore on the same machine image; --preserve, given from the start, saves a folder with"
              + " the task",
          null);
    }
  }
}
