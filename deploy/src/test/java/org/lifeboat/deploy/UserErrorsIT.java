package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The rows of `docs/errors.md`: each is a command that fails on a host, grouped by what has to be
 * set up for it.
 */
final class UserErrorsIT {

  private static final String STORE = "file:///media/store";

  /** The table has no row without a test; {@link UserErrors#check} finds tests without a row. */
  @Test
  void everyRowHasItsTest() throws IOException {
    String source =
        Files.readString(
            Host.DEPLOY.resolve("src/test/java/org/lifeboat/deploy/UserErrorsIT.java"));
    List<String> untested = new ArrayList<>(UserErrors.table().keySet());
    untested.removeIf(row -> source.contains('"' + row + '"'));
    assertEquals(List.of(), untested);
  }

  @Test
  void rightsAndFolders() throws Exception {
    try (Scene scene = new Scene("errors-rights", Site.Kind.FILE)) {
      Host host = scene.host();
      UserErrors errors = new UserErrors(host);
      errors.under("setpriv", "--reuid", "65534", "--clear-groups").run("not root", STORE);
      for (String row :
          List.of(
              "without CAP_SYS_ADMIN",
              "without CAP_SYS_PTRACE",
              "without CAP_NET_ADMIN",
              "without CAP_SYS_TIME",
              "without CAP_SYS_CHROOT",
              "without CAP_SETPCAP")) {
        String right = "-" + row.replaceFirst("^without CAP_", "").toLowerCase(Locale.ROOT);
        errors.under("setpriv", "--bounding-set", right, "--inh-caps", right).run(row, STORE);
      }
      errors
          .under("/usr/bin/python3", "/srv/src/test/hosts/seccomp.py", "allow")
          .run("a seccomp filter", STORE);
      errors.under(
          "unshare",
          "-m",
          "sh",
          "-c",
          "while umount -l /proc 2>/dev/null; do :; done; exec \"$@\"",
          "sh");
      errors.run("no /proc", STORE);
      errors.under("sh", "-c", "ulimit -n 512; exec \"$@\"", "sh").run("few open files", STORE);

      host.run("sh", "-c", "echo >/mnt/file; mkdir /mnt/readonly /mnt/full");
      host.run("mount", "-t", "tmpfs", "-o", "ro", "lifeboat-test", "/mnt/readonly");
      host.run("mount", "-t", "tmpfs", "-o", "size=64k", "lifeboat-test", "/mnt/full");
      host.run("sh", "-c", "mkdir /mnt/full/run; cat /dev/zero >/mnt/full/zeros || true");
      errors.with("LIFEBOAT_RUN_BASE", "relative").run("LIFEBOAT_RUN_BASE is relative", STORE);
      errors
          .with("LIFEBOAT_RUN_BASE", "/mnt/" + "long".repeat(20))
          .run("LIFEBOAT_RUN_BASE is too long", STORE);
      errors.with("LIFEBOAT_RUN_BASE", "/mnt/readonly/x");
      errors.run("LIFEBOAT_RUN_BASE cannot be made", STORE);
      errors.with("LIFEBOAT_RUN_BASE", "/mnt/readonly");
      errors.run("LIFEBOAT_RUN_BASE cannot be written", STORE);
      errors.with("LIFEBOAT_RUN_BASE", "/mnt/full/run");
      errors.run("LIFEBOAT_RUN_BASE is full", STORE);
      errors.with("LIFEBOAT_CACHE_LOCATION", "/mnt/readonly");
      errors.run("the cache cannot be written", STORE);
      errors.with("LIFEBOAT_CACHE_LOCATION", "/mnt/file").run("the cache is a file", STORE);
      errors.run("a file store that is a file", "file:///mnt/file");
      errors.run("a file store below a file", "file:///mnt/file/store");
      errors.run("a file store that is read-only", "file:///mnt/readonly/store");
      errors.run("a file store that is full", "file:///mnt/full/store");

      host.run(
          "sh", "-c", "printf '#!/bin/sh\\necho Version: 3.17.1\\n' >/mnt/old; chmod +x /mnt/old");
      host.run("sh", "-c", "printf '#!/bin/sh\\necho hello\\n' >/mnt/other; chmod +x /mnt/other");
      errors.with("LIFEBOAT_CRIU", "/mnt/none").run("CRIU is not where LIFEBOAT_CRIU says", STORE);
      errors.under(
          "unshare",
          "-m",
          "sh",
          "-c",
          "for p in /srv/target/lifeboat/criu/bin/criu /usr/sbin/criu /usr/bin/criu /usr/local/sbin/criu /usr/local/bin/criu; do"
              + " [ ! -e $p ] || mount --bind /dev/null $p; done; exec \"$@\"",
          "sh");
      errors.with("LIFEBOAT_CRIU", "").run("CRIU is not installed", STORE);
      errors.with("LIFEBOAT_CRIU", "/mnt/old").run("CRIU is too old", STORE);
      errors.with("LIFEBOAT_CRIU", "/mnt/file").run("CRIU is not executable", STORE);
      errors.with("LIFEBOAT_CRIU", "/mnt/other").run("it is not CRIU", STORE);
      errors.assertNone();
      assertEquals(false, UserErrors.exists(host, "/media/store/.fusion"), "no store was touched");
    }
  }

