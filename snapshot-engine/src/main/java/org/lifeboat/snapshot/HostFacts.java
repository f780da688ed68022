package org.lifeboat.snapshot;

import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;

/** What must be known of a host to tell whether a snapshot of one can come back on another. */
public final class HostFacts {

  /**
   * The CPU flags, as /proc/cpuinfo has them, that stand for instructions or registers which
   * programs look for once, at their start, and rely on: glibc's string functions, a JIT, OpenSSL.
   * Flags of the kernel, of virtualisation and of mitigations are not among them, nor those that
   * only say that something is fast (erms, fsrm): a task does not fail without.
   */
  private static final Pattern INSTRUCTIONS =
      Pattern.compile(
          "avx.*|amx.*|sse[0-9].*|s?sse.*|pni|fma4?|f16c|bmi[12]|abm|popcnt|movbe|aes|pclmulqdq|vaes"
              + "|vpclmulqdq|gfni|sha_ni|sha512|sm[34]|adx|rdrnd|rdrand|rdseed|rdpid|xop|tbm|cx16"
              + "|lahf_lm|cmov|mmx|mmxext|3dnow|3dnowext|fxsr|xsave|xsaveopt|xsavec|xgetbv1|rtm|hle|mpx"
              + "|fsgsbase|pku|ospke|movdiri|movdir64b|waitpkg|serialize|clflushopt|clwb|cldemote"
              + "|clzero|rdtscp|user_shstk|apx|cmpccxadd|raoint|enqcmd|uintr|tsxldtrk|fpu|cx8"
              // arm64
              + "|fp|asimd.*|sve.*|sme.*|atomics|crc32|pmull|sha[123]|sha512|fphp|fcma|jscvt|lrcpc"
              + "|ilrcpc|dcpop|dcpodp|flagm2?|frint|i8mm|bf16|dgh|rng|bti|mte3?|paca|pacg|dit|uscat"
              + "|ssbs|sb|wfxt|ebf16|cssc|rprfm|mops|hbc|lse128|gcs");

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
    Set<String> lacking = new TreeSet<>(saved.cpuFlags());
    here.cpuFlags().forEach(lacking::remove);
    lacking.removeIf(flag -> !INSTRUCTIONS.matcher(flag).matches());
    if (!lacking.isEmpty()) {
      throw new SnapshotException(
          SnapshotException.Kind.ENVIRONMENT,
          "the task was saved on a CPU ("
              + saved.cpu()
              + ") with instructions that this host's ("
              + here.cpu()
              + ") does not have: "
              + String.join(", ", lacking),
          "run it on an instance type whose CPU has them; the snapshots are kept",
          null);
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
