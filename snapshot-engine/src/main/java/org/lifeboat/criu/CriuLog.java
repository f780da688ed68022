package org.lifeboat.criu;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Reads in CRIU's log why it failed, and says it in words with the remedy.
 *
 * <p>CRIU's exit code is 1 for nearly everything; the log is the only place where the cause stands,
 * usually as the first line with {@code Error}. Known lines are matched by a table; an unknown one
 * is quoted as it is. The log is read from its end (at most 4 MiB), as a log of a large tree is
 * long and its errors stand last.
 */
public final class CriuLog {

  private static final int TAIL = 4 << 20;

  private static final String BROKEN_CONNECTION = "see Lifeboat's own message above";

  private static final List<Rule> RULES =
      List.of(
          rule(
              "Unseizable non-zombie (\\d+) found.*",
              "process $1 cannot be stopped: a debugger or tracer holds it",
              "end gdb, strace or whatever traces it, also inside the task"),
          rule(
              "Can't get rlimit \\d+: Operation not permitted",
              "the task has a process of another user or group, whose limits CRIU may not read",
              "give the container CAP_SYS_RESOURCE (docker or podman run --cap-add SYS_RESOURCE, or"
                  + " --privileged), or run the task as one user"),
          rule(
              "Can't dump nested (\\w+) namespace for (\\d+)",
              "process $2 has a $1 namespace of its own, as unshare, bubblewrap or a container in"
                  + " the task make",
              "run it without that sandbox"),
          rule(
              "mnt: .*unsupported id.*|mnt: .*(?:unreachable|doesn't have a proper root"
                  + " mount|unsupported fs).*",
              "the task has a mount namespace of its own, as unshare, bubblewrap or a container in"
                  + " the task make",
              "run it without that sandbox"),
          rule(
              "Can't dump task (\\d+) running in 32-bit mode",
              "process $1 is a 32-bit program",
              "use its 64-bit version"),
          rule(
              "Can't dump task (\\d+) with LDT descriptors",
              "process $1 uses segment descriptors, as Wine does",
              "there is none: such a program cannot be checkpointed"),
          rule(
              "Can't dump the (\\d+) thread with a pending SIGTRAP.*",
              "process $1 has met a breakpoint",
              "end the debugger"),
          rule(
              "Can't dump file \\d+ of that type \\[\\d+\\] \\(chr"
                  + " (?:195|23[4-9]|24\\d|25[0-4]):\\d+.*",
              "the task has a GPU or another accelerator open, which cannot be checkpointed",
              "take snapshots of tasks that use none, or at a moment when the program has closed"
                  + " it"),
          rule(
              "Can't dump file \\d+ of that type \\[\\d+\\] \\(chr 10:229.*",
              "the task serves a FUSE file system (/dev/fuse), which cannot be checkpointed",
              "mount it outside of the task"),
          rule(
              "Unsupported mapping found.*",
              "the task has memory of a device mapped, as of a GPU",
              "take snapshots of tasks that use none"),
          rule(
              "inet: Can't dump (\\d+) inet socket.*|inet: Unsupported proto (\\d+) for"
                  + " socket.*|inet: Unsupported socket (?:family|type).*",
              "the task has a network socket of a kind that cannot be checkpointed",
              "TCP and UDP can be; close it in the program before a checkpoint"),
          rule(
              "sockets: BUG! Unknown socket collected \\(family (\\d+)\\)|sockets: Sockets"
                  + " \\(family (\\d+) proto \\d+\\) are not collected|(?:sockets: )?Unknown"
                  + " (?:socket|pair) family.*",
              "the task has a socket of a kind that cannot be checkpointed (such as AF_VSOCK,"
                  + " AF_ALG or AF_XDP)",
              "close it in the program before a checkpoint"),
          rule(
              "fsnotify: +\\s*Can't dump that handle.*|fsnotify: .*(?:Can't|Unable).*|irmap: .*",
              "the task watches (inotify, fanotify) a file that cannot be found again by its name",
              "end the watch, or poll instead (CHOKIDAR_USEPOLLING=1 for many Node.js tools)"),
          rule(
              "The packetized mode for pipes is not supported yet",
              "the task has a pipe in packet mode (O_DIRECT)",
              "open it without O_DIRECT"),
          rule(
              "Open files on overmounted mounts are not supported yet; mount=\\d+ fd=(\\d+)"
                  + " path=(\\S*)",
              "$2 (descriptor $1) lies on a file system that another one is mounted over",
              "unmount the upper one, or open the file after the mount"),
          rule(
              "Zombie thread not supported|Zombies with threads are not supported|Individually"
                  + " stopped threads not supported",
              "a process of the task is just ending, with threads that are not",
              "try again"),
          rule(
              "Process \\d+ autofs pipe fd.*|autofs not supported.*",
              "the task serves autofs mounts",
              "start the automounter outside of the task"),
          host(
              "Can't fork for (\\d+): File exists",
              "process id $1 is taken on this host",
              "it is tried again; if it stays so, end the process that has it, or run in a fresh"
                  + " container"),
          host(
              "Can't fork for \\d+: Read-only file system|Pid \\d+ do(?:es)? not match expected",
              "CRIU may not choose process ids here",
              "give the container CAP_CHECKPOINT_RESTORE or a writable /proc/sys"),
          rule(
              "File (\\S+) has bad size (\\d+) \\(expect (\\d+)\\)",
              "the file /$1 has $2 bytes, the task was saved with $3",
              "the file came with the machine image or lies outside the saved paths: use the same"
                  + " image, or --preserve its folder"),
          rule(
              "File (\\S+) has bad (build-ID|mode).*",
              "the file /$1 is not the one that the task was saved with ($2 differs)",
              "restore on the same machine image"),
          rule(
              "Can't open file (\\S+) on restore: (.*)",
              "the file /$1 that the task has open is missing here ($2)",
              "restore on the same machine image, or --preserve its folder from the start"),
          rule(
              "Connected TCP socket, consider using --tcp-established",
              "the task has an established TCP connection",
              "this is Lifeboat's to handle: please report it"),
          rule(
              "Need to set the --tcp-close options",
              "the dump closed the task's TCP connections",
              "this is Lifeboat's to handle: please report it"),
          host(
              "Can't bind inet socket back: (.*)|Can't bind inet socket.*",
              "an address that the task's socket was bound to is not on this host, or taken",
              "end what listens on that port, or run in a network namespace of its own"),
          rule(
              "Can't get 1:16 opt.*",
              "this CRIU is too old for this kernel",
              "install CRIU 4.2 or later"),
          rule(
              "vdso: Unexpected rt vDSO area bounds",
              "this CRIU is too old for this kernel",
              "install CRIU 4.2 or later"),
          rule(
              "Can't splice all pages to pipe.*",
              "the task has guarded memory that this CRIU cannot read",
              "install CRIU 4.2 or later"),
          rule(
              "Some file locks are hold.*",
              "the task holds file locks",
              "this is Lifeboat's to handle: please report it"),
          rule(
              "Can't dump ghost file (\\S+) of (\\d+) size.*",
              "the deleted file $1 of $2 bytes that the task has open is too large",
              "this is Lifeboat's to handle: please report it"),
          rule(
              "(?:A )?session leader of (\\S+) is outside.*|.*not a session leader.*",
              "the task's session began outside of it",
              "start it through lifeboat run"),
          rule(
              ".*doesn't live in IPC ns.*",
              "the task uses System V IPC of another namespace",
              "start it through lifeboat run"),
          rule(
              "Unknown shit \\d+ \\(anon_inode:\\[io_uring\\]\\).*|.*io_uring.*",
              "the task uses io_uring, which cannot be checkpointed",
              "switch it off in the program, as UV_USE_IO_URING=0 does for Node.js"),
          rule(
              "send_fds failed \\(-22\\)",
              "the task has a descriptor that cannot be checkpointed, as those of io_uring",
              "switch io_uring off in the program, as UV_USE_IO_URING=0 does for Node.js"),
          rule(
              ".*anon_inode:\\[userfaultfd\\].*",
              "the task uses userfaultfd, which cannot be checkpointed",
              "switch it off in the program"),
          rule(
              "Can't dump file \\d+ of that type \\[\\d+\\] \\((.*)\\)",
              "the task has a $1 open, which cannot be checkpointed",
              "close it in the program before a checkpoint"),
          rule(
              ".*Can't lookup mount=(\\d+) for fd=(\\d+).*",
              "descriptor $2 of the task was opened in another mount namespace",
              "do not hand open files of the host to the task"),
          rule(
              ".*\\(fuse\\): always fail.*",
              "the task runs in a mount namespace of its own that has a FUSE file system",
              "start it through lifeboat run in the same mount namespace"),
          rule(
              "External socket is used.*|Can't dump half of stream unix connection.*",
              "the task has a UNIX socket connected to a process outside of it",
              "start that process as part of the task, or close the connection"),
          rule(
              "Dirty tracking is OFF|BUG at criu/mem.c.*",
              "this kernel cannot track changed memory",
              "take full dumps only"),
          symptom(
              "(?:page-xfer: )?The page server doesn't answer.*|Can't write to"
                  + " page.?server.*|.*page-xfer:.*Broken pipe.*|.*send_psi.*",
              "the connection to Lifeboat's page server broke",
              BROKEN_CONNECTION),
          rule(
              ".*suspend(?:ing)? seccomp.*|Dumping seccomp filters not supported.*",
              "the container's seccomp profile forbids CRIU's work",
              "run the container with --security-opt seccomp=unconfined"),
          rule(
              "Unable to interrupt task: (\\d+) \\((.*)\\)",
              "process $1 cannot be stopped ($2)",
              "no debugger may be attached; the container needs CAP_SYS_PTRACE"),
          rule(
              ".*(?:xsave|FPU).*(?:mismatch|not supported|unsupported).*|.*CPU instruction"
                  + " capabilities do not match.*|.*CPU.*(?:feature|capabilit).*(?:not|mis).*",
              "this machine's CPU lacks features that the task may use",
              "restore on an instance type with the same or a newer CPU"),
          rule(
              "Not supported images version.*|(?:Head m|M)agic doesn't match for.*",
              "the snapshot was made by a CRIU that this one is too old for",
              "install the version that made it (lifeboat inspect names it), or a newer one"),
          rule(
              "Can't change cwd: (.*)|(?:mnt: )?Unable to (?:open|restore) cwd: (.*)|Can't open"
                  + " cwd",
              "a working directory of the task's processes is missing here",
              "make it, or --preserve its parent from the start"),
          host(
              ".*chroot.*: Operation not permitted|.*chroot.* failed.*-1.*",
              "the container may not change the root directory",
              "give it CAP_SYS_CHROOT"),
          host(
              "Can't set(?:groups|u?id|resuid|resgid).*|.*Can't (?:set|restore)"
                  + " (?:uid|gid|creds).*",
              "the container may not take the task's user and groups on",
              "give it CAP_SETUID and CAP_SETGID"),
          host(
              "Unable to (?:drop|raise ambient|restore) capabilit.*",
              "the container may not give the task the capabilities that it had",
              "give it CAP_SETPCAP, and what the first container had"),
          host(
              "sockets: Unable to set socket SO_SNDBUFFORCE/SO_RCVBUFFORCE.*",
              "the container may not give the task's sockets the buffers that they had",
              "give it CAP_NET_ADMIN"),
          host(
              ".*: Cannot allocate memory",
              "there is not enough memory",
              "give the container more: the task's own, and half a GiB"),
          host(
              "(?:sfd: )?Can't chose service_fd_base: (\\d+) (\\d+)",
              "a process may have $1 files open here, and the task with CRIU needs more than $2",
              "raise the hard limit (ulimit -Hn; docker or podman run --ulimit nofile=...)"),
          host(
              ".*: Too many open files",
              "the limit of open files is too low for CRIU",
              "raise it (ulimit -n; docker or podman run --ulimit nofile=...)"),
          host(
              ".*Unable to set a (?:monotonic|boottime) clock offset.*|Unable to create a new time"
                  + " namespace: Operation not permitted",
              "the container may not set a clock offset",
              "give it CAP_SYS_TIME"),
          host(
              ".*(?:Can't open|Unable to open|open_image).*(?:No space left on device).*",
              "no space is left on the disk for CRIU's images",
              "free space in LIFEBOAT_CACHE_LOCATION"),
          rule(
              "OOM storing pipe",
              "the task has more than 1,024 pipes open, which CRIU cannot dump",
              "let it open fewer, or use sockets instead"),
          host(
              ".*No space left on device.*",
              "no space is left on the disk",
              "free space in LIFEBOAT_CACHE_LOCATION"),
          host(
              "(.*(?:Can't|Unable to|Failed to).*): Operation not permitted",
              "CRIU lacks a privilege: $1",
              "run as root, in a container with --privileged"));

