package org.lifeboat.task;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.OpenFile;

final class RunRegistryTest {

  private static final StoreUrl URL = StoreUrl.parse("s3://bucket/job");
  private static final StoreUrl OTHER = StoreUrl.parse("s3://bucket/other");

  @TempDir private Path folder;
  private Path base;

  @BeforeEach
  void begin() {
    base = folder.resolve("base");
  }

  private Path run(String name) throws IOException {
    Path run = Files.createDirectories(base.resolve("run-" + name));
    Files.writeString(run.resolve("lock"), "");
    Files.writeString(run.resolve("control.sock"), "");
    return run;
  }

  private RunRegistry claim(StoreUrl url, Path run) throws IOException {
    return RunRegistry.claim(base, url, run).orElseThrow();
  }

  /** A run whose engine ended without a word: its link stays. */
  private Path killed(String name) throws IOException {
    Path run = run(name);
    Files.createSymbolicLink(base.resolve(RunRegistry.hash(URL)), run);
    return run;
  }

  private static String mode(Path path) throws IOException {
    return PosixFilePermissions.toString(Files.getPosixFilePermissions(path));
  }

  @Test
  void isFoundAndPrivate() throws IOException {
    Path mine = folder.resolve("mine");
    Files.createDirectories(mine);
    Files.writeString(mine.resolve("control.sock"), "");
    assertEquals(Optional.empty(), RunRegistry.controlSocket(base, URL));
    try (RunRegistry registry = claim(URL, mine)) {
      assertEquals("rwx------", mode(base));
      assertEquals("rw-------", mode(base.resolve(RunRegistry.hash(URL) + ".lock")));
      Path socket = RunRegistry.controlSocket(base, URL).orElseThrow();
      assertEquals(mine.resolve("control.sock").toRealPath(), socket.toRealPath());
      assertEquals(Optional.empty(), RunRegistry.controlSocket(base, OTHER));
      assertTrue(registry != null);
    }
    assertEquals(Optional.empty(), RunRegistry.controlSocket(base, URL));
  }

  @Test
  void aSecondClaimIsRefused() throws IOException {
    Path one = run("one");
    try (RunRegistry first = claim(URL, one);
        RunRegistry other = claim(OTHER, run("other"))) {
      assertEquals(Optional.empty(), RunRegistry.claim(base, URL, run("two")));
      assertEquals(one, Files.readSymbolicLink(base.resolve(RunRegistry.hash(URL))));
      assertTrue(first != other);
    }
    claim(URL, run("two")).close();
  }

  /** Another process has it, not only another object of this one. */
  @Test
  void aClaimOfAnotherProcessIsRefused() throws Exception {
    Files.createFile(run("one").resolveSibling(RunRegistry.hash(URL) + ".lock"));
    Path lock = base.resolve(RunRegistry.hash(URL) + ".lock");
    Process holder =
        new ProcessBuilder(
                "python3",
                "-c",
                "import fcntl,sys\n"
                    + "f=open(sys.argv[1],'r+'); fcntl.flock(f,fcntl.LOCK_EX); print('has it',flush=True)\n"
                    + "sys.stdin.read()",
                lock.toString())
            .start();
    assertEquals('h', holder.getInputStream().read());
    assertEquals(Optional.empty(), RunRegistry.claim(base, URL, run("two")));
    holder.getOutputStream().close();
    assertEquals(0, holder.waitFor());
    claim(URL, run("two")).close();
  }

  @Test
  void aRunThatWasKilledIsRemoved() throws IOException {
    Path dead = killed("dead");
    Path mine = run("mine");
    try (RunRegistry registry = claim(URL, mine)) {
      assertFalse(Files.exists(dead));
      assertTrue(Files.exists(mine));
      assertTrue(registry != null);
    }
  }

  /** Its engine is being started again; its task runs. */
  @Test
  void regression_aRunWhoseInitLivesKeepsItsPlace() throws IOException {
    Path alive = killed("alive");
    try (OpenFile lock = OpenFile.write(BytePath.of(alive.resolve("lock")))) {
      assertTrue(lock.tryLock());
      assertEquals(Optional.empty(), RunRegistry.claim(base, URL, run("mine")));
      assertTrue(Files.exists(alive.resolve("control.sock")));
      claim(URL, alive).close(); // its own engine comes back
    }
    Files.createSymbolicLink(base.resolve(RunRegistry.hash(URL)), alive);
    claim(URL, run("mine")).close();
    assertFalse(Files.exists(alive));
  }

  @Test
  void nothingIsLeftOfARunThatEnded() throws IOException {
    claim(URL, run("one")).close();
    assertEquals(List.of("run-one"), names());
  }

  /** A newcomer that has opened the lock's file before it was removed must not think it has it. */
  @Test
  void aLockWhoseFileWasRemovedIsNone() throws Exception {
    ExecutorService two = Executors.newFixedThreadPool(2);
    AtomicInteger holders = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    List<Callable<Integer>> claims = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      Path mine = run("thread" + i);
      claims.add(
          () -> {
            int got = 0;
            while (got < 50) {
              Optional<RunRegistry> claimed = RunRegistry.claim(base, URL, mine);
              if (claimed.isPresent()) {
                got++;
                most.accumulateAndGet(holders.incrementAndGet(), Math::max);
                holders.decrementAndGet();
                claimed.get().close();
              }
            }
            return got;
          });
    }
    for (Future<Integer> done : two.invokeAll(claims)) {
      assertEquals(50, done.get());
    }
    two.shutdown();
    assertEquals(1, most.get());
  }

  @Test
  void theFoldersOfOtherRunsThatWereKilledAreRemoved() throws IOException {
    Path dead = run("dead");
    Path beginning = Files.createDirectories(base.resolve("run-beginning"));
    Path old = Files.createDirectories(base.resolve("run-old"));
    Files.setLastModifiedTime(old, FileTime.from(Instant.now().minus(Duration.ofDays(1))));
    Path alive = run("alive");
    try (OpenFile lock = OpenFile.write(BytePath.of(alive.resolve("lock")))) {
      assertTrue(lock.tryLock());
      claim(OTHER, run("mine")).close();
    }
    assertEquals(List.of("run-alive", "run-beginning", "run-mine"), names());
    assertFalse(Files.exists(dead) || Files.exists(old));
    assertTrue(Files.exists(beginning));
  }

  private List<String> names() throws IOException {
    try (Stream<Path> all = Files.list(base)) {
      return all.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void whatIsNotOursIsNotRemoved() throws IOException {
    Path precious = Files.createDirectories(folder.resolve("precious"));
    Files.createDirectories(base);
    Files.createSymbolicLink(base.resolve(RunRegistry.hash(URL)), precious);
    claim(URL, run("mine")).close();
    assertTrue(Files.exists(precious));
  }

  @Test
  void urlsHaveNames() {
    assertTrue(RunRegistry.hash(URL).matches("[0-9a-f]{16}"));
    assertNotEquals(RunRegistry.hash(URL), RunRegistry.hash(OTHER));
    assertEquals(Path.of("/run/lifeboat"), RunRegistry.base(Map.of()));
    assertEquals(Path.of("/x"), RunRegistry.base(Map.of("LIFEBOAT_RUN_BASE", "/x")));
  }
}
