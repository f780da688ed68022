package org.lifeboat.page;

import static java.util.Objects.requireNonNull;

/**
 * One address space of a dump.
 *
 * @param kind a task's private memory or a shared memory segment
 * @param id the task's process id inside the dumped PID namespace, or CRIU's id of the segment; 0
 *     to 2^56 - 1
 */
public record ImageId(Kind kind, long id) {

  /** No image has an address of this many bytes or more. */
  public static final long MAX_ADDRESS = 1L << 60;

  static final long MAX_ID = (1L << 56) - 1;

  /** What the image is of. */
  public enum Kind {
    TASK,
    SHMEM
  }

  public ImageId {
    requireNonNull(kind, "kind is null");
    if (id < 0 || id > MAX_ID) {
      throw new IllegalArgumentException("image id out of range: " + id);
    }
  }

  /** The name of the file that CRIU reads this image's pagemap from. */
  public String pagemapName() {
    return (kind == Kind.TASK ? "pagemap-" : "pagemap-shmem-") + id + ".img";
  }

  @Override
  public String toString() {
    return (kind == Kind.TASK ? "task " : "shared memory ") + id;
  }
}
