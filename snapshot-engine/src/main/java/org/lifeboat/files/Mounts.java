package org.lifeboat.files;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.lifeboat.sys.BytePath;

/** The mount points of this process's mount namespace, as /proc/self/mountinfo tells them. */
final class Mounts {

  /** File systems of the kernel's own: nothing in them is a file of anybody. */
  private static final Set<String> KERNEL =
      Set.of(
          "autofs",
          "binfmt_misc",
          "bpf",
          "cgroup",
          "cgroup2",
          "configfs",
          "debugfs",
          "devpts",
          "devtmpfs",
          "efivarfs",
          "fuse.lxcfs",
          "fuse.portal",
          "fusectl",
          "mqueue",
          "nsfs",
          "proc",
          "pstore",
          "rpc_pipefs",
          "securityfs",
          "selinuxfs",
          "sysfs",
          "tracefs");

  private final Map<BytePath, String> types;

  private Mounts(Map<BytePath, String> types) {
    this.types = types;
  }

  static Mounts read() throws FilesException {
    Path table = Path.of("/proc/self/mountinfo");
    Map<BytePath, String> types = new HashMap<>();
    try {
      for (byte[] line : Lines.of(Files.readAllBytes(table))) {
        // ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS
        String[] fields = Lines.latin1(line).split(" ", -1);
        int dash = 6;
        while (dash < fields.length && !fields[dash].equals("-")) {
          dash++;
        }
        byte[] point = fields.length > 4 ? Lines.unescape(Lines.latin1(fields[4])) : new byte[0];
        if (dash + 1 < fields.length && BytePath.isCanonical(point)) {
          types.put(BytePath.of(point), fields[dash + 1]);
        }
      }
    } catch (IOException e) {
      throw FilesException.of("read", table, "", e);
    }
    return new Mounts(types);
  }

  /** Whether a file system of the kernel's own is mounted exactly there. */
  boolean isKernel(BytePath path) {
    String type = types.get(path);
    return type != null && KERNEL.contains(type);
  }

  /** Whether the path lies on a file system of the kernel's own. */
  boolean isOnKernel(BytePath path) {
    for (BytePath at = path; ; at = at.parent()) {
      String type = types.get(at);
      if (type != null) {
        return KERNEL.contains(type);
      }
      if (at.length() == 1) {
        return false;
      }
    }
  }

  /** Whether anything is mounted exactly there. */
  boolean isPoint(BytePath path) {
    return types.containsKey(path);
  }
}