  @Test
  void commandLines() throws Exception {
    try (Scene scene = new Scene("errors-lines", Site.Kind.FILE)) {
      Host host = scene.host();
      UserErrors errors = new UserErrors(host);
      errors.lifeboat("no command", new String[0]);
      errors.lifeboat("an unknown command", "walk");
      errors.lifeboat("an unknown option", "run", "--store", STORE, "--often", "--", "true");
      errors.lifeboat("no store", "run", "--", "true");
      errors.lifeboat("an option without its value", "run", "--store");
      errors.lifeboat("no command to run", "run", "--store", STORE);
      errors.lifeboat("a bad duration", "run", "--store", STORE, "--every", "soon", "--", "true");
      errors.lifeboat("a bad choice", "run", "--store", STORE, "--after-dump=dance", "--", "true");
      errors.run("a store that is no URL", "/mnt/store");
      errors.run("a store of an unknown kind", "ftp://host/store");
      errors.run("a file store with a host", "file://relative/store");
      errors.run("a store in Google's cloud", "gs://bucket/store");
      errors.with("LIFEBOAT_POOL_SIZE", "lots").run("a bad size", STORE);
      errors.with("LIFEBOAT_LOG_LEVEL", "loud").run("a bad log level", STORE);
      errors.with("LIFEBOAT_REQUEST_LOG", "/mnt").run("a bad request log", STORE);
      errors.with("AWS_ENDPOINT_URL_S3", "ftp://x").run("a bad endpoint", "s3://bucket/store");
      errors.with("LIFEBOAT_REQUESTER_PAYS", "maybe");
      errors.run("a bad answer to who pays", "s3://bucket/store");
      errors.with("FUSION_TAGS", "rubbish").run("bad tags", "s3://bucket/store");
      errors.lifeboat("a checkpoint without a run", "checkpoint", "--store", STORE);
      errors.lifeboat("inspect of nothing", "inspect", "--store", STORE);
      errors.lifeboat("verify of nothing", "verify", "--store", STORE);
      errors.lifeboat("rm of nothing", "rm", "--store", STORE, "1");
      errors.lifeboat("rm without saying what", "rm", "--store", STORE);
      errors.lifeboat("rm of all and of one", "rm", "--store", STORE, "--all", "1");
      errors.lifeboat("a number that is none", "rm", "--store", STORE, "one");
      assertEquals(false, UserErrors.exists(host, "/media/store/.fusion"), "no store was touched");

      host.run("sh", "-c", "printf '#!/no/shell\\n' >script; chmod +x script; echo >plain");
      errors.lifeboat("a command that is not there", "run", "--store", STORE, "--", "none");
      errors.lifeboat("a path that is not there", "run", "--store", STORE, "--", "./none");
      errors.lifeboat("no interpreter", "run", "--store", STORE, "--", "./script");
      errors.lifeboat("a command without x", "run", "--store", STORE, "--", "./plain");
      errors.lifeboat("a command that is a folder", "run", "--store", STORE, "--", "/mnt");
      errors.inside(
          "a working directory that is gone", "mkdir gone; cd gone; rmdir ../gone", STORE);
      errors.assertNone();
    }
  }