  private static final Pattern ERROR =
      Pattern.compile("^(?:\\([0-9.]+\\) +|pie: )(?:(\\d+): )?Error \\(([^)]*)\\): (.*)$");

  private CriuLog() {}

  private static Rule rule(String pattern, String cause, String remedy) {
    return new Rule(Pattern.compile(pattern), cause, remedy, false, false);
  }

  /** What lies with the host: no other snapshot would fare better on it. */
  private static Rule host(String pattern, String cause, String remedy) {
    return new Rule(Pattern.compile(pattern), cause, remedy, false, true);
  }

  /** A line that also stands behind other causes: it counts only when nothing stands before it. */
  private static Rule symptom(String pattern, String cause, String remedy) {
    return new Rule(Pattern.compile(pattern), cause, remedy, true, false);
  }

  /**
   * The cause of a failure.
   *
   * @return empty when the log has no error line: CRIU was killed, or never got so far
   */
  public static Optional<Failure> explain(Path log) throws IOException {
    if (!Files.exists(log)) {
      return Optional.empty();
    }
    Failure first = null;
    for (String line : tail(log).split("\n", -1)) {
      Matcher error = ERROR.matcher(line);
      if (!error.matches()) {
        continue;
      }
      String text = error.group(3).strip();
      if (text.startsWith("rlimit:")) {
        continue; // where it may not raise its limits, it says so each time and goes on
      }
      for (Rule rule : RULES) {
        Matcher matcher = rule.pattern.matcher(text);
        if (matcher.find()) {
          if (first != null && rule.remedy.equals(BROKEN_CONNECTION)) {
            return Optional.of(first); // CRIU hangs up when it gives up, and complains of that too
          }
          Failure failure =
              new Failure(fill(rule.cause, matcher), rule.remedy, line.strip(), rule.host);
          if (!rule.symptom) {
            return Optional.of(failure);
          }
          first = first == null ? failure : first;
          break;
        }
      }
      if (first == null) {
        first = new Failure(text, "", line.strip(), false);
      }
    }
    return Optional.ofNullable(first);
  }

