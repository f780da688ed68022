package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class CensusTest {

  @TempDir private Path proc;

  private void process(long pid, long parent, String name, char state) throws IOException {
    Path folder = Files.createDirectories(proc.resolve(Long.toString(pid)));
    Files.write(
        folder.resolve("stat"),
        (pid + " (" + name + ") " + state + " " + parent + " 1 1 0 -1 4194304 99\n")
            .getBytes(StandardCharsets.ISO_8859_1));
  }

  @BeforeEach
  void begin() throws IOException {
    Files.createDirectories(proc.resolve("sys"));
    Files.writeString(proc.resolve("version"), "x");
    process(1, 0, "lifeboat-init", 'S');
    process(2, 1, "java", 'S');
    process(3, 2, "helper of java", 'S');
    process(1000, 1, "task", 'S');
    process(1003, 1001, "grandchild", 'R');
    process(1001, 1000, "evil) S 1 (name", 'S');
    process(1002, 1000, "\u00e4\u00ff\n", 'Z');
  }

  private static Set<Long> pids(List<Census.Entry> entries) {
    return entries.stream().map(Census.Entry::pid).collect(Collectors.toSet());
  }

  @Test
  void findsTheTreeWhateverTheNames() throws IOException {
    Census census = Census.take(proc);
    assertEquals(Set.of(1000L, 1001L, 1002L, 1003L), census.tree(1000));
    assertEquals(Set.of(1000L, 1001L, 1003L), census.living(1000));
    assertEquals(Set.of(1003L), census.tree(1003));
    assertEquals(Set.of(), census.tree(4711));
    assertEquals(List.of(), census.strangers(1000, Set.of(2L)));
  }

  @Test
  void namesWhoWouldBeLost() throws IOException {
    process(1500, 1, "daemon (v2)", 'S');
    process(1501, 1500, "its child", 'S');
    process(1502, 1, "zombie", 'Z');
    Census census = Census.take(proc);
    assertEquals(Set.of(1500L, 1501L), pids(census.strangers(1000, Set.of(2L))));
    assertTrue(
        census.strangers(1000, Set.of(2L)).stream()
            .anyMatch(e -> e.toString().equals("process 1500 (daemon (v2))")));
    assertEquals(
        Set.of(2L, 3L, 1500L, 1501L), pids(census.strangers(1000, Set.of())), "no one is ours");
  }

  @Test
  void whoEnteredFromOutsideIsNoStranger() throws IOException {
    process(1600, 0, "sh", 'S');
    process(1601, 1600, "lifeboat", 'S');
    assertEquals(List.of(), Census.take(proc).strangers(1000, Set.of(2L)));
  }

  @Test
  void aProcessThatEndsMeanwhileIsLeftOut() throws IOException {
    Files.createSymbolicLink(proc.resolve("1700"), proc.resolve("gone"));
    assertEquals(4, Census.take(proc).tree(1000).size());
  }

  @Test
  void aProcessThatCannotBeReadIsAnError() throws IOException {
    Files.createDirectories(proc.resolve("1800"));
    assertThrows(IOException.class, () -> Census.take(proc));
  }

  @Test
  void seesRealProcesses() throws IOException, InterruptedException {
    Process child = new ProcessBuilder("sh", "-c", "read x; exit 0").start();
    try {
      long me = ProcessHandle.current().pid();
      Census census = Census.take();
      assertTrue(census.tree(me).contains(child.pid()));
      assertFalse(pids(census.strangers(child.pid(), Set.of(me))).contains(child.pid()));
      Map<Integer, String> taken =
          Census.taken(Set.of(Math.toIntExact(me), 1 << 30, Math.toIntExact(child.pid())));
      assertEquals(Set.of((int) me, (int) child.pid()), taken.keySet());
      assertEquals("sh", taken.get((int) child.pid()));
    } finally {
      child.destroy();
      child.waitFor();
    }
  }

  /** A restore needs thread ids too. */
  @Test
  void aThreadTakesItsNumber() throws IOException {
    Set<Integer> threads;
    try (var list = Files.list(Path.of("/proc/self/task"))) {
      threads =
          list.map(p -> Integer.parseInt(p.getFileName().toString())).collect(Collectors.toSet());
    }
    int pid = Math.toIntExact(ProcessHandle.current().pid());
    int thread = threads.stream().filter(t -> t != pid).findFirst().orElseThrow();
    assertTrue(Census.taken(Set.of(thread)).containsKey(thread));
  }
}
