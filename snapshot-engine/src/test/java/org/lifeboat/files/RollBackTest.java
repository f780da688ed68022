package org.lifeboat.files;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;

class RollBackTest {

  @TempDir Path temp;

  static List<Long> seeds() {
    SplittableRandom random = new SplittableRandom();
    List<Long> seeds = new ArrayList<>();
    for (int i = 0; i < Integer.getInteger("lifeboat.seeds", 6); i++) {
      seeds.add(random.nextLong());
    }
    return seeds;
  }

  /** Found by seed -6520183627099078083. */
  @Test
  void regression_oneNameOfAFileCameAlongInARenamedFolder() throws Exception {
    Task task = new Task(temp);
    BytePath folder = task.work.resolve("folder");
    Libc.mkdir(folder, 0755);
    Files.writeString(Path.of(folder.resolve("one").toString()), "one file");
    Libc.link(folder.resolve("one"), task.work.resolve("other"));
    task.start();
    task.tick();
    Libc.rename(folder, task.work.resolve("renamed"));
    Photo then = Photo.of(BytePath.ROOT, task.work);
    CaptureResult captured = task.capture("m");
    BytePath empty = task.empty("empty");
    task.rollBack(captured, empty).apply();
    assertEquals(then.shown, Photo.of(empty, task.work).shown);
    assertEquals(List.of(), task.rollBack(captured, empty).apply().warnings());
  }

  @ParameterizedTest(name = "seed {0}")
  @MethodSource("seeds")
  void whatWasCapturedComesBack(long seed) throws Exception {
    randomTrees(seed);
  }