  /** What a user's own variables say to other Java programs does not disturb ours. */
  @Test
  void variablesOfOthersDisturbNothing() throws Exception {
    try (Scene scene = new Scene("errors-variables", Site.Kind.FILE)) {
      Host host = scene.host();
      Map<String, String> hostile = new TreeMap<>();
      hostile.put("JAVA_TOOL_OPTIONS", "-XX:NoSuchOption");
      hostile.put("_JAVA_OPTIONS", "-Xmx1k");
      hostile.put("JDK_JAVA_OPTIONS", "-version");
      hostile.put("CLASSPATH", "/nowhere");
      hostile.put("LD_PRELOAD", "");
      hostile.put("TMPDIR", "/no/such/folder");
      hostile.put("LANG", "xx_XX");
      Program run = host.lifeboat(hostile, scene.runArguments(List.of("/bin/echo", "fine")));
      run.expect(0);
      assertEquals(List.of("fine"), run.lines(""));
    }
  }

  @Test
  void stores() throws Exception {
    try (Scene scene = new Scene("errors-stores", Site.Kind.VERSITYGW)) {
      Host host = scene.host();
      UserErrors errors = new UserErrors(host);
      String there = scene.url();
      errors.run("no such bucket", "s3://elsewhere/task");
      errors.with("AWS_SECRET_ACCESS_KEY", "wrong").run("a wrong secret key", there);
      errors.with("AWS_ACCESS_KEY_ID", "nobody").run("an unknown access key", there);
      scene.site().addAccount("stranger", "secret", "user");
      errors.with("AWS_ACCESS_KEY_ID", "stranger").with("AWS_SECRET_ACCESS_KEY", "secret");
      errors.run("a bucket that refuses", there);
      errors.lifeboat("a list of no bucket", "list", "--store", "s3://elsewhere/task");
      errors.assertNone();
    }
  }

  @Test
  void anotherRegionIsNoError() throws Exception {
    try (Scene scene = new Scene("errors-region", Site.Kind.VERSITYGW)) {
      Program run =
          scene
              .host()
              .lifeboat(
                  Map.of("AWS_REGION", "eu-west-1"),
                  scene.runArguments(List.of("/bin/echo", "fine")));
      run.expect(0);
      assertEquals(List.of("fine"), run.out());
      assertNotEquals(0, run.lines("bucket bucket is in us-east-1: requests go there").size());
    }
  }

  /** A minute each, as a store that is away may come back; all at once. */
  @Tag("long")
  @Test
  void storesThatDoNotAnswer() throws Exception {
    try (Scene scene = new Scene("errors-silence", Site.Kind.VERSITYGW)) {
      Host host = scene.host();
      String endpoint = host.environment().get("AWS_ENDPOINT_URL");
      UserErrors errors = new UserErrors(host);
      Map<String, Program> all = new TreeMap<>();
      String[] run = {"run", "--store", "s3://bucket/", "--", "/bin/true"};
      Map<String, String> endpoints =
          Map.of(
              "a port where nobody listens",
              endpoint.replaceFirst(":\\d+$", ":9"),
              "a name that has no address",
              "http://store.invalid:7070",
              "an address that nothing leads to",
              "http://10.99.0.1:7070",
              "https to a server without it",
              endpoint.replaceFirst("http:", "https:"));
      int n = 0;
      for (Map.Entry<String, String> wrong : endpoints.entrySet()) {
        run[2] = "s3://bucket/" + ++n;
        errors.with("AWS_ENDPOINT_URL_S3", wrong.getValue());
        all.put(wrong.getKey(), errors.start(run));
      }
      errors.with("AWS_ACCESS_KEY_ID", "").with("AWS_SECRET_ACCESS_KEY", "");
      run[2] = "s3://bucket/" + ++n;
      all.put("no credentials", errors.start(run));
      errors.with("AWS_ENDPOINT_URL", "").with("AWS_REGION", "");
      run[2] = "s3://bucket/" + ++n;
      all.put("no region", errors.start(run));
      for (Map.Entry<String, Program> one : all.entrySet()) {
        if (!one.getKey().startsWith("no ")) {
          one.getValue().awaitLine("the store does not answer, trying for");
        }
        errors.check(one.getKey(), one.getValue());
      }
      errors.assertNone();
    }
  }

