package org.lifeboat.criu;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.lifeboat.init.InitClient;

/**
 * The CRIU program: where it is, which version it has, and the command lines of a dump and a
 * restore.
 *
 * <p>CRIU is driven by its command line and not by its RPC: the RPC has neither a way to hand over
 * a page socket to a JVM (it wants SOCK_SEQPACKET) nor a message for the lazy-pages daemon that a
 * later version needs, and a log file says more than an errno.
 */
public final class Criu {

  /** Below this, CRIU fails on kernels from 6.13 on, and speaks an older page protocol. */
  static final String LEAST = "4.2";

  private static final String REMEDY =
      " (install CRIU " + LEAST + " or later, or name it in LIFEBOAT_CRIU)";

  private static final Pattern VERSION = Pattern.compile("Version: *(\\d+)\\.(\\d+)(\\.\\d+)?");

  private final Path program;
  private final String version;

  private Criu(Path program, String version) {
    this.program = program;
    this.version = version;
  }

  /**
   * Finds CRIU: LIFEBOAT_CRIU, the one beside the distribution, or the first on PATH.
   *
   * @throws CriuException when there is none, or it is older than 4.2
   */
  public static Criu find(Map<String, String> environment) throws CriuException {
    List<Path> candidates = new ArrayList<>();
    String chosen = environment.get("LIFEBOAT_CRIU");
    if (chosen != null && !chosen.isEmpty()) {
      candidates.add(Path.of(chosen));
    } else {
      String home = environment.get("LIFEBOAT_HOME");
      if (home != null) {
        candidates.add(Path.of(home, "criu", "bin", "criu"));
      }
      for (String folder :
          environment.getOrDefault("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").split(":", -1)) {
        if (!folder.isEmpty()) {
          candidates.add(Path.of(folder, "criu"));
        }
      }
      candidates.add(Path.of("/usr/sbin/criu"));
    }
    for (Path candidate : candidates) {
      if (Files.isExecutable(candidate) && Files.isRegularFile(candidate)) {
        return new Criu(candidate, check(candidate));
      }
    }
    if (chosen != null && !chosen.isEmpty() && Files.exists(candidates.getFirst())) {
      throw new CriuException(
          "LIFEBOAT_CRIU names "
              + chosen
              + ", which is no program that can be executed (name CRIU "
              + LEAST
              + " or later, or unset it)",
          null);
    }
    throw new CriuException(
        "CRIU not found, looked for "
            + (chosen != null && !chosen.isEmpty() ? chosen : "criu in the folders of PATH")
            + REMEDY,
        null);
  }

  private static String check(Path program) throws CriuException {
    String output;
    try {
      Process process =
          new ProcessBuilder(program.toString(), "--version").redirectErrorStream(true).start();
      process.getOutputStream().close();
      output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      process.waitFor();
    } catch (IOException e) {
      throw new CriuException(program + " does not start: " + e.getMessage() + REMEDY, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CriuException("interrupted while asking " + program + " for its version", e);
    }
    Matcher matcher = VERSION.matcher(output);
    if (!matcher.find()) {
      throw new CriuException(
          program
              + " --version printed no version: "
              + output.strip().lines().findFirst().orElse("nothing")
              + REMEDY,
          null);
    }
    int major = Integer.parseInt(matcher.group(1));
    int minor = Integer.parseInt(matcher.group(2));
    String version = major + "." + minor + (matcher.group(3) == null ? "" : matcher.group(3));
    if (major < 4 || (major == 4 && minor < 2)) {
      throw new CriuException(
          program + " is CRIU " + version + ", Lifeboat needs " + LEAST + " or later" + REMEDY,
          null);
    }
    return version;
  }

  public Path program() {
    return program;
  }

  public String version() {
    return version;
  }

  /**
   * The command that dumps a tree: images into {@code images}, pages into the socket that init
   * hands it, established connections as they are (whether they can be kept is known only where it
   * is restored), no packet filter touched.
   */
  public List<String> dump(long pid, Path images, Path log, Path hook, boolean leaveRunning) {
    List<String> command = new ArrayList<>(common("dump", images, log, hook));
    command.addAll(
        List.of(
            "-t",
            Long.toString(pid),
            "--page-server",
            "--ps-socket",
            Integer.toString(InitClient.PAGE_SOCKET_FD),
            "--tcp-established",
            "--skip-in-flight",
            "--network-lock",
            "skip",
            "--ghost-limit",
            "1099511627776"));
    if (leaveRunning) {
      command.add("--leave-running");
    }
    return command;
  }

  /**
   * The command that restores a tree as a child of init, connected to init's own pipes.
   *
   * @param closeConnections whether established TCP connections come back closed, because this host
   *     lacks their address
   * @param consume whether holes are made in the images as their pages are read: the task's memory
   *     then takes the place of the images', in the page cache too, instead of standing beside it.
   *     Such images serve one restore only, be it one that fails
   */
  public List<String> restore(
      Path images,
      Path log,
      Path hook,
      long stdoutInode,
      long stderrInode,
      boolean closeConnections,
      boolean consume) {
    List<String> command = new ArrayList<>(common("restore", images, log, hook));
    if (consume) {
      command.add("--auto-dedup");
    }
    command.addAll(
        List.of(
            "--restore-detached",
            "--restore-sibling",
            closeConnections ? "--tcp-close" : "--tcp-established",
            "--inherit-fd",
            "fd[" + InitClient.TASK_STDOUT_FD + "]:pipe:[" + stdoutInode + "]",
            "--inherit-fd",
            "fd[" + InitClient.TASK_STDERR_FD + "]:pipe:[" + stderrInode + "]"));
    return command;
  }

  private List<String> common(String verb, Path images, Path log, Path hook) {
    return List.of(
        program.toString(),
        verb,
        "--no-default-config",
        "-D",
        images.toString(),
        "-W",
        images.toString(),
        "-o",
        log.toString(),
        "-v3",
        "--file-locks",
        "--ext-unix-sk",
        "--cpu-cap=ins",
        "--manage-cgroups=ignore",
        "--action-script",
        hook.toString());
  }
}
