package org.lifeboat.fuse;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Device;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.Stat;
import org.lifeboat.vfs.VfsException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The mount itself: made with mount(2) on an open /dev/fuse, for all users, with permissions
 * checked by the kernel, without set-uid programs and device nodes. Needs CAP_SYS_ADMIN. The mount
 * lives as long as somebody has the descriptor open, so whoever is to take over must hold a
 * duplicate.
 */
final class FuseMount {

  static final BytePath DEVICE = BytePath.of("/dev/fuse");

  private static final Logger LOG = LoggerFactory.getLogger(FuseMount.class);

  private FuseMount() {}

  /** Opens the device. */
  static Device open() throws VfsException {
    try {
      return Device.open(DEVICE);
    } catch (ErrnoException e) {
      String remedy =
          switch (e.errno()) {
            case ENOENT, ENXIO, ENODEV ->
                "load the kernel's module (modprobe fuse); into a container bring the device"
                    + " (--device /dev/fuse)";
            case EPERM, EACCES -> "run as root; a container needs --device /dev/fuse";
            default -> "";
          };
      throw VfsException.of(e, "mount", DEVICE.toString(), remedy);
    }
  }

  /**
   * The mount point without symbolic links; checked without touching what may be mounted there,
   * since a mount whose server is dead would never answer.
   */
  static BytePath check(BytePath mountPoint) throws VfsException {
    try {
      if (mountPoint.equals(BytePath.ROOT)) {
        throw new VfsException(
            Errno.EINVAL, "mount", "/", "the root can't be the mount point", "", null);
      }
      BytePath real = Libc.realpath(mountPoint.parent()).resolve(mountPoint.name());
      if (isMounted(real)) {
        throw new VfsException(
            Errno.EBUSY,
            "mount",
            mountPoint.toString(),
            "something is mounted there already",
            "unmount it (umount, or umount -l if its server is dead) or choose another directory",
            null);
      }
      Stat stat = Libc.stat(real);
      if (!stat.isDirectory()) {
        throw new VfsException(
            Errno.ENOTDIR, "mount", mountPoint.toString(), "it is not a directory", "", null);
      }
      return real.equals(Libc.realpath(real)) ? real : check(Libc.realpath(real));
    } catch (ErrnoException e) {
      String remedy = e.isAbsent() ? "make the directory first" : "";
      throw VfsException.of(e, "mount", mountPoint.toString(), remedy);
    }
  }

  /**
   * Mounts.
   *
   * @param source what /proc/mounts is to show as the device
   */
  static void mount(Device device, BytePath mountPoint, String source) throws VfsException {
    String options =
        "fd="
            + device.fd()
            + ",rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions";
    try {
      Libc.mount(source, mountPoint, "fuse.lifeboat", Libc.MS_NOSUID | Libc.MS_NODEV, options);
    } catch (ErrnoException e) {
      String remedy =
          switch (e.errno()) {
            case EPERM ->
                "mounting needs CAP_SYS_ADMIN: run as root; a container needs --cap-add SYS_ADMIN"
                    + " and, where AppArmor confines it, --security-opt apparmor=unconfined";
            case EACCES -> "the security module forbids it";
            case ENODEV -> "load the kernel's module: modprobe fuse";
            case EBUSY -> "something uses the directory as a mount point";
            case EINVAL -> "the descriptor must be one of /dev/fuse that no mount has yet";
            default -> e.isAbsent() ? "make the directory first" : "";
          };
      throw VfsException.of(e, "mount", mountPoint.toString(), remedy);
    }
  }

  /**
   * Unmounts.
   *
   * @param now also when it is in use: what is under way fails
   * @return false if nothing is mounted there
   * @throws VfsException EBUSY if it is in use
   */
  static boolean unmount(BytePath mountPoint, boolean now) throws VfsException {
    try {
      Libc.unmount(mountPoint, now ? Libc.MNT_DETACH | Libc.MNT_FORCE : 0);
      return true;
    } catch (ErrnoException e) {
      if (e.errno() == Errno.EINVAL || e.isAbsent()) {
        return false;
      }
      String remedy =
          e.errno() == Errno.EBUSY
              ? "end who uses it (fuser -m " + mountPoint + " names them)"
              : "";
      throw VfsException.of(e, "unmount", mountPoint.toString(), remedy);
    }
  }

  /** Whether a mount has this path as its root. */
  static boolean isMounted(BytePath path) throws VfsException {
    return device(path).isPresent();
  }

  /** Of the last mount with this path as its root: {@code major:minor}, by /proc/self/mountinfo. */
  private static Optional<String> device(BytePath path) throws VfsException {
    String wanted = escaped(path);
    Optional<String> device = Optional.empty();
    try {
      for (String line :
          Files.readAllLines(Path.of("/proc/self/mountinfo"), StandardCharsets.ISO_8859_1)) {
        List<String> fields = List.of(line.split(" ", 6));
        if (fields.size() == 6 && fields.get(4).equals(wanted)) {
          device = Optional.of(fields.get(2));
        }
      }
      return device;
    } catch (IOException e) {
      throw new VfsException(Errno.EIO, "mount", path.toString(), e.toString(), "", e);
    }
  }

  /**
   * Lets written data of this mount fill as much of the page cache as another file system's may. By
   * default the kernel keeps a FUSE mount to a hundredth of it, which halves the rate of writing.
   * Only possible where /sys can be written to.
   */
  static void liftWritebackLimits(BytePath mountPoint) throws VfsException {
    Optional<String> device = device(mountPoint);
    if (device.isEmpty()) {
      return;
    }
    Path settings = Path.of("/sys/class/bdi", device.get());
    try {
      Path strict = settings.resolve("strict_limit"); // from Linux 6.2
      if (Files.exists(strict)) {
        Files.writeString(strict, "0");
      }
      Files.writeString(settings.resolve("max_ratio"), "100");
    } catch (IOException e) {
      LOG.info("the limits of written-back data in {} stay: {}", settings, e.toString());
    }
  }

  /** As the kernel writes it there: space, tab, newline and backslash as octal numbers. */
  private static String escaped(BytePath path) {
    StringBuilder text = new StringBuilder();
    for (byte b : path.bytes()) {
      if (b == ' ' || b == '\t' || b == '\n' || b == '\\') {
        text.append(String.format("\\%03o", b));
      } else {
        text.append((char) (b & 0xff));
      }
    }
    return text.toString();
  }
}
