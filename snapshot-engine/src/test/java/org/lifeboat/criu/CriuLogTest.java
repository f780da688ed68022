package org.lifeboat.criu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The lines are CRIU's own, most of them of 4.2.1 on Linux 6.18. */
final class CriuLogTest {

  private static final String RLIMIT =
      "(00.049253) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation"
          + " not permitted\n";

  private static final String LAST = "(00.187321) Error (criu/cr-dump.c:1975): Dumping FAILED.\n";

  @TempDir private Path folder;

  private Path log(String text) throws IOException {
    return Files.writeString(folder.resolve("log"), text);
  }

  /** CRIU hangs up on our page server when it gives up, and complains of that as well. */
  @Test
  void whatBrokeTheConnectionIsTheCause() throws IOException {
    String broken =
        "(01.824069) Error (criu/page-xfer.c:1534): page-xfer: The page server doesn't answer: No"
            + " such file or directory\n";
    assertEquals(
        "something new under the sun",
        CriuLog.explain(
                log(
                    "(01.794800) Error (criu/x.c:1): something new under the sun\n"
                        + broken
                        + LAST))
            .orElseThrow()
            .cause());
    assertEquals(
        "the connection to Lifeboat's page server broke",
        CriuLog.explain(log(RLIMIT + broken + LAST)).orElseThrow().cause());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "(00.185359) Error (criu/cr-restore.c:1237): Can't fork for 20432: File exists|process id"
            + " 20432 is taken on this host",
        "(00.054959)  22112: Error (criu/files-reg.c:2175): File tmp/et/f.txt has bad size 10"
            + " (expect 5)|the file /tmp/et/f.txt has 10 bytes, the task was saved with 5",
        "(00.054959)  22112: Error (criu/files-reg.c:2175): File /tmp/et/f.txt has bad size 10"
            + " (expect 5)|the file /tmp/et/f.txt has 10 bytes",
        "(00.034125)    914: Error (criu/files-reg.c:2131): File usr/lib/libc.so.6 has bad"
            + " build-ID|the file /usr/lib/libc.so.6 is not the one that the task was saved with"
            + " (build-ID differs)",
        "(00.030918)     62: Error (criu/files-reg.c:2315): Can't open file var/log/x on restore:"
            + " No such file or directory|the file /var/log/x that the task has open is missing"
            + " here (No such file or directory)",
        "(00.348011) Error (criu/sk-unix.c:874): unix: External socket is used. Consider using"
            + " --ext-unix-sk option.|UNIX socket connected to a process outside",
        "(00.129094) Error (criu/sk-inet.c:200): inet: Connected TCP socket, consider using"
            + " --tcp-established option.|established TCP connection",
        "(00.119190) Error (criu/file-lock.c:110): Some file locks are hold by dumping tasks! You"
            + " can try --file-locks to dump them.|holds file locks",
        "pie: 22246: Error (criu/pie/parasite.c:588): send_fds failed (-22)|io_uring",
        "(00.066609) Error (criu/files-ext.c:94): Can't dump file 3 of that type [600] (anon"
            + " anon_inode:[userfaultfd])|userfaultfd",
        "(00.058109) Error (criu/files-ext.c:94): Can't dump file 4 of that type [600] (anon"
            + " anon_inode:[perf_event])|the task has a anon anon_inode:[perf_event] open",
        "(00.117426) Error (criu/cr-dump.c:478): Task 22489 with SysVIPC shmem map @7f58acdcf000"
            + " doesn't live in IPC ns|System V IPC",
        "(00.012004) Error (criu/files-reg.c:1830): Can't lookup mount=24 for fd=2"
            + " path=/dev/null|descriptor 2 of the task was opened in another mount namespace",
        "(00.030102) Error (criu/image.c:445): Can't open core-1.img: No space left on device|no"
            + " space is left on the disk for CRIU's images",
        "(01.794800) Error (criu/pipes.c:416): OOM storing pipe|more than 1,024 pipes",
        "(00.020102) Error (criu/x.c:1): Can't do it: Operation not permitted|CRIU lacks a"
            + " privilege",
        "(00.020102) Error (criu/x.c:1): something new under the sun|something new under the sun",
      })
  void findsTheCause(String line, String cause) throws IOException {
    CriuLog.Failure failure =
        CriuLog.explain(log("(00.000044) Version: 4.2.1 (gitid 0)\n" + RLIMIT + line + "\n" + LAST))
            .orElseThrow();
    assertTrue(failure.cause().contains(cause), failure::toString);
    assertEquals(line, failure.line());
    assertFalse(failure.toString().contains("$"), failure::toString);
  }

  @ParameterizedTest
  @CsvSource({
    "true,sfd: Can't chose service_fd_base: 256 287",
    "true,Can't fork for 77: Cannot allocate memory",
    "false,Can't open file opt/x on restore: No such file or directory",
    "false,something new",
  })
  void tellsWhetherItLiesWithTheHost(boolean host, String message) throws IOException {
    assertEquals(
        host,
        CriuLog.explain(log("(00.020102) Error (criu/x.c:1): " + message + "\n"))
            .orElseThrow()
            .host());
  }

  /** Every known cause comes with something to do. */
  @Test
  void aKnownCauseHasARemedy() throws IOException {
    assertEquals(
        "process id 7 is taken on this host (it is tried again; if it stays so, end the process"
            + " that has it, or run in a fresh container)",
        CriuLog.explain(
                log("(00.185359) Error (criu/cr-restore.c:1237): Can't fork for 7: File exists\n"))
            .orElseThrow()
            .toString());
  }

  @Test
  void aKnownCauseBehindUnknownOnesIsFound() throws IOException {
    assertTrue(
        CriuLog.explain(
                log(
                    "(00.1) Error (criu/a.c:1): first\n"
                        + "(00.2) Error (criu/a.c:1): Can't fork for 7: File exists\n"))
            .orElseThrow()
            .cause()
            .contains("process id 7"));
  }

  /** CRIU's lines as its source has them; each is known, and in words. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "compel/src/lib/infect.c:262|Unseizable non-zombie 1002 found, state S, err -1/10|process"
            + " 1002 cannot be stopped: a debugger",
        "criu/cr-dump.c:389|Can't get rlimit 0: Operation not permitted|another user",
        "criu/namespaces.c:1|Can't dump nested pid namespace for 77|process 77 has a pid namespace"
            + " of its own",
        "criu/cr-dump.c:1|Can't dump task 77 running in 32-bit mode|process 77 is a 32-bit program",
        "criu/files-ext.c:94|Can't dump file 4 of that type [20666] (chr 195:255)|GPU",
        "criu/files-ext.c:94|Can't dump file 4 of that type [20666] (chr 10:229)|FUSE",
        "criu/sk-inet.c:1|inet: Unsupported proto 132 for socket 3f|network socket of a kind",
        "criu/sockets.c:1|sockets: BUG! Unknown socket collected (family 40)|AF_VSOCK",
        "criu/fsnotify.c:1|fsnotify: \tCan't dump that handle|watches (inotify, fanotify)",
        "criu/pipes.c:1|The packetized mode for pipes is not supported yet|packet mode",
        "criu/x86/cpu.c:1|cpu: CPU instruction capabilities do not match run time|CPU lacks"
            + " features",
        "criu/x86/cpu.c:1|cpu: CPU xsave size mismatch (2696/832)|CPU lacks features",
        "criu/protobuf.c:1|Not supported images version 3|too old",
        "criu/x.c:1|Can't change cwd: No such file or directory|working directory",
        "criu/timens.c:1|Unable to set a monotonic clock offset: Operation not permitted|clock"
            + " offset",
        "criu/timens.c:1|Unable to create a new time namespace: Operation not permitted|clock"
            + " offset",
        "criu/sockets.c:1|sockets: Unable to set socket SO_SNDBUFFORCE/SO_RCVBUFFORCE: Operation"
            + " not permitted|buffers",
        "criu/seize.c:1|couldn't suspend seccomp: Operation not permitted|seccomp",
        "criu/shmem.c:1|Can't mmap: Cannot allocate memory|not enough memory",
        "criu/image.c:1|Can't open x: Too many open files|limit of open files",
        "criu/net.c:1|Can't make it: Operation not permitted|CRIU lacks a privilege: Can't make it",
      })
  void saysItInWordsWithARemedy(String place, String text, String cause) throws IOException {
    CriuLog.Failure failure =
        CriuLog.explain(log("(00.000044)      9: Error (" + place + "): " + text + "\n" + LAST))
            .orElseThrow();
    assertTrue(failure.cause().contains(cause), failure::toString);
    assertFalse(failure.remedy().isEmpty(), failure::toString);
  }

  /** When CRIU gives up for a reason of its own, the page server does not get its last word. */
  @Test
  void regression_thePageServerIsNotToBlameForWhatStandsBefore() throws IOException {
    String after =
        "(00.2) Error (criu/page-xfer.c:1534): page-xfer: The page server doesn't answer: No such"
            + " process\n";
    assertTrue(
        CriuLog.explain(
                log(
                    "(00.1) Error (compel/src/lib/infect.c:262): Unseizable non-zombie 7 found,"
                        + " state S, err -1/10\n"
                        + after))
            .orElseThrow()
            .cause()
            .contains("process 7"));
    assertEquals(
        "one",
        CriuLog.explain(log("(00.1) Error (criu/a.c:1): one\n" + after)).orElseThrow().cause());
    assertTrue(CriuLog.explain(log(after)).orElseThrow().cause().contains("page server broke"));
  }

  @Test
  void ofUnknownOnesTheFirstIsQuoted() throws IOException {
    assertEquals(
        "one",
        CriuLog.explain(
                log(RLIMIT + "(00.1) Error (criu/a.c:1): one\n(00.2) Error (criu/a.c:2): two\n"))
            .orElseThrow()
            .toString());
  }

  @Test
  void noErrorNoCause() throws IOException {
    String good = "(00.1) Dumping processes (pid: 7)\n" + RLIMIT;
    assertEquals(Optional.empty(), CriuLog.explain(log(good)));
    assertEquals(Optional.empty(), CriuLog.explain(log("")));
    assertEquals(Optional.empty(), CriuLog.explain(folder.resolve("none")));
  }

  @Test
  void tellsWhetherItFinished() throws IOException {
    assertTrue(CriuLog.finished(log("(00.2) Dumping finished successfully\n")));
    assertTrue(CriuLog.finished(log("(00.2) Restore finished successfully. Tasks resumed.\n")));
    assertFalse(CriuLog.finished(log(LAST)));
    assertFalse(CriuLog.finished(folder.resolve("none")));
  }

  @Test
  void readsTheEndOfALongLog() throws IOException {
    String noise = "(00.000001) a line that says nothing in particular\n".repeat(120_000);
    Path file = log(noise + "(00.185359) Error (criu/a.c:1): Can't fork for 7: File exists\n");
    assertTrue(Files.size(file) > 5 << 20);
    assertTrue(CriuLog.explain(file).orElseThrow().cause().contains("process id 7"));
  }

  @Test
  void rubbishIsNoCause() throws IOException {
    byte[] rubbish = new byte[100_000];
    new java.util.Random(4).nextBytes(rubbish);
    Files.write(folder.resolve("log"), rubbish);
    assertEquals(Optional.empty(), CriuLog.explain(folder.resolve("log")));
    assertTrue(
        CriuLog.explain(
                log(
                    new String(rubbish, StandardCharsets.ISO_8859_1)
                        + "\n(00.1) Error (criu/a.c:1): one\n"))
            .isPresent());
  }
}
