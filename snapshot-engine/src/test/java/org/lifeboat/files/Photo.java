package org.lifeboat.files;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.security.MessageDigest;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.sys.Stat;

/** Everything about a tree that a roll-back promises, as text that can be compared. */
final class Photo {

  final TreeMap<BytePath, String> shown = new TreeMap<>();
  final TreeMap<BytePath, String> contents = new TreeMap<>();
  private final Map<Long, TreeSet<BytePath>> links = new HashMap<>();

  /** Of what is below {@code root}, seen without {@code prefix}, but of our own directories. */
  static Photo of(BytePath prefix, BytePath root) throws Exception {
    return of(prefix, root, false);
  }

  static Photo of(BytePath prefix, BytePath root, boolean all) throws Exception {
    Photo photo = new Photo();
    List<BytePath> excluded =
        all ? List.of() : List.of(root.resolve(".fusion"), root.resolve("work/.fusion"));
    Scope scope = new Scope(root, List.of(root), excluded, List.of());
    new Walk(scope, prefix, Mounts.read())
        .run(
            (path, stat) -> {
              try {
                photo.add(path, prefix.rebase(path), stat);
              } catch (Exception e) {
                throw new IllegalStateException(e);
              }
            });
    for (TreeSet<BytePath> group : photo.links.values()) {
      for (BytePath path : group) {
        photo.shown.merge(path, " links " + group, String::concat);
      }
    }
    return photo;
  }

  private void add(BytePath path, BytePath host, Stat stat) throws Exception {
    StringBuilder text = new StringBuilder();
    text.append(String.format("%o %d:%d", stat.mode(), stat.uid(), stat.gid()));
    if (stat.type() != Stat.S_IFSOCK) {
      text.append(" ").append(stat.mtime());
    }
    if (stat.isRegular()) {
      String digest = digest(host, stat.size());
      contents.put(path, digest);
      text.append(" size ").append(stat.size()).append(" sha ").append(digest);
      if (stat.nlink() > 1) {
        links.computeIfAbsent(stat.ino(), k -> new TreeSet<>()).add(path);
      }
    } else if (stat.isSymlink()) {
      text.append(" -> ").append(Bytes.of(Libc.readlink(host)));
    } else if (!stat.isDirectory()) {
      text.append(" rdev ").append(stat.rdev());
    }
    TreeMap<String, String> attributes = new TreeMap<>();
    for (byte[] name : Libc.listXattrs(host)) {
      attributes.put(
          Bytes.of(name).toString(), HexFormat.of().formatHex(Libc.getXattr(host, name)));
    }
    shown.put(path, text.append(" ").append(attributes).toString());
  }

  private static String digest(BytePath host, long size) throws Exception {
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    try (Arena arena = Arena.ofConfined();
        OpenFile file = OpenFile.read(host)) {
      MemorySegment buffer = arena.allocate(1 << 18);
      for (long at = 0; at < size; ) {
        int n = file.read(buffer, at);
        digest.update(buffer.asSlice(0, n).asByteBuffer());
        at += n;
      }
    }
    return HexFormat.of().formatHex(digest.digest(), 0, 8);
  }
}
