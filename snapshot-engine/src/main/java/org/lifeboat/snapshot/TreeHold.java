package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Collection;
import java.util.List;
import java.util.stream.Collectors;
import org.lifeboat.init.InitClient;
import org.lifeboat.init.InitException;

/**
 * Keeps a frozen tree still even if CRIU dies: whoever kills CRIU lets go of all that it traces,
 * and between a commit and the end of the tree that would be a second life. So before the commit of
 * a final dump every process gets a SIGSTOP, which waits while CRIU has it; then it is looked
 * whether CRIU still had all of them. If it had, no instruction of the tree runs from here on
 * unless we want it: a tree whose CRIU dies now stops by itself, and SIGKILL ends it stopped or
 * not.
 *
 * <p>A tree that goes on after all gets a SIGCONT first, which takes back a SIGSTOP that still
 * waits. Which processes these are stands in a file of the run directory, for the next engine.
 */
final class TreeHold {

  private static final int SIGCONT = 18;
  private static final int SIGSTOP = 19;

  private final InitClient init;
  private final Path file;

  TreeHold(InitClient init, Path runDirectory) {
    this.init = init;
    this.file = runDirectory.resolve("held-for-commit");
  }

  /**
   * @param processes without those that stood stopped by themselves
   * @throws SnapshotException when CRIU had let go of one already
   */
  void hold(Collection<Long> processes) throws IOException {
    Path draft = file.resolveSibling("held-for-commit.new");
    Files.deleteIfExists(draft);
    Files.createFile(
        draft, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    Files.writeString(
        draft, processes.stream().map(String::valueOf).collect(Collectors.joining("\n")));
    Files.move(draft, file, StandardCopyOption.ATOMIC_MOVE);
    for (long pid : processes) {
      signal(pid, SIGSTOP);
    }
    for (long pid : processes) {
      if (!traced(pid)) {
        throw new SnapshotException(
            SnapshotException.Kind.CRIU, "CRIU let go of process " + pid + " too early", "", null);
      }
    }
  }

  /** Lets go what was held, be it by an earlier engine; does nothing when nothing was. */
  void release() throws IOException {
    List<String> processes;
    try {
      processes = Files.readAllLines(file);
    } catch (NoSuchFileException e) {
      return;
    }
    for (String pid : processes) {
      signal(Long.parseLong(pid), SIGCONT);
    }
    Files.delete(file);
  }

  private void signal(long pid, int number) throws InitException {
    try {
      init.signal(pid, number);
    } catch (InitException e) {
      if (e.errno() != InitClient.ESRCH) {
        throw e;
      }
    }
  }

  private static boolean traced(long pid) throws IOException {
    Path status = Path.of("/proc", Long.toString(pid), "status");
    String text = new String(Files.readAllBytes(status), StandardCharsets.ISO_8859_1);
    return text.lines().anyMatch(line -> line.startsWith("TracerPid:") && !line.endsWith("\t0"));
  }
}
