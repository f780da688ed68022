package org.lifeboat.vfs;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.store.FaultStore;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.TestData;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;

@Timeout(60)
final class FileTreeTest {

  private static final int O_RDONLY = 0;
  private static final int O_WRONLY = 1;
  private static final int O_RDWR = 2;
  private static final int O_TRUNC = 01000;

  /** Goes when it is told to. */
  private static final class Hands extends Clock {
    private Instant now = Instant.now();

    @Override
    public synchronized Instant instant() {
      return now;
    }

    synchronized void pass(Duration time) {
      now = now.plus(time);
    }

    @Override
    public ZoneId getZone() {
      return ZoneOffset.UTC;
    }

    @Override
    public Clock withZone(ZoneId zone) {
      return this;
    }
  }

  @TempDir Path temp;
  private final Hands clock = new Hands();
  private TreeRig rig;

  @BeforeEach
  void setUp() throws Exception {
    rig = new TreeRig(temp, clock);
  }

  @AfterEach
  void tearDown() throws Exception {
    rig.close();
  }

  private PosixTree home() {
    return rig.posix(TreeRig.HOME);
  }

  private PosixTree other() {
    return rig.posix("s3/other");
  }

  private static byte[] bytes(String text) {
    return text.getBytes(UTF_8);
  }

  private static String text(byte[] bytes) {
    return new String(bytes, UTF_8);
  }

  private static Errno errno(VfsCall call) {
    return assertThrows(VfsException.class, call::run).errno();
  }

  private interface VfsCall {
    void run() throws Exception;
  }

  private static String failure(VfsCall call) {
    return assertThrows(Posix.Failed.class, call::run).getMessage();
  }

  private static String content(PosixTree posix, String path) throws Exception {
    posix.open(99, path, false);
    String text = text(posix.read(99, 0, 100_000));
    posix.close(99);
    return text;
  }