  private void randomTrees(long seed) throws Exception {
    System.out.println("RollBackTest seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    Task task = new Task(temp);
    RandomTree tree = new RandomTree(random, List.of(task.work, task.scratch));
    tree.mutate(random.nextInt(150));
    task.start();
    task.tick();
    tree.mutate(random.nextInt(150));
    Photo then = Photo.of(BytePath.ROOT, task.home);
    CaptureResult captured = task.capture("m1");
    assertEquals(List.of(), captured.warnings());
    Manifest manifest = Manifest.load(captured.manifest());
    Set<BytePath> unchanged = unchanged(manifest);
    for (Entry entry : manifest.entries()) {
      unchanged.remove(entry.path()); // a further name of a captured file
    }
    TreeMap<BytePath, String> carried = new TreeMap<>(then.shown);
    carried.keySet().removeAll(unchanged);
    carried.remove(task.home);

    // a host that has nothing
    BytePath empty = task.empty("empty");
    task.rollBack(captured, empty).apply();
    assertSame(carried, carriedOnly(Photo.of(empty, task.home), carried), "on an empty host");
    assertEquals(carried.keySet(), without(Photo.of(empty, task.home).shown.keySet(), task.home));

    // the same host, later
    task.tick();
    tree.mutate(random.nextInt(150));
    Photo later = Photo.of(BytePath.ROOT, task.home, true);
    task.rollBack(captured, BytePath.ROOT).apply();
    Photo back = Photo.of(BytePath.ROOT, task.home);
    assertSame(carried, carriedOnly(back, carried), "on the same host");
    for (BytePath path : back.shown.keySet()) {
      assertTrue(
          !path.startsWith(task.work) || then.shown.containsKey(path), () -> path + " was unknown");
    }
    Photo all = Photo.of(BytePath.ROOT, task.home, true);
    HashSet<String> lost = new HashSet<>(later.contents.values());
    lost.removeAll(all.contents.values());
    assertEquals(new HashSet<>(), lost, "content that was there before is somewhere");

    // once more
    task.rollBack(captured, BytePath.ROOT).apply();
    assertSame(carried, carriedOnly(Photo.of(BytePath.ROOT, task.home), carried), "once more");

    // another host: capture there again, against the baseline that was carried on
    Libc.rename(task.home, BytePath.of(temp.toRealPath()).resolve("old-home"));
    task.rollBack(captured, BytePath.ROOT).apply();
    Baseline next =
        task.rollBack(captured, BytePath.ROOT)
            .carryBaseline(
                task.scope, temp.resolve("baseline2"), Task.at(captured.instant().plusSeconds(99)));
    assertEquals(next.count(), Baseline.load(temp.resolve("baseline2")).count());
    CaptureResult second = task.capture("m2", next, List.of());
    assertEquals(captured.deleted(), second.deleted());
    BytePath third = task.empty("third");
    task.rollBack(second, third).apply();
    assertSame(carried, carriedOnly(Photo.of(third, task.home), carried), "on a third host");
    RollBack.Verified verified = RollBack.verify(manifest, task.pack, 2);
    assertEquals(captured.bytes(), verified.bytes());
  }

  private static Set<BytePath> unchanged(Manifest manifest) throws Exception {
    TreeSet<BytePath> paths = new TreeSet<>();
    try (Manifest.UnchangedCursor cursor = manifest.unchanged()) {
      while (cursor.head().isPresent()) {
        paths.add(cursor.head().get().path());
        cursor.advance();
      }
    }
    return paths;
  }

  private static Set<BytePath> without(Set<BytePath> paths, BytePath ancestors) {
    TreeSet<BytePath> result = new TreeSet<>(paths);
    result.remove(ancestors);
    return result;
  }

  private static Map<BytePath, String> carriedOnly(Photo photo, Map<BytePath, String> carried) {
    TreeMap<BytePath, String> result = new TreeMap<>(photo.shown);
    result.keySet().retainAll(carried.keySet());
    return result;
  }

  private static void assertSame(
      Map<BytePath, String> expected, Map<BytePath, String> found, String where) {
    Map<BytePath, String> differences = new HashMap<>();
    for (Map.Entry<BytePath, String> entry : expected.entrySet()) {
      String other = found.get(entry.getKey());
      if (!entry.getValue().equals(other)) {
        differences.put(entry.getKey(), entry.getValue() + "\n   but " + other + "\n");
      }
    }
    assertEquals(Map.of(), differences, where);
  }

  @Test
  void holesStayHoles() throws Exception {
    Task task = new Task(temp);
    task.start();
    BytePath sparse = task.work.resolve("sparse");
    try (OpenFile file = OpenFile.create(sparse)) {
      file.truncate(1L << 40);
      file.write(Arena.ofAuto().allocate(4096).fill((byte) 3), (1L << 40) - 4096);
    }
    CaptureResult captured = task.capture("m");
    assertTrue(captured.bytes() <= 65536, () -> captured.bytes() + " bytes");
    BytePath empty = task.empty("empty");
    RollBackPlan done = task.rollBack(captured, empty).apply();
    assertEquals(captured.bytes(), done.bytes());
    assertEquals(1L << 40, Libc.lstat(empty.rebase(sparse)).size());
    assertTrue(Libc.lstat(empty.rebase(sparse)).blocks() <= 256);
    assertFalse(Libc.find(empty.rebase(task.work).resolve(".fusion/aside/1")).isPresent());
  }

  @Test
  void accessListsAndWhatADirectoryHandsDown() throws Exception {
    Task task = new Task(temp);
    task.start();
    BytePath shared = task.work.resolve("shared");
    Libc.mkdir(shared, 0750);
    BytePath before = shared.resolve("before");
    OpenFile.create(before).close();
    byte[] defaults = "system.posix_acl_default".getBytes(UTF_8);
    byte[] access = "system.posix_acl_access".getBytes(UTF_8);
    Libc.setXattr(shared, defaults, acl(07));
    BytePath after = shared.resolve("after");
    OpenFile.create(after).close();
    assertEquals(0, Libc.listXattrs(before).size());
    Libc.setXattr(after, access, acl(05));
    Photo then = Photo.of(BytePath.ROOT, task.work);
    CaptureResult captured = task.capture("m");
    BytePath empty = task.empty("empty");
    task.rollBack(captured, empty).apply();
    assertEquals(then.shown, Photo.of(empty, task.work).shown);
    // files that are put back below a directory that hands down its list don't get it
    Libc.unlink(before);
    task.rollBack(captured, BytePath.ROOT).apply();
    assertEquals(then.shown, Photo.of(BytePath.ROOT, task.work).shown);
  }

  /** Version 2, then (tag, permissions, id): owner, user 1000, group, mask, others. */
  private static byte[] acl(int user) {
    ByteBuffer list = ByteBuffer.allocate(4 + 5 * 8).order(ByteOrder.LITTLE_ENDIAN).putInt(2);
    int[][] items = {{1, 6, -1}, {2, user, 1000}, {4, 4, -1}, {16, 7, -1}, {32, 0, -1}};
    for (int[] item : items) {
      list.putShort((short) item[0]).putShort((short) item[1]).putInt(item[2]);
    }
    return list.array();
  }

  @Test
  void otherMountsGetTheirOwnAside() throws Exception {
    Task task = new Task(temp);
    BytePath mounted = task.scratch.resolve("mounted");
    Libc.mkdir(mounted, 0755);
    run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mounted.toString());
    try {
      task.start();
      task.tick();
      Path file = Path.of(mounted.resolve("sub").toString());
      Files.writeString(file, "then");
      CaptureResult captured = task.capture("m");
      Files.writeString(file, "later");
      RollBackPlan plan = task.rollBack(captured, BytePath.ROOT).plan();
      assertEquals(List.of(mounted.resolve("sub")), plan.aside());
      assertEquals(4, plan.bytes());
      task.rollBack(captured, BytePath.ROOT).apply();
      assertEquals("then", Files.readString(file));
      String aside = mounted + "/.lifeboat-aside/1/.lifeboat-root" + file;
      assertEquals("later", Files.readString(Path.of(aside)));
      CaptureResult next = task.capture("m2");
      assertTrue(
          Manifest.load(next.manifest()).entries().stream()
              .noneMatch(e -> e.path().toString().contains("lifeboat-aside")));
    } finally {
      run("umount", mounted.toString());
    }
  }

  private static void run(String... command) throws Exception {
    assertEquals(0, new ProcessBuilder(command).inheritIO().start().waitFor());
  }
}
