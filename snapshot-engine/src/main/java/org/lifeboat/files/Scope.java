package org.lifeboat.files;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.TreeSet;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;

/**
 * Which paths belong to the task: its working directory and the preserved paths, less what is
 * excluded. Outside of it only what the tree has open or mapped is captured, unless it came with
 * the machine image.
 *
 * <p>Always excluded are, below the working directory, {@code .fusion}, {@code .command.log} and
 * {@code .fusion.log}, and anywhere directories named {@value #ASIDE}, which a roll-back makes.
 *
 * @param work the working directory
 * @param roots the directories that are walked, in path order, none within another; {@code work} is
 *     one of them or lies below one
 * @param excluded neither captured nor rolled back, with all that is below
 * @param imagePaths came with the machine image
 */
public record Scope(
    BytePath work, List<BytePath> roots, List<BytePath> excluded, List<BytePath> imagePaths) {

  /** Where a roll-back puts what was in its way, outside of the working directory. */
  static final String ASIDE = ".lifeboat-aside";

  private static final byte[] ASIDE_NAME = BytePath.of("/" + ASIDE).name();

  private static final List<String> IMAGE =
      List.of(
          "/usr",
          "/bin",
          "/sbin",
          "/lib",
          "/lib32",
          "/lib64",
          "/libx32",
          "/etc",
          "/opt",
          "/nix",
          "/snap",
          "/var/lib",
          "/boot");

  /** The paths that are preserved by default, besides {@code $TMPDIR}. */
  public static final List<Path> DEFAULT_PRESERVED =
      List.of(Path.of("/tmp"), Path.of("/var/tmp"), Path.of("/dev/shm"));

  public Scope {
    roots = List.copyOf(roots);
    excluded = List.copyOf(excluded);
    imagePaths = List.copyOf(imagePaths);
  }

  /**
   * The scope of a task. Symbolic links in the paths given are resolved; one that does not exist
   * stays as it is and counts as empty until it does.
   *
   * @param preserved directories besides the working directory
   * @param excluded our cache, run directory, a file store's directory
   * @param imagePaths prefixes that came with the machine image, besides the usual system ones
   */
  public static Scope of(
      BytePath work,
      Collection<BytePath> preserved,
      Collection<BytePath> excluded,
      Collection<BytePath> imagePaths)
      throws FilesException {
    BytePath realWork = real(work);
    TreeSet<BytePath> wanted = new TreeSet<>();
    wanted.add(realWork);
    for (BytePath path : preserved) {
      wanted.add(real(path));
    }
    List<BytePath> roots = new ArrayList<>();
    for (BytePath path : wanted) {
      if (roots.isEmpty() || !path.startsWith(roots.getLast())) {
        roots.add(path);
      }
    }
    TreeSet<BytePath> out = new TreeSet<>();
    for (BytePath path : excluded) {
      out.add(real(path));
    }
    for (String name : List.of(".fusion", ".command.log", ".fusion.log")) {
      out.add(realWork.resolve(name));
    }
    TreeSet<BytePath> image = new TreeSet<>();
    for (String path : IMAGE) {
      image.add(BytePath.of(path));
    }
    for (BytePath path : imagePaths) {
      image.add(real(path));
    }
    return new Scope(realWork, roots, List.copyOf(out), List.copyOf(image));
  }

  private static BytePath real(BytePath path) throws FilesException {
    try {
      return Libc.realpath(path);
    } catch (ErrnoException e) {
      if (e.isAbsent()) {
        return path;
      }
      throw FilesException.of("resolve", path, "", e);
    }
  }

  /** Whether the path is walked: below a root and not excluded. */
  public boolean contains(BytePath path) {
    return isBelow(roots, path) && !excludes(path);
  }

  /** Whether the path is ours, or below something that is. */
  public boolean excludes(BytePath path) {
    if (isBelow(excluded, path)) {
      return true;
    }
    for (BytePath at = path; at.length() > 1; at = at.parent()) {
      if (Arrays.equals(at.name(), ASIDE_NAME)) {
        return true;
      }
    }
    return false;
  }

  /** As {@link #excludes}, for a path whose parent is known not to be excluded. */
  boolean excludesChild(BytePath path, byte[] name) {
    return Arrays.equals(name, ASIDE_NAME) || excluded.contains(path);
  }

  /** Whether the path came with the machine image, as far as its place tells. */
  public boolean isImage(BytePath path) {
    return isBelow(imagePaths, path);
  }

  private static boolean isBelow(List<BytePath> ancestors, BytePath path) {
    for (BytePath ancestor : ancestors) {
      if (path.startsWith(ancestor)) {
        return true;
      }
    }
    return false;
  }
}