  @Test
  void checkpointsThatCannotBe() throws Exception {
    try (Scene scene = new Scene("errors-checkpoints", Site.Kind.FILE)) {
      Host host = scene.host();
      UserErrors errors = new UserErrors(host);
      String task = "file:///media/" + Scene.NAME;
      Program run =
          host.start(
              Map.of(),
              List.of("setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource"),
              List.of(
                  Host.LIFEBOAT,
                  "run",
                  "--store",
                  task,
                  "--after-dump",
                  "park",
                  "--",
                  "/usr/bin/python3",
                  "/srv/src/test/workloads/awkward.py"));
      run.awaitLine("^ready$");
      errors.lifeboat("two runs of one store", "run", "--store", task, "--", "/bin/true");
      errors.under("setpriv", "--reuid", "65534", "--clear-groups");
      errors.lifeboat("a checkpoint by another user", "checkpoint", "--store", task);
      String[] checkpoint = {"checkpoint", "--store", task};
      int n = 0;
      for (String row :
          List.of(
              "a task with a debugger",
              "a task with a user",
              "a task with a namespace",
              "a task with a uring",
              "a task with a socket",
              "a task with a watch")) {
        String what = row.replaceFirst("^a task with a ", "");
        host.run("touch", what);
        run.awaitLine("^" + what + " is there$");
        errors.check(row, errors.start(checkpoint));
        host.run("rm", what);
        run.awaitLine("^" + what + " is gone$");
        n++;
      }
      assertEquals(n, run.lines("ERROR .*dump.* failed, the task goes on").size());
      scene.checkpoint(host).expect(0);
      run.awaitLine("staying until this host is gone");
      errors.check("a checkpoint of a task that is saved", errors.start(checkpoint));
      host.run("pkill", "-TERM", "-o", "-f", "lifeboat-init.*awkward");
      run.expect(75);
      errors.lifeboat("another command", "run", "--store", task, "--", "/bin/true");
      String newest = Integer.toString(scene.dumps(host).getLast().path("id").asInt());
      errors.lifeboat("a dump that is not there", "inspect", "--store", task, "99");
      errors.lifeboat("rm of the last snapshot", "rm", "--store", task, newest);
      errors.assertNone();
    }
  }

  /** The image of the second machine differs, and so does its CPU. */
  @Test
  void hostsThatDiffer() throws Exception {
    try (Scene scene = new Scene("errors-hosts", Site.Kind.FILE)) {
      Host host = scene.host();
      host.run("mount", "-t", "tmpfs", "lifeboat-test", "/opt");
      host.run("cp", "/bin/sleep", "/opt/program");
      host.run("touch", "-d", "2020-01-01", "/opt/program");
      List<String> command = List.of("/opt/program", "1000");
      Program run = scene.run(host, command);
      while (scene.checkpoint(host, "--leave-running").await() != 0) {
        assertEquals(true, run.running(), run::toString);
      }
      host.kill();

      Host second = scene.host();
      UserErrors errors = new UserErrors(second);
      String[] again = scene.runArguments(command);
      errors.lifeboat("a program that is not here", again);
      second.run("mount", "-t", "tmpfs", "lifeboat-test", "/opt");
      second.run("cp", "/bin/true", "/opt/program");
      errors.lifeboat("another version of a program", again);
      second.run("cp", "/bin/sleep", "/opt/program");
      second.run("sh", "-c", "sed 's/ sse4_2//; s/ avx[^ ]*//g' /proc/cpuinfo >/mnt/cpuinfo");
      errors.under(
          "unshare",
          "--pid",
          "--fork",
          "--mount-proc",
          "sh",
          "-c",
          "mount --bind /mnt/cpuinfo /proc/cpuinfo; exec \"$@\"",
          "sh");
      errors.lifeboat("a CPU that lacks instructions", again);
      errors.assertNone();
    }
  }

