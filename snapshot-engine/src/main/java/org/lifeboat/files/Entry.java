package org.lifeboat.files;

import java.time.Instant;
import java.util.List;
import org.lifeboat.sys.BytePath;

/** What a snapshot says of one path. */
public sealed interface Entry {

  BytePath path();

  /**
   * Metadata that is put back.
   *
   * @param mode type and permission bits, as in st_mode
   * @param mtime time of the last change of content
   */
  record Meta(int mode, int uid, int gid, Instant mtime, List<Xattr> xattrs) {}

  /** One extended attribute, of any namespace. */
  record Xattr(Bytes name, Bytes value) {}

  /**
   * The inode that was captured: on the same host it tells whether a file was touched since.
   *
   * @param ctime time of the last change of content or metadata
   */
  record Origin(long dev, long ino, Instant ctime) {}

  /** How a file was at the start, without its content. */
  record Was(int mode, int uid, int gid, long size, Instant mtime) {}

  /**
   * A regular file with its content.
   *
   * @param size bytes; what no frame covers is a hole
   * @param scoped whether it lies in the scope; otherwise it is here because it was open or mapped
   * @param writable whether the tree had it open for writing, or mapped shared and writable
   * @param frames in the order of their offsets, not overlapping
   */
  record RegularFile(
      BytePath path,
      Meta meta,
      long size,
      Origin origin,
      boolean scoped,
      boolean writable,
      List<Frame> frames)
      implements Entry {}

  /** Another name of a {@link RegularFile} of the same snapshot. */
  record HardLink(BytePath path, BytePath target) implements Entry {}

  /**
   * A directory.
   *
   * @param scoped whether it lies in the scope and gets its metadata back; otherwise it only has to
   *     exist, and has this metadata if it must be made
   */
  record Directory(BytePath path, Meta meta, boolean scoped) implements Entry {}

  /** A symbolic link. */
  record Symlink(BytePath path, Meta meta, Bytes target) implements Entry {}

  /** A FIFO or a device node; the mode tells which, {@code rdev} is 0 for a FIFO. */
  record Node(BytePath path, Meta meta, long rdev) implements Entry {}

  /** A UNIX socket: CRIU binds it anew, so the name must be free. */
  record Socket(BytePath path, Meta meta) implements Entry {}

  /** Was there at the start and is gone. */
  record Deleted(BytePath path, Was was) implements Entry {}

  /** Is as it was at the start; its content is not in the snapshot. */
  record Unchanged(BytePath path, Was was) implements Entry {}
}
