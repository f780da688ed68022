package org.lifeboat.snapshot;

import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** What must be known of a host to tell whether a snapshot of one can come back on another. */
public final class HostFacts {

  private HostFacts() {}

  /** This host's. */
  public static Manifest.Host here(String criuVersion) throws IOException {
    String cpu = "";
    List<String> flags = new ArrayList<>();
    for (String line : Files.readAllLines(Path.of("/proc/cpuinfo"))) {
      int colon = line.indexOf(':');
      if (colon < 0) {
        continue;
      }
      String value = line.substring(colon + 1).strip();
      switch (line.substring(0, colon).strip()) {
        case "model name" -> cpu = cpu.isEmpty() ? value : cpu;
        case "flags", "Features" -> {
          if (flags.isEmpty()) {
            flags.addAll(List.of(value.split(" ")));
          }
        }
        default -> {}
      }
    }
    return new Manifest.Host(
        name(),
        System.getProperty("os.arch"),
        System.getProperty("os.version"),
        criuVersion,
        pageSize(),
        cpu,
        flags,
        os());
  }

  /** This host's name, as far as it knows one. */
  public static String name() {
    try {
      return Files.readString(Path.of("/proc/sys/kernel/hostname")).strip();
    } catch (IOException e) {
      try {
        return InetAddress.getLocalHost().getHostName();
      } catch (UnknownHostException unknown) {
        unknown.addSuppressed(e);
        return "unknown";
      }
    }
  }

  /** The kernel's page size in bytes, from the first mapping of this process. */
  public static int pageSize() throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/smaps"))) {
      if (line.startsWith("KernelPageSize:")) {
        return Integer.parseInt(line.replaceAll("[^0-9]", "")) * 1024;
      }
    }
    return 4096;
  }

  private static String os() throws IOException {
    try {
      for (String line : Files.readAllLines(Path.of("/etc/os-release"))) {
        if (line.startsWith("PRETTY_NAME=")) {
          return line.substring("PRETTY_NAME=".length()).replace("\"", "");
        }
      }
      return "unknown";
    } catch (NoSuchFileException e) {
      return "unknown";
    }
  }

  /**
   * Refuses a host on which the snapshot cannot run whatever CRIU does.
   *
   * @throws SnapshotException of kind ENVIRONMENT that names the difference
   */
  public static void check(Manifest.Host saved, Manifest.Host here) throws SnapshotException {
    if (!saved.arch().equals(here.arch())) {
      throw differs("CPU architecture", saved.arch(), here.arch());
    }
    if (saved.pageSize() != here.pageSize()) {
      throw differs("page size", saved.pageSize() + " bytes", here.pageSize() + " bytes");
    }
  }

  private static SnapshotException differs(String what, String saved, String here) {
    return new SnapshotException(
        SnapshotException.Kind.ENVIRONMENT,
        "the task was saved on a host with " + what + " " + saved + ", this one has " + here,
        "run it on a host of the same kind; the snapshots are kept",
        null);
  }
}
