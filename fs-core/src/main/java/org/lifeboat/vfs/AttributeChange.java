package org.lifeboat.vfs;

import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;

/**
 * What setattr is to change; what is empty stays.
 *
 * @param mode permission bits, also with the type's bits, which are to be ignored
 * @param size truncates or extends
 * @param atime also {@link Timespec#NOW}
 * @param mtime also {@link Timespec#NOW}
 * @param ctime comes where the kernel keeps the times ({@link Capability#WRITEBACK_CACHE})
 * @param killPrivileges take setuid and setgid (where the group may execute) from the mode, and the
 *     file's capabilities; only where {@link Capability#KILL_PRIVILEGES} was agreed on
 */
public record AttributeChange(
    OptionalInt mode,
    OptionalInt uid,
    OptionalInt gid,
    OptionalLong size,
    Optional<Timespec> atime,
    Optional<Timespec> mtime,
    Optional<Timespec> ctime,
    boolean killPrivileges) {

  /** Changes nothing. */
  public static final AttributeChange NONE =
      new AttributeChange(
          OptionalInt.empty(),
          OptionalInt.empty(),
          OptionalInt.empty(),
          OptionalLong.empty(),
          Optional.empty(),
          Optional.empty(),
          Optional.empty(),
          false);
}
