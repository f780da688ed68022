package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Whether all of a tree lives in the namespaces of its root. CRIU refuses to dump a nested process
 * id, user, IPC, UTS or time namespace, but dumps a process with a mount or network namespace of
 * its own without a word and then cannot restore it below a root that has none ({@code Can't
 * restore sub-task in NS}): such a snapshot must not be committed.
 */
final class Namespaces {

  private static final Logger log = LoggerFactory.getLogger(Namespaces.class);

  private static final Map<String, String> KINDS = new LinkedHashMap<>();

  static {
    KINDS.put("mnt", "mount");
    KINDS.put("net", "network");
    KINDS.put("cgroup", "cgroup");
  }

  private Namespaces() {}

  /**
   * @param tree the root among them
   * @throws SnapshotException of kind FAILED that names the first process that has one of its own
   */
  static void requireShared(long root, Set<Long> tree) throws SnapshotException {
    for (Map.Entry<String, String> kind : KINDS.entrySet()) {
      String shared = link(root, kind.getKey());
      for (long pid : tree) {
        String its = shared.isEmpty() ? "" : link(pid, kind.getKey());
        if (!its.isEmpty() && !its.equals(shared)) {
          throw new SnapshotException(
              SnapshotException.Kind.FAILED,
              "process "
                  + pid
                  + name(pid)
                  + " of the task has a "
                  + kind.getValue()
                  + " namespace of its own, as unshare, bubblewrap, Apptainer and other containers"
                  + " make: it could not be brought back",
              "run it without that sandbox, or run lifeboat inside of it",
              null);
        }
      }
    }
  }

  private static String name(long pid) {
    try {
      return " (" + Files.readString(Path.of("/proc", Long.toString(pid), "comm")).strip() + ")";
    } catch (IOException e) {
      return "";
    }
  }

  /** Empty when the process has ended, or is a zombie, or the kernel has no such namespaces. */
  private static String link(long pid, String kind) {
    try {
      return Files.readSymbolicLink(Path.of("/proc", Long.toString(pid), "ns", kind)).toString();
    } catch (IOException e) {
      log.debug("process {} has no {} namespace to look at: {}", pid, kind, e.getMessage());
      return "";
    }
  }
}