  /** Whether the log ends as CRIU ends it when all went well. */
  public static boolean finished(Path log) throws IOException {
    return Files.exists(log) && tail(log).contains(" finished successfully");
  }

  private static String tail(Path log) throws IOException {
    try (RandomAccessFile file = new RandomAccessFile(log.toFile(), "r")) {
      long from = Math.max(0, file.length() - TAIL);
      file.seek(from);
      byte[] bytes = new byte[(int) (file.length() - from)];
      int read = 0;
      while (read < bytes.length) {
        int n = file.read(bytes, read, bytes.length - read);
        if (n < 0) {
          break;
        }
        read += n;
      }
      return new String(bytes, 0, read, StandardCharsets.UTF_8);
    }
  }

  private static String fill(String template, Matcher matcher) {
    String text = template;
    for (int i = matcher.groupCount(); i >= 1; i--) {
      text = text.replace("$" + i, matcher.group(i) == null ? "?" : matcher.group(i));
    }
    return text.replace("//", "/"); // CRIU's paths have a slash in front, or none
  }

  private record Rule(
      Pattern pattern, String cause, String remedy, boolean symptom, boolean host) {}

  /**
   * Why CRIU failed.
   *
   * @param cause in words
   * @param remedy what to do; empty when none is known
   * @param line the line of the log that says it
   * @param host whether it lies with the host: no other snapshot would fare better on it
   */
  public record Failure(String cause, String remedy, String line, boolean host) {
    @Override
    public String toString() {
      return cause + (remedy.isEmpty() ? "" : " (" + remedy + ")");
    }
  }
}
