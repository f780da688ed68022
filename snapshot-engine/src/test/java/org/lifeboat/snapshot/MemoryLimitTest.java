package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The memory that is left, on trees of files as the kernel shows them. */
final class MemoryLimitTest {

  private static final long MIB = 1 << 20;
  private static final String V1 =
      "35 31 0:32 %s /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
  private static final String V2 =
      "30 23 0:26 %s /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

  @TempDir private Path root;

  private void file(String path, String text) throws IOException {
    Path file = root.resolve(path);
    Files.createDirectories(file.getParent());
    Files.writeString(file, text);
  }

  private void machine(long total, long available) throws IOException {
    file(
        "proc/meminfo",
        "MemTotal:       %d kB\nMemFree:   17 kB\nMemAvailable:   %d kB\nHugePages_Total:  0\n"
            .formatted(total * 1024, available * 1024));
  }

  private void v1(String path, String limit, long used, String stat) throws IOException {
    String group = "sys/fs/cgroup/memory" + path;
    file(group + "/memory.limit_in_bytes", limit + "\n");
    file(group + "/memory.usage_in_bytes", used * MIB + "\n");
    file(group + "/memory.stat", stat);
  }

  private void v2(String path, String max, String high, long used, String stat) throws IOException {
    String group = "sys/fs/cgroup" + path;
    file(group + "/memory.max", max + "\n");
    file(group + "/memory.high", high + "\n");
    file(group + "/memory.current", used * MIB + "\n");
    file(group + "/memory.stat", stat);
  }

  private void assertNearest(long limit, long room, String where) {
    assertEquals(
        Optional.of(new MemoryLimit.Nearest(limit * MIB, room * MIB, where)),
        MemoryLimit.read(root));
  }

  private String group(String path) {
    return root.resolve("sys/fs/cgroup" + path).toString();
  }

  @Test
  void withoutAnythingNothingIsKnown() {
    assertEquals(Optional.empty(), MemoryLimit.read(root));
  }

  @Test
  void theMachineIsALimitToo() throws IOException {
    machine(2048, 300);
    file("proc/self/cgroup", "");
    file("proc/self/mountinfo", "");
    assertNearest(2048, 300, "/proc/meminfo");
  }

  @Test
  void version1CountsFilesAsRoomButNotTmpfsNorWhatIsDirty() throws IOException {
    machine(16384, 9000);
    file("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/a/b\n0::/\n");
    file("proc/self/mountinfo", V1.formatted("/"));
    v1("", "9223372036854771712", 7000, "");
    v1("/a", "9223372036854771712", 5000, "");
    v1(
        "/a/b",
        Long.toString(1000 * MIB),
        900,
        "cache %d\nrss 5\ninactive_file 0\ntotal_cache %d\ntotal_inactive_file %d\ntotal_active_file %d\ntotal_dirty %d\ntotal_writeback %d\n"
            .formatted(700 * MIB, 700 * MIB, 300 * MIB, 100 * MIB, 30 * MIB, 20 * MIB));
    assertNearest(1000, 100 + 350, group("/memory/a/b"));
  }

  @Test
  void theGroupAboveMayBeNearer() throws IOException {
    machine(16384, 9000);
    file("proc/self/cgroup", "4:memory:/pod/container\n");
    file("proc/self/mountinfo", V1.formatted("/"));
    v1("/pod", Long.toString(2000 * MIB), 1900, "");
    v1("/pod/container", Long.toString(1000 * MIB), 500, "");
    assertNearest(2000, 100, group("/memory/pod"));
  }

  @Test
  void aContainersGroupIsAtTheMount() throws IOException {
    machine(16384, 9000);
    file("proc/self/cgroup", "4:memory:/docker/0123\n");
    file("proc/self/mountinfo", V1.formatted("/docker/0123"));
    v1("", Long.toString(800 * MIB), 500, "total_inactive_file 0\n");
    assertNearest(800, 300, group("/memory"));
  }