  /** The older snapshot is not taken instead: on another host the newest one can be restored. */
  @Test
  void fewerOpenFilesThanTheTaskHas() throws Exception {
    try (Scene scene = new Scene("errors-files", Site.Kind.FILE)) {
      Host host = scene.host();
      List<String> task =
          List.of("/usr/bin/python3", "/srv/src/test/workloads/shapes.py", "descriptors", "1000");
      Program run = scene.run(host, task);
      run.awaitLine("^up$");
      scene.checkpoint(host, "--leave-running").expect(0);
      scene.checkpoint(host).expect(0);
      run.expect(75);

      UserErrors errors = new UserErrors(host);
      errors.under("sh", "-c", "ulimit -n 1024; exec \"$@\"", "sh");
      errors.check("a task with more open files", errors.start(scene.runArguments(task)));
      errors.assertNone();

      Program after = scene.run(host, task);
      after.awaitLine("restored snapshot 2");
      host.run("touch", "check");
      assertEquals(List.of("whole"), after.expect(0).out());
    }
  }

  /** The rights that are not asked for: what remains without each is enough. */
  @Tag("long")
  @ParameterizedTest
  @ValueSource(
      strings = {
        "chown",
        "dac_override",
        "dac_read_search",
        "fowner",
        "fsetid",
        "kill",
        "setgid",
        "setuid",
        "linux_immutable",
        "net_bind_service",
        "net_broadcast",
        "net_raw",
        "ipc_lock",
        "ipc_owner",
        "sys_module",
        "sys_rawio",
        "sys_pacct",
        "sys_boot",
        "sys_nice",
        "sys_resource",
        "sys_tty_config",
        "mknod",
        "lease",
        "audit_write",
        "audit_control",
        "setfcap",
        "mac_override",
        "mac_admin",
        "syslog",
        "wake_alarm",
        "block_suspend",
        "audit_read",
        "perfmon",
        "bpf",
        "checkpoint_restore"
      })
  void worksWithoutTheRight(String right) throws Exception {
    anyway(
        "right-" + right,
        List.of("setpriv", "--bounding-set", "-" + right, "--inh-caps", "-" + right));
  }

  /** What a container may lack without harm. */
  @Tag("long")
  @ParameterizedTest
  @ValueSource(
      strings = {
        "mount -o remount,bind,ro /proc/sys 2>/dev/null || { mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; }",
        "mount -o remount,hidepid=2 /proc",
        "umount /dev/shm",
        "ulimit -n 1024",
        "ulimit -Sn 256",
        "ulimit -u 4096"
      })
  void worksAnyway(String lack) throws Exception {
    anyway(
        "lack-" + lack.hashCode(),
        List.of("unshare", "-m", "sh", "-c", lack + "; exec \"$@\"", "sh"));
  }

  private static void anyway(String name, List<String> wrap) throws Exception {
    try (Scene scene = new Scene("errors-" + name, Site.Kind.FILE)) {
      Host host = scene.host();
      List<String> command = new ArrayList<>(List.of(Host.LIFEBOAT));
      command.addAll(List.of(scene.runArguments(Workload.COUNTER.command(60))));
      Program first = host.start(Map.of(), wrap, command);
      first.awaitLine("^step 3 ");
      scene.checkpoint(host).expect(0);
      first.expect(75);
      Program second = host.start(Map.of(), wrap, command);
      second.awaitLine("^step ");
      scene.finish(host, second, Workload.COUNTER);
      Workload.COUNTER.assertExact(60, first, second);
    }
  }
}