  private int read(long node, long handle, byte[] into) throws VfsException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment memory = arena.allocate(into.length, 4096);
      int n = rig.tree.read(node, handle, 0, memory);
      MemorySegment.copy(memory, ValueLayout.JAVA_BYTE, 0, into, 0, n);
      return n;
    }
  }

  // ---- what the stores have

  @Test
  void anObjectIsAFileWithItsExactBytes() throws Exception {
    TestData data = new TestData("FileTreeTest.anObjectIsAFileWithItsExactBytes");
    rig.options = TreeRig.with(rig.options, 1 << 20, true, 1 << 20);
    for (int size : new int[] {0, 1, 5000, (1 << 20) + 1, (5 << 20) + 77}) {
      byte[] bytes = new byte[size];
      data.random().nextBytes(bytes);
      rig.put("bucket", "home/task/in/f" + size, bytes);
      if (rig.tree == null) {
        rig.mount();
      } else {
        rig.unmount();
        rig.mount();
      }
      PosixTree posix = home();
      assertEquals(size, posix.attributes("in/f" + size).size());
      posix.open(1, "in/f" + size, false);
      assertArrayEquals(bytes, posix.read(1, 0, Math.max(1, size + 10)));
      posix.close(1);
    }
  }

  @Test
  void smallObjectsArePassedThroughLargeOnesAreRead() throws Exception {
    rig.options = TreeRig.with(rig.options, 1000, true, 1 << 20);
    rig.put("bucket", "home/task/small", new byte[1000]);
    rig.put("bucket", "home/task/large", new byte[1001]);
    rig.mount();
    long small = home().node("small");
    long large = home().node("large");
    assertEquals(Opened.Mode.PASSTHROUGH, open(small, O_RDONLY).mode());
    assertEquals(Opened.Mode.CACHED, open(large, O_RDONLY).mode());
    assertEquals(Opened.Mode.KEEP_CACHE, open(large, O_RDONLY).mode());
    assertEquals(Opened.Mode.PASSTHROUGH, open(large, O_RDWR).mode());
    PosixTree posix = home();
    posix.create(1, "new");
    assertEquals(Opened.Mode.PASSTHROUGH, open(posix.node("new"), O_RDONLY).mode());
  }

  private Opened open(long node, int flags) throws VfsException {
    return rig.tree.open(TreeRig.ROOT, node, flags, false);
  }

  @Test
  void aDirectoryIsListedOnceAndAnswersForNamesThatAreNotThere() throws Exception {
    for (int i = 0; i < 20; i++) {
      rig.put("bucket", "home/task/d/f" + i, new byte[i]);
    }
    rig.mount();
    AtomicInteger calls = new AtomicInteger();
    rig.plan =
        call -> {
          calls.addAndGet(call.key().startsWith("home/task/") ? 1 : 0);
          return FaultStore.Fault.NONE;
        };
    PosixTree posix = home();
    posix.attributes("d/f3");
    int first = calls.get();
    clock.pass(Duration.ofHours(5));
    for (int i = 0; i < 20; i++) {
      posix.attributes("d/f" + i);
      assertEquals("ENOENT", failure(() -> posix.attributes("d/g")));
    }
    assertEquals(20, posix.list("d").split(",").length);
    assertEquals(first, calls.get());
  }

  @Test
  void aDirectoryOfManyPagesIsAskedForSingleNames() throws Exception {
    for (int i = 0; i < 250; i++) {
      rig.put("other", "many/f" + i, new byte[1]);
    }
    rig.put("other", "many/z/below", new byte[2]);
    rig.mount();
    PosixTree posix = other();
    assertEquals(1, posix.attributes("many/f249").size());
    assertEquals(2, posix.attributes("many/z/below").size());
    assertEquals("ENOENT", failure(() -> posix.attributes("many/none")));
    assertEquals(251, posix.list("many").split(",").length);
  }

  @Test
  void whatOthersChangeIsSeenAfterTheTimeToLive() throws Exception {
    rig.put("other", "a", bytes("first"));
    rig.put("other", "d/b", bytes("b"));
    rig.mount();
    PosixTree posix = other();
    assertEquals("first", content(posix, "a"));
    rig.put("other", "a", bytes("second one"));
    rig.put("other", "new", bytes("new"));
    try (var store = rig.store("other")) {
      store.delete("d/b");
    }
    assertEquals("first", content(posix, "a"));
    clock.pass(Duration.ofSeconds(2));
    assertEquals("second one", content(posix, "a"));
    assertEquals("new", content(posix, "new"));
    assertEquals("ENOENT", failure(() -> posix.attributes("d/b")));
    assertEquals("[a, new]", posix.list(""));
  }

  @Test
  void anObjectThatWasReplacedSinceItWasListedIsOpenedAsItIsNow() throws Exception {
    rig.put("bucket", "home/task/a", bytes("first"));
    rig.mount();
    PosixTree posix = home();
    posix.attributes("a");
    rig.put("bucket", "home/task/a", bytes("second one"));
    assertEquals("second one", content(posix, "a"));
    try (var store = rig.store("bucket")) {
      store.delete("home/task/a");
    }
    rig.put("bucket", "home/task/b", bytes("b"));
    rig.unmount();
    rig.mount();
    PosixTree again = home();
    again.attributes("b");
    try (var store = rig.store("bucket")) {
      store.delete("home/task/b");
    }
    assertEquals("ENOENT", failure(() -> content(again, "b")));
    assertEquals("[]", again.list(""));
  }

  @Test
  void aFileThatIsReadIsOfOneVersion() throws Exception {
    rig.options = TreeRig.with(rig.options, 0, false, 1 << 20);
    rig.put("other", "a", new byte[3 << 20]);
    rig.mount();
    PosixTree posix = other();
    posix.open(1, "a", false);
    byte[] second = new byte[3 << 20];
    second[0] = 1;
    rig.put("other", "a", second);
    assertEquals("ESTALE", failure(() -> posix.read(1, 0, 10)));
    posix.close(1);
    assertEquals(1, content(posix, "a").charAt(0), "it is asked for again, before its time");
  }

  @Test
  void aVolumeThatIsNotThereIsENOENT() throws Exception {
    rig.mount();
    PosixTree posix = rig.posix("");
    assertEquals("ENOENT", failure(() -> posix.attributes("s3/none")));
    assertEquals("ENOENT", failure(() -> posix.attributes("gs/none")));
    assertEquals("[file, gs, s3]", posix.list(""));
    assertEquals("[bucket]", posix.list("s3"));
    posix.attributes("s3/other");
    assertEquals("[bucket, other]", posix.list("s3"));
    assertEquals("EROFS", failure(() -> posix.mkdir("s3/none", 0755)));
    assertEquals("EROFS", failure(() -> posix.mkdir("none", 0755)));
    assertEquals("EROFS", failure(() -> posix.rename("s3/bucket", "s3/else", 0)));
  }

  @Test
  void failuresOfTheStoreAreErrnosAndLeaveNothingHalfDone() throws Exception {
    Map<StoreException.Kind, String> expected =
        Map.of(
            StoreException.Kind.DENIED, "EACCES",
            StoreException.Kind.UNREACHABLE, "EIO",
            StoreException.Kind.THROTTLED, "EIO",
            StoreException.Kind.CORRUPT, "EIO");
    rig.put("bucket", "home/task/d/a", bytes("hello"));
    rig.mount();
    PosixTree posix = home();
    for (Map.Entry<StoreException.Kind, String> each : expected.entrySet()) {
      FaultStore.Fault fault = new FaultStore.Fault.Before(each.getKey());
      rig.plan =
          call -> call.operation() == Operation.LIST_DIRECTORY ? fault : FaultStore.Fault.NONE;
      assertEquals(each.getValue(), failure(() -> posix.attributes("d/a")));
      assertEquals(each.getValue(), failure(() -> posix.create(1, "d/b")));
      assertEquals(each.getValue(), failure(() -> posix.mkdir("d/c", 0755)));
      assertEquals(each.getValue(), failure(() -> posix.rmdir("d")));
      assertEquals(each.getValue(), failure(() -> posix.list("d")));
      assertEquals(each.getValue(), failure(() -> rig.posix("s3/other").list("")));
    }
    rig.plan = call -> FaultStore.Fault.NONE;
    assertEquals("[a]", posix.list("d"));
    for (Map.Entry<StoreException.Kind, String> each : expected.entrySet()) {
      FaultStore.Fault fault = new FaultStore.Fault.Before(each.getKey());
      rig.plan = call -> call.operation() == Operation.GET ? fault : FaultStore.Fault.NONE;
      assertEquals(each.getValue(), failure(() -> posix.open(1, "d/a", false)));
      assertEquals(each.getValue(), failure(() -> posix.open(1, "d/a", true)));
    }
    rig.plan = call -> FaultStore.Fault.NONE;
    assertEquals("hello", content(posix, "d/a"));
    assertFalse(rig.tree.state().tree().node(posix.node("d/a")).dirty);
    assertTrue(rig.tree.state().tree().writers().isEmpty());
  }

  @Test
  void aListingThatFailsInTheMiddleIsDoneAgain() throws Exception {
    for (int i = 0; i < 250; i++) {
      rig.put("bucket", "home/task/d/f" + i, new byte[0]);
    }
    rig.mount();
    rig.plan =
        FaultStore.once(
            2,
            call -> call.operation() == Operation.LIST_DIRECTORY && call.key().endsWith("/d/"),
            new FaultStore.Fault.Before(StoreException.Kind.UNREACHABLE));
    PosixTree posix = home();
    assertEquals("EIO", failure(() -> posix.list("d")));
    assertEquals(250, posix.list("d").split(",").length);
  }

  @Test
  void theDumpIsShownReadOnlyAndTheAttributesAreHidden() throws Exception {
    rig.put("bucket", "home/task/.fusion/dump/1/core.img", bytes("image"));
    rig.put("bucket", "home/task/.fusion/attributes/base", bytes("attributes"));
    rig.mount();
    PosixTree posix = home();
    assertEquals("[dump]", posix.list(".fusion"));
    assertEquals("ENOENT", failure(() -> posix.attributes(".fusion/attributes")));
    assertEquals("image", content(posix, ".fusion/dump/1/core.img"));
    String image = ".fusion/dump/1/core.img";
    assertEquals("EROFS", failure(() -> posix.open(1, image, true)));
    assertEquals("EROFS", failure(() -> posix.unlink(image)));
    assertEquals("EROFS", failure(() -> posix.create(1, ".fusion/dump/x")));
    assertEquals("EROFS", failure(() -> posix.mkdir(".fusion/x", 0755)));
    assertEquals("EROFS", failure(() -> posix.rename(image, "x", 0)));
    assertEquals("EROFS", failure(() -> posix.rename(".fusion", "x", 0)));
    assertEquals("EROFS", failure(() -> posix.link(image, "x")));
    assertEquals("EROFS", failure(() -> posix.chmod(image, 0600)));
    assertEquals("EROFS", failure(() -> posix.setxattr(image, "user.a", bytes("b"))));
    rig.put("bucket", "home/task/.fusion/dump/2/core.img", bytes("image"));
    clock.pass(Duration.ofSeconds(2));
    assertEquals("[1, 2]", posix.list(".fusion/dump"));
  }

  @Test
  void theHomeOfAnEarlierMountIsADirectoryAsOthers() throws Exception {
    rig.put("bucket", "home/task/d/a", bytes("first"));
    rig.mount();
    PosixTree posix = home();
    posix.chmod("d", 0700);
    assertEquals("first", content(posix, "d/a"));
    rig.unmount();
    rig.options =
        TreeOptions.of(0, 0, Optional.of(new TreeOptions.Home("s3", "bucket", "home/next")));
    rig.mount();
    PosixTree next = rig.posix("s3/bucket/home");
    assertEquals("first", content(next, "task/d/a"));
    assertEquals("[]", next.list("next"));
    rig.put("bucket", "home/task/d/a", bytes("second one"));
    clock.pass(Duration.ofSeconds(2));
    assertEquals("second one", content(next, "task/d/a"));
    assertEquals("[next, task]", next.list(""));
  }

  // ---- what is kept

  @Test
  void nodeNumbersSurviveADeathAndAreTheSameOnAnotherHost() throws Exception {
    rig.put("bucket", "home/task/d/a", bytes("a"));
    rig.mount();
    PosixTree posix = home();
    posix.create(1, "mine");
    posix.mkdir("dir", 0755);
    Map<String, Long> nodes = new HashMap<>();
    for (String path : List.of("", "d", "d/a", "mine", "dir")) {
      nodes.put(path, posix.node(path));
    }
    rig.kill();
    rig.mount();
    for (Map.Entry<String, Long> each : nodes.entrySet()) {
      assertEquals(each.getValue(), home().node(each.getKey()), each.getKey());
    }
    PosixTree again = home();
    again.create(2, "later");
    assertFalse(nodes.containsValue(again.node("later")));
    Path elsewhere = Files.createDirectories(temp.resolve("elsewhere"));
    Files.createSymbolicLink(elsewhere.resolve("bucket"), temp.resolve("bucket"));
    try (TreeRig host = new TreeRig(elsewhere, clock)) {
      host.mount();
      assertEquals(nodes.get("d/a"), host.posix(TreeRig.HOME).node("d/a"));
      assertEquals(nodes.get("d"), host.posix(TreeRig.HOME).node("d"));
    }
  }

  @Test
  void whatWasWrittenSurvivesAKill() throws Exception {
    rig.put("bucket", "home/task/old", bytes("0123456789"));
    rig.mount();
    PosixTree posix = home();
    posix.create(1, "new");
    posix.write(1, 3, bytes("new"));
    posix.open(2, "old", true);
    posix.write(2, 8, bytes("abcd"));
    posix.mkdir("dir", 0750);
    posix.symlink("to", "dir/link");
    posix.setxattr("old", "user.x", bytes("y"));
    rig.kill(); // nothing was closed
    rig.mount();
    PosixTree again = home();
    assertEquals("\0\0\0new", content(again, "new"));
    assertEquals("01234567abcd", content(again, "old"));
    assertEquals("to", again.readlink("dir/link"));
    assertTrue(again.stat("old").contains("user.x=y"));
    Tree tree = rig.tree.state().tree();
    assertTrue(tree.node(again.node("new")).dirty);
    assertTrue(tree.node(again.node("old")).dirty);
    assertTrue(tree.writers().isEmpty());
    try (var store = rig.store("bucket")) {
      assertEquals(10, store.head("home/task/old").orElseThrow().size(), "nobody has synced");
    }
  }

  @Test
  void whatThePassedThroughFileSaysCounts() throws Exception {
    rig.put("bucket", "home/task/a", bytes("0123456789"));
    rig.mount();
    PosixTree posix = home();
    long node = posix.node("a");
    Opened opened = open(node, O_RDWR);
    Path backing = Path.of("/proc/self/fd/" + opened.backingFd());
    Files.writeString(backing, "behind our back");
    assertEquals(15, posix.attributes("a").size());
    rig.tree.release(node, opened.handle(), OptionalLong.empty());
    assertEquals(15, posix.attributes("a").size());
    assertTrue(rig.tree.state().tree().node(node).dirty);
    assertEquals("behind our back", content(posix, "a"));
  }

  @Test
  void aFileThatWasOpenForWritingAndNotWrittenIsAsTheStoreHasIt() throws Exception {
    rig.options = TreeRig.with(rig.options, 8 << 20, false, 1 << 20);
    rig.put("bucket", "home/task/a", bytes("0123456789"));
    rig.mount();
    PosixTree posix = home();
    content(posix, "a");
    Files.setLastModifiedTime(
        cached(posix.node("a")), java.nio.file.attribute.FileTime.fromMillis(1000));
    posix.open(1, "a", true);
    assertEquals("0123456789", text(posix.read(1, 0, 100)));
    posix.close(1);
    assertFalse(rig.tree.state().tree().node(posix.node("a")).dirty);
    assertEquals("0123456789", content(posix, "a"));
  }

  private Path cached(long id) {
    return temp.resolve(String.format("cache/contents/%02x/%016x", id & 0xff, id));
  }

  @Test
  void openWithTruncationFetchesNothing() throws Exception {
    rig.put("bucket", "home/task/a", bytes("0123456789"));
    rig.mount();
    PosixTree posix = home();
    long node = posix.node("a");
    rig.plan =
        call ->
            call.operation() == Operation.GET
                ? new FaultStore.Fault.Before(StoreException.Kind.UNREACHABLE)
                : FaultStore.Fault.NONE;
    Opened opened = open(node, O_WRONLY | O_TRUNC);
    assertEquals(0, posix.attributes("a").size());
    rig.tree.release(node, opened.handle(), OptionalLong.empty());
    assertEquals("", content(posix, "a"));
    rig.put("bucket", "home/task/b", bytes("0123456789"));
    rig.unmount();
    rig.mount();
    PosixTree again = home();
    again.open(1, "a", true);
    again.close(1);
    rig.tree.setattr(TreeRig.ROOT, again.node("b"), OptionalLong.empty(), PosixTree.size(0));
    assertEquals(0, again.attributes("b").size());
    assertEquals("", content(again, "b"));
  }

  @Test
  void anUnlinkedFileStaysUntilItsLastCloseAndIsOpenedAgainByItsNode() throws Exception {
    rig.mount();
    PosixTree posix = home();
    posix.create(1, "a");
    posix.write(1, 0, bytes("content"));
    long node = posix.node("a");
    posix.unlink("a");
    assertEquals("ENOENT", failure(() -> posix.attributes("a")));
    Opened again = open(node, O_RDONLY);
    byte[] into = new byte[20];
    assertEquals(7, read(node, again.handle(), into));
    assertEquals(0, rig.tree.getattr(node, OptionalLong.empty()).attributes().nlink());
    rig.tree.release(node, again.handle(), OptionalLong.empty());
    posix.close(1);
    assertTrue(rig.contents.find(node).isPresent());
    posix.forgetAll();
    assertEquals(Errno.ESTALE, errno(() -> rig.tree.getattr(node, OptionalLong.empty())));
    assertFalse(rig.contents.find(node).isPresent());
  }

  @Test
  void anUnlinkedFileIsGoneAfterAnUnmountAndStaysAtATakeOver() throws Exception {
    rig.mount();
    PosixTree posix = home();
    posix.create(1, "a");
    posix.write(1, 0, bytes("content"));
    long node = posix.node("a");
    Opened opened = open(node, O_RDONLY);
    posix.unlink("a");
    rig.kill();
    rig.takeOver();
    byte[] into = new byte[20];
    assertEquals(7, read(node, opened.handle(), into));
    Opened again = open(node, O_RDONLY);
    assertEquals(7, read(node, again.handle(), into));
    rig.kill();
    rig.mount();
    assertEquals(Errno.ESTALE, errno(() -> rig.tree.getattr(node, OptionalLong.empty())));
    assertFalse(rig.contents.find(node).isPresent());
  }

  @Test
  void handlesOfADeadEngineGoOn() throws Exception {
    rig.put("bucket", "home/task/a", bytes("0123456789"));
    rig.mount();
    PosixTree posix = home();
    long a = posix.node("a");
    Opened reader = open(a, O_RDONLY);
    Created made = rig.tree.create(TreeRig.ROOT, posix.node(""), bytes("new"), 0100644, O_RDWR);
    long node = made.entry().node();
    long handle = made.opened().handle();
    for (int engine = 0; engine < 3; engine++) {
      rig.kill();
      rig.takeOver();
      byte[] into = new byte[100];
      assertEquals(10, read(a, reader.handle(), into));
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment from = arena.allocate(1);
        rig.tree.write(node, handle, engine, from, false, false);
      }
      assertEquals(engine + 1, rig.tree.getattr(node, OptionalLong.of(handle)).attributes().size());
      assertEquals(Set.of(handle), rig.tree.state().tree().writers().keySet());
      Opened more = open(node, O_RDWR);
      assertNotEquals(handle, more.handle());
      rig.tree.release(node, more.handle(), OptionalLong.empty());
    }
    rig.tree.release(node, handle, OptionalLong.empty());
    rig.tree.release(a, reader.handle(), OptionalLong.empty());
    assertTrue(rig.tree.state().tree().writers().isEmpty());
    assertEquals(
        Errno.EBADF,
        errno(() -> read(a, Handle.id(rig.tree.state().tree().generation(), 77, 1), new byte[1])));
  }

  @Test
  void anExchangeThatIsSentAgainIsDoneOnce() throws Exception {
    rig.mount();
    PosixTree posix = home();
    posix.symlink("a", "a");
    posix.symlink("b", "b");
    long home = posix.node("");
    int exchange = FileOperations.RENAME_EXCHANGE;
    rig.tree.rename(TreeRig.ROOT, home, bytes("a"), home, bytes("b"), exchange);
    rig.kill();
    rig.takeOver();
    Caller again = new Caller(0, 0, 1, 0, true);
    rig.tree.rename(again, home, bytes("a"), home, bytes("b"), exchange);
    assertEquals("b", home().readlink("a"));
    assertEquals("a", home().readlink("b"));
  }

  @Test
  void whatWasRemovedOrRenamedStaysSoAndTheStoreIsAsItWas() throws Exception {
    for (String key : List.of("a", "b", "d/x", "d/y", "e/z/1")) {
      rig.put("bucket", "home/task/" + key, bytes(key));
    }
    rig.mount();
    PosixTree posix = home();
    posix.unlink("a");
    posix.rename("b", "c", 0);
    posix.rename("d", "moved", 0);
    posix.unlink("moved/x");
    posix.rename("e/z", "moved/z", 0);
    posix.rmdir("e");
    for (int i = 0; i < 2; i++) {
      PosixTree now = home();
      assertEquals("[c, moved]", now.list(""));
      assertEquals("[y, z]", now.list("moved"));
      assertEquals("b", content(now, "c"));
      assertEquals("d/y", content(now, "moved/y"));
      assertEquals("e/z/1", content(now, "moved/z/1"));
      rig.kill();
      rig.mount();
    }
    PosixTree now = home();
    now.mkdir("d", 0755);
    now.create(1, "a");
    assertEquals("[]", now.list("d"));
    assertEquals("", content(now, "a"));
    now.rename("moved", "d", 0);
    assertEquals("[y, z]", now.list("d"));
    try (var store = rig.store("bucket")) {
      assertEquals(5, store.list("home/", "").objects().size());
    }
  }

  // ---- rules

  @Test
  void namesThatNoKeyCanHave() throws Exception {
    rig.mount();
    long home = home().node("");
    byte[] odd = {'x', (byte) 0xff};
    assertTrue(rig.tree.lookup(TreeRig.ROOT, home, odd).isNegative());
    assertEquals(Errno.EILSEQ, errno(() -> rig.tree.mkdir(TreeRig.ROOT, home, odd, 0755)));
    assertEquals(
        Errno.EILSEQ, errno(() -> rig.tree.create(TreeRig.ROOT, home, odd, 0100644, O_RDWR)));
    PosixTree posix = home();
    posix.mkdir("from", 0755);
    posix.mkdir("from/" + "y".repeat(200), 0755);
    String path = "";
    for (int i = 0; i < 4; i++) {
      path += "x".repeat(200) + "/";
      posix.mkdir(path.substring(0, path.length() - 1), 0755);
    }
    String deep = path;
    posix.mkdir(deep + "z".repeat(200), 0755); // home/task/ and these are 1014
    assertEquals("ENAMETOOLONG", failure(() -> posix.mkdir(deep + "z".repeat(211), 0755)));
    assertEquals("ENAMETOOLONG", failure(() -> posix.rename("from", deep + "z".repeat(20), 0)));
  }

  @Test
  void volumesAreFileSystemsOfTheirOwn() throws Exception {
    rig.mount();
    PosixTree posix = rig.posix("s3");
    posix.create(1, "bucket/home/task/a");
    assertEquals("EXDEV", failure(() -> posix.rename("bucket/home/task/a", "other/a", 0)));
    assertEquals("EXDEV", failure(() -> posix.link("bucket/home/task/a", "other/a")));
    posix.create(2, "other/b");
    posix.write(2, 0, bytes("b"));
    posix.close(2);
    assertEquals("b", content(posix, "other/b"));
  }

  @Test
  void aReaderOfADirectorySeesOnceWhatIsThereAllTheTime() throws Exception {
    TestData data = new TestData("FileTreeTest.aReaderOfADirectorySeesOnceWhatIsThereAllTheTime");
    Random random = data.random();
    rig.mount();
    PosixTree posix = home();
    posix.mkdir("d", 0755);
    long directory = posix.node("d");
    Set<String> stays = new HashSet<>();
    for (int i = 0; i < 300; i++) {
      posix.symlink("to", "d/stays" + i);
      stays.add("stays" + i);
    }
    List<String> seen = new ArrayList<>();
    long[] cookie = {0};
    boolean more = true;
    int made = 0;
    while (more) {
      int[] room = {1 + random.nextInt(10)};
      long before = cookie[0];
      rig.tree.readdir(directory, 0, cookie[0], sink(room, seen, cookie), random.nextBoolean());
      more = cookie[0] != before;
      for (int i = 0; more && i < 5; i++) {
        String path = "d/comes" + random.nextInt(40);
        if (random.nextBoolean() && made++ < 200) {
          try {
            posix.symlink("to", path);
          } catch (Posix.Failed there) {
            posix.unlink(path);
          }
        }
        if (random.nextInt(20) == 0) {
          rig.kill();
          rig.takeOver();
          posix = home();
        }
      }
    }
    seen.removeIf(name -> !stays.contains(name));
    assertEquals(stays.size(), seen.size());
    assertEquals(stays, new HashSet<>(seen));
  }

  private static DirectorySink sink(int[] room, List<String> seen, long[] cookie) {
    return new DirectorySink() {
      @Override
      public boolean add(byte[] name, long inode, int type, long next) {
        if (room[0]-- == 0) {
          return false;
        }
        seen.add(text(name));
        cookie[0] = next;
        return true;
      }

      @Override
      public boolean add(byte[] name, Entry entry, long next) {
        return add(name, 0, 0, next);
      }
    };
  }

  @Test
  void setGroupIdDirectoriesAndPrivileges() throws Exception {
    rig.mount();
    PosixTree posix = home();
    posix.mkdir("d", 02775);
    Attributes d = posix.attributes("d");
    assertEquals(02775, d.mode() & 07777);
    Caller somebody = new Caller(1000, 1001, 1, 0);
    Entry made = rig.tree.mkdir(somebody, posix.node("d"), bytes("e"), 0755);
    assertEquals(02755, made.attributes().mode() & 07777);
    assertEquals(0, made.attributes().gid());
    assertEquals(1000, made.attributes().uid());
    Created file = rig.tree.create(somebody, posix.node(""), bytes("f"), 0100755, O_RDWR);
    assertEquals(1001, file.entry().attributes().gid());
    long node = file.entry().node();
    posix.chmod("f", 06755);
    rig.tree.setxattr(TreeRig.ROOT, node, bytes("security.capability"), new byte[20], 0);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment one = arena.allocate(1);
      rig.tree.write(node, file.opened().handle(), 0, one, false, false);
      assertEquals(06755, posix.attributes("f").mode() & 07777);
      rig.tree.write(node, file.opened().handle(), 0, one, false, true);
    }
    assertEquals(0755, posix.attributes("f").mode() & 07777);
    assertTrue(rig.tree.getxattr(node, bytes("security.capability")).isEmpty());
  }

  @Test
  void xattrsHaveFlagsNamesAndLimits() throws Exception {
    rig.mount();
    PosixTree posix = home();
    posix.create(1, "a");
    long node = posix.node("a");
    byte[] name = bytes("user.a");
    FileTree tree = rig.tree;
    Caller root = TreeRig.ROOT;
    assertEquals(
        Errno.ENODATA,
        errno(() -> tree.setxattr(root, node, name, name, FileOperations.XATTR_REPLACE)));
    tree.setxattr(root, node, name, bytes("1"), FileOperations.XATTR_CREATE);
    assertEquals(
        Errno.EEXIST,
        errno(() -> tree.setxattr(root, node, name, name, FileOperations.XATTR_CREATE)));
    tree.setxattr(root, node, name, new byte[65536], FileOperations.XATTR_REPLACE);
    assertEquals(Errno.E2BIG, errno(() -> tree.setxattr(root, node, name, new byte[65537], 0)));
    assertEquals(
        Errno.EOPNOTSUPP,
        errno(() -> tree.setxattr(root, node, bytes("system.posix_acl_access"), name, 0)));
    assertTrue(tree.getxattr(node, bytes("user.b")).isEmpty());
    assertEquals(65536, tree.getxattr(node, name).orElseThrow().length);
  }

  @Test
  void holesAndRanges() throws Exception {
    rig.mount();
    PosixTree posix = home();
    Created made = rig.tree.create(TreeRig.ROOT, posix.node(""), bytes("a"), 0100644, O_RDWR);
    long node = made.entry().node();
    long handle = made.opened().handle();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment block = arena.allocate(8192, 4096);
      block.fill((byte) 7);
      rig.tree.write(node, handle, 1 << 20, block, false, false);
    }
    FileTree tree = rig.tree;
    assertEquals(1 << 20, tree.lseek(node, handle, 0, FileOperations.SEEK_DATA));
    assertEquals(0, tree.lseek(node, handle, 0, FileOperations.SEEK_HOLE));
    assertEquals((1 << 20) + 8192, tree.lseek(node, handle, 1 << 20, FileOperations.SEEK_HOLE));
    assertEquals(
        Errno.ENXIO, errno(() -> tree.lseek(node, handle, 2 << 20, FileOperations.SEEK_DATA)));
    tree.fallocate(node, handle, 3, 1 << 20, 4096);
    assertEquals((1 << 20) + 4096, tree.lseek(node, handle, 0, FileOperations.SEEK_DATA));
    tree.fallocate(node, handle, 0, 0, 3 << 20);
    assertEquals(3 << 20, posix.attributes("a").size());
    assertEquals(Errno.EINVAL, errno(() -> tree.fallocate(node, handle, 0, 0, 0)));
    assertEquals(Errno.EOPNOTSUPP, errno(() -> tree.fallocate(node, handle, 8, 0, 4096)));
    Created to = tree.create(TreeRig.ROOT, posix.node(""), bytes("b"), 0100644, O_RDWR);
    long toNode = to.entry().node();
    long toHandle = to.opened().handle();
    assertEquals(9000, tree.copyFileRange(node, handle, 1 << 20, toNode, toHandle, 100, 9000, 0));
    assertEquals(9100, posix.attributes("b").size());
    posix.open(1, "b", false);
    byte[] copied = posix.read(1, 100 + 4096, 1);
    assertEquals(7, copied[0]);
    assertEquals(
        Errno.EINVAL, errno(() -> tree.copyFileRange(node, handle, 0, node, handle, 10, 100, 0)));
  }

  @Test
  void statfsTellsTheCachesRoom() throws Exception {
    rig.mount();
    VolumeStat stat = rig.tree.statfs(1);
    assertTrue(stat.blocks() > 0 && stat.available() <= stat.free(), stat.toString());
    assertTrue(stat.free() <= stat.blocks(), stat.toString());
    assertEquals(255, stat.nameLength());
  }

  @Test
  void onlyWhatWasOfferedIsWanted() throws Exception {
    rig.mount();
    rig.kill();
    rig.mount();
    Capabilities none =
        rig.tree.init(new Offer(31, 4096, 1 << 17, EnumSet.noneOf(Capability.class)));
    assertTrue(none.wanted().isEmpty());
    PosixTree posix = home();
    posix.create(1, "a");
    assertEquals(Opened.Mode.KEEP_CACHE, open(posix.node("a"), O_RDWR).mode());
  }

  // ---- many threads

  @Test
  void manyThreadsLeaveATreeThatIsWhatTheJournalSays() throws Exception {
    TestData data = new TestData("FileTreeTest.manyThreadsLeaveATreeThatIsWhatTheJournalSays");
    for (int i = 0; i < 30; i++) {
      rig.put("bucket", "home/task/d" + i % 3 + "/f" + i, new byte[100]);
    }
    rig.options = TreeRig.with(rig.options, 8 << 20, true, 300_000);
    rig.mount();
    int threads = 6;
    try (ExecutorService pool = Executors.newFixedThreadPool(threads)) {
      List<Future<?>> all = new ArrayList<>();
      for (int t = 0; t < threads; t++) {
        long seed = data.random().nextLong();
        int slot = t * 10;
        all.add(
            pool.submit(
                () -> {
                  Random random = new Random(seed);
                  PosixTree posix = home();
                  for (int i = 0; i < 400; i++) {
                    oneOfMany(posix, random, slot);
                    if (i % 50 == 49) {
                      posix.forgetAll();
                    }
                  }
                  posix.forgetAll();
                  return null;
                }));
      }
      for (Future<?> each : all) {
        each.get();
      }
    }
    Tree tree = rig.tree.state().tree();
    assertTrue(tree.writers().isEmpty());
    int names = 0;
    for (Node node : tree.nodes()) {
      assertEquals(0, node.handles, "handles of " + Namespace.path(node));
      assertFalse(node.isNameless(), "a node without a name and a holder");
      for (Child place : node.places()) {
        assertTrue(place.parent.children.get(place.name) == place);
        names++;
      }
      if (node.isDirectory()) {
        for (Child child : node.children.all()) {
          assertTrue(child.node.places().contains(child));
        }
      }
    }
    assertTrue(names > 10);
    List<String> before = walk(home(), "");
    rig.kill();
    rig.mount();
    assertEquals(before, walk(home(), ""));
  }

  private static List<String> walk(PosixTree posix, String directory) throws Exception {
    List<String> all = new ArrayList<>();
    String names = posix.list(directory);
    String inner = names.substring(1, names.length() - 1);
    for (String name : inner.isEmpty() ? new String[0] : inner.split(", ")) {
      String path = directory.isEmpty() ? name : directory + "/" + name;
      String stat = posix.stat(path);
      all.add(path + " " + posix.node(path) + " " + stat.replaceFirst("links .* size -1", ""));
      if (stat.startsWith("4")) {
        all.addAll(walk(posix, path));
      } else if (stat.startsWith("100")) {
        all.add(content(posix, path));
      }
    }
    return all;
  }

  private static void oneOfMany(PosixTree posix, Random random, int slot) throws Exception {
    String path = "d" + random.nextInt(3) + "/f" + random.nextInt(12);
    String to = "d" + random.nextInt(3) + "/f" + random.nextInt(12);
    try {
      switch (random.nextInt(9)) {
        case 0 -> {
          posix.create(slot, path);
          posix.write(slot, 0, bytes(path));
          posix.close(slot);
        }
        case 1 -> posix.unlink(path);
        case 2 -> posix.rename(path, to, 0);
        case 3 -> posix.rename(path, to, FileOperations.RENAME_EXCHANGE);
        case 4 -> posix.link(path, to);
        case 5 -> {
          posix.open(slot, path, true);
          posix.write(slot, random.nextInt(200), bytes(to));
          posix.truncate(slot, random.nextInt(100));
          posix.close(slot);
        }
        case 6 -> posix.list("d" + random.nextInt(3));
        case 7 -> posix.rename("d" + random.nextInt(3), "d" + random.nextInt(3), 0);
        default -> {
          posix.stat(path);
          posix.chmod(path, 0600);
        }
      }
    } catch (Posix.Failed e) {
      boolean expected =
          List.of("ENOENT", "EEXIST", "ENOTEMPTY", "EINVAL", "ENOTDIR", "ESTALE")
              .contains(e.getMessage());
      if (!expected) {
        throw e;
      }
    }
  }

  @Test
  void aJournalThatIsDamagedIsSaidSo() throws Exception {
    rig.mount();
    home().mkdir("d", 0755);
    home().mkdir("e", 0755);
    rig.kill();
    Path log = rig.journal().resolve("0000000000000000.log");
    byte[] bytes = Files.readAllBytes(log);
    bytes[Journal.HEADER + 20] ^= 1;
    Files.write(log, bytes);
    VfsException e =
        assertThrows(
            VfsException.class,
            () ->
                FileTree.open(
                    BytePath.of(rig.journal()),
                    rig.contents,
                    (scheme, name) -> rig.store(name),
                    rig.options,
                    Waits.NONE,
                    clock,
                    CrashPoints.NONE));
    assertTrue(e.getMessage().contains(log.toString()), e.getMessage());
  }
}