  @Test
  void aContainersGroupMayBeBelowTheMount() throws IOException {
    file("proc/self/cgroup", "4:memory:/docker/0123/inner\n");
    file("proc/self/mountinfo", V1.formatted("/docker/0123"));
    v1("", Long.toString(800 * MIB), 500, "");
    v1("/inner", Long.toString(400 * MIB), 150, "");
    assertNearest(400, 250, group("/memory/inner"));
  }

  @Test
  void version2TakesTheLessOfMaxAndHigh() throws IOException {
    machine(16384, 9000);
    file("proc/self/cgroup", "0::/kubepods/pod1/c\n");
    file("proc/self/mountinfo", V2.formatted("/"));
    v2("/kubepods", "max", "max", 8000, "");
    v2("/kubepods/pod1", Long.toString(3000 * MIB), "max", 1000, "");
    v2(
        "/kubepods/pod1/c",
        Long.toString(1500 * MIB),
        Long.toString(1200 * MIB),
        1000,
        "anon 5\nfile %d\nshmem 7\nfile_dirty %d\nfile_writeback 0\ninactive_file %d\nactive_file %d\nslab_reclaimable %d\n"
            .formatted(500 * MIB, 40 * MIB, 200 * MIB, 60 * MIB, 10 * MIB));
    assertNearest(1200, 200 + 230, group("/kubepods/pod1/c"));
  }

  @Test
  void version2InANamespaceOfItsOwn() throws IOException {
    file("proc/self/cgroup", "0::/\n");
    file("proc/self/mountinfo", V2.formatted("/"));
    v2("", Long.toString(700 * MIB), "max", 650, "");
    assertNearest(700, 50, group(""));
    file("proc/self/cgroup", "0::/../other\n"); // joined from outside: what is above is not seen
    assertNearest(700, 50, group(""));
  }

  @Test
  void bothVersionsAtOnce() throws IOException {
    machine(16384, 9000);
    file("proc/self/cgroup", "4:memory:/x\n0::/y\n");
    file(
        "proc/self/mountinfo",
        V1.formatted("/") + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    v1("/x", Long.toString(600 * MIB), 100, "");
    Files.createDirectories(root.resolve("sys/fs/cgroup/unified/y"));
    assertNearest(600, 500, group("/memory/x"));
  }

  @Test
  void aGroupOverItsLimitHasNoRoom() throws IOException {
    file("proc/self/cgroup", "0::/\n");
    file("proc/self/mountinfo", V2.formatted("/"));
    v2("", "max", Long.toString(100 * MIB), 150, "inactive_file x\n");
    assertNearest(100, -50, group(""));
  }

  @Test
  void unreadableFiguresAreNoLimit() throws IOException {
    machine(1000, 400);
    file("proc/self/cgroup", "nonsense\n4:memory:/x\n");
    file("proc/self/mountinfo", "short\n" + V1.formatted("/"));
    v1("/x", "much", 100, "");
    assertNearest(1000, 400, "/proc/meminfo");
  }

  @Test
  void thisMachineHasSomeRoom() {
    assertTrue(MemoryLimit.read().orElseThrow().room() > MIB);
  }

  /** Wanted pool and room in MiB; the pool that is taken. */
  @ParameterizedTest
  @CsvSource({
    "256,100000,256",
    "256,577,256",
    "256,500,256",
    "256,400,192",
    "256,300,92",
    "256,200,32",
    "256,-10,32",
    "1024,700,492",
    "64,300,64",
    "64,250,42",
  })
  void thePoolShrinksWithTheRoom(long wanted, long room, long pool) {
    MemoryBudget budget = MemoryBudget.of(wanted * MIB, room * MIB);
    assertEquals(pool * MIB, budget.pool());
    assertTrue(
        budget.total() + MemoryBudget.KEPT <= room * MIB || budget.pool() == 32 * MIB,
        budget::toString);
  }

  @Test
  void withoutALimitNothingShrinks() {
    MemoryBudget budget = MemoryBudget.of(1 << 30, Long.MAX_VALUE);
    assertEquals(
        new MemoryBudget(1 << 30, MemoryBudget.MOST_TRANSFERS, MemoryBudget.MOST_FILE_PARTS),
        budget);
  }
}
