package org.lifeboat.vfs;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.lifeboat.store.TestData;

/** Random operations on several {@link Posix} at once, whose answers must be the same. */
final class PosixOperations {

  private static final int SLOTS = 4;
  private static final List<String> FOREIGN =
      List.of("f0", "f1", "d0/f1", "d0/d1/f2", "d2/f0", "d2/d0/d1/f0");

  private final long seed;
  private final Random random;
  private final List<String> history = new ArrayList<>();
  private final boolean[] open = new boolean[SLOTS];
  private final boolean[] writable = new boolean[SLOTS];

  /** With a seed of its own, which is printed. */
  PosixOperations(String what) {
    this(new TestData(what).random().nextLong());
  }

  PosixOperations(long seed) {
    this.seed = seed;
    this.random = new Random(seed);
  }

  /** Puts a file that is there from the beginning. */
  interface Putting {
    void put(String name, byte[] bytes) throws Exception;
  }

  void foreign(Putting putting) throws Exception {
    for (String name : FOREIGN) {
      putting.put(name, bytes(random.nextInt(20_000)));
    }
  }

  boolean nextBoolean() {
    return random.nextBoolean();
  }

  /** Runs so many, and compares all files then. */
  void run(Map<String, Posix> all, int operations, Runnable now) {
    try {
      for (int i = 0; i < operations; i++) {
        step(all);
        if (random.nextInt(50) == 0) {
          now.run();
        }
      }
      compareAll(all, "");
    } catch (AssertionError | Exception e) {
      int from = Math.max(0, history.size() - 60);
      throw new AssertionError(
          "seed " + seed + ":\n" + String.join("\n", history.subList(from, history.size())), e);
    }
  }

  private byte[] bytes(int length) {
    byte[] bytes = new byte[length];
    random.nextBytes(bytes);
    return bytes;
  }

  private String path() {
    StringBuilder path = new StringBuilder();
    int depth = random.nextInt(3);
    for (int i = 0; i < depth; i++) {
      path.append("d").append(random.nextInt(3)).append('/');
    }
    path.append(random.nextInt(3) == 0 ? "d" + random.nextInt(3) : "f" + random.nextInt(4));
    if (random.nextInt(200) == 0) {
      path.append("x".repeat(300));
    }
    return path.toString();
  }

  private interface Operation {
    Object on(Posix posix) throws Exception;
  }

  private interface Act {
    void on(Posix posix) throws Exception;
  }

  private String same(Map<String, Posix> all, String what, Operation operation) throws Exception {
    history.add(what);
    String expected = null;
    for (Map.Entry<String, Posix> each : all.entrySet()) {
      String result;
      try {
        result = String.valueOf(operation.on(each.getValue()));
      } catch (Posix.Failed e) {
        result = e.getMessage();
      }
      if (expected == null) {
        expected = result;
        history.add("    " + (result.length() > 100 ? result.length() + " characters" : result));
      } else {
        assertEquals(comparable(expected, result), result, each.getKey() + ": " + what);
      }
    }
    return expected;
  }

  /** A directory of which not all is known counts no directories. */
  private static String comparable(String expected, String result) {
    return result.contains("links 1 size -1")
        ? expected.replaceFirst("links \\d+ size -1", "links 1 size -1")
        : expected;
  }

  private boolean act(Map<String, Posix> all, String what, Act act) throws Exception {
    return same(
            all,
            what,
            posix -> {
              act.on(posix);
              return "ok";
            })
        .equals("ok");
  }

  private void step(Map<String, Posix> all) throws Exception {
    String path = path();
    String other = path();
    int slot = random.nextInt(SLOTS);
    int small = random.nextInt(10);
    long offset = random.nextInt(30_000);
    int length = 1 + random.nextInt(9_000);
    int mode = List.of(0644, 0600, 0755, 0700).get(random.nextInt(4));
    switch (random.nextInt(22)) {
      case 0, 1 -> {
        close(all, slot);
        open[slot] = act(all, "create " + path, posix -> posix.create(slot, path));
      }
      case 2, 3 -> {
        close(all, slot);
        boolean write = random.nextBoolean();
        open[slot] = act(all, "open " + path + " " + write, posix -> posix.open(slot, path, write));
        writable[slot] = write;
      }
      case 4, 5, 6 -> {
        if (open[slot]) {
          byte[] bytes = bytes(length);
          if (writable[slot]) {
            act(
                all,
                "write " + slot + " " + offset + " " + length,
                posix -> posix.write(slot, offset, bytes));
          }
          same(all, "size of " + slot, posix -> posix.sizeOf(slot));
        }
      }
      case 7, 8 -> {
        if (open[slot]) {
          same(
              all,
              "read " + slot + " " + offset,
              posix -> java.util.Arrays.hashCode(posix.read(slot, offset, length)));
        }
      }
      case 9 -> {
        if (open[slot] && writable[slot]) {
          act(all, "truncate " + slot, posix -> posix.truncate(slot, offset));
        }
      }
      case 10 -> act(all, "mkdir " + path, posix -> posix.mkdir(path, mode));
      case 11 -> act(all, "rmdir " + path, posix -> posix.rmdir(path));
      case 12, 13 -> act(all, "unlink " + path, posix -> posix.unlink(path));
      case 14, 15 -> rename(all, path, other, small);
      case 16 -> act(all, "link " + path + " " + other, posix -> posix.link(path, other));
      case 17 -> {
        if (small < 5) {
          act(all, "symlink " + path, posix -> posix.symlink("no/where" + small, path));
        } else {
          act(all, "mkfifo " + path, posix -> posix.mkfifo(path, mode));
        }
        same(all, "readlink " + path, posix -> posix.readlink(path));
      }
      case 18 -> {
        if (small < 7) {
          act(all, "chmod " + path, posix -> posix.chmod(path, mode));
        } else {
          act(all, "utimens " + path, posix -> posix.utimens(path, 1000L + small));
        }
      }
      case 19 -> {
        String name = "user.n" + small % 3;
        if (small < 7) {
          byte[] value = ("v" + offset).getBytes(UTF_8);
          act(all, "setxattr " + path + " " + name, posix -> posix.setxattr(path, name, value));
        } else {
          act(all, "removexattr " + path, posix -> posix.removexattr(path, name));
        }
      }
      case 20 -> same(all, "list " + path, posix -> posix.list(path));
      default -> {
        same(all, "stat " + path, posix -> posix.stat(path));
        if (random.nextInt(20) == 0) {
          act(all, "restart", Posix::restart);
          java.util.Arrays.fill(open, false);
        }
      }
    }
  }

  /** Closes what the operations have left open. */
  void closeAll(Map<String, Posix> all) throws Exception {
    for (int slot = 0; slot < SLOTS; slot++) {
      close(all, slot);
    }
  }

  private void close(Map<String, Posix> all, int slot) throws Exception {
    if (open[slot]) {
      act(all, "close " + slot, posix -> posix.close(slot));
      open[slot] = false;
    }
    writable[slot] = true;
  }

  private void rename(Map<String, Posix> all, String path, String other, int small)
      throws Exception {
    if (path.length() > 255 || other.length() > 255) {
      return; // which error comes first is not worth a rule
    }
    if (small == 0) {
      act(
          all,
          "rename, not replacing, " + path + " " + other,
          posix -> posix.rename(path, other, FileOperations.RENAME_NOREPLACE));
    } else if (small < 3) {
      Posix machine =
          all.values().stream().filter(PosixReal.class::isInstance).findAny().orElse(null);
      Map<String, Posix> two = new LinkedHashMap<>(all);
      two.values().removeIf(posix -> posix instanceof PosixReal);
      boolean done =
          act(
              two,
              "exchange " + path + " " + other,
              posix -> posix.rename(path, other, FileOperations.RENAME_EXCHANGE));
      if (machine != null && done && !path.equals(other)) {
        machine.rename(path, "between", 0);
        machine.rename(other, path, 0);
        machine.rename("between", other, 0);
      }
    } else {
      act(all, "rename " + path + " " + other, posix -> posix.rename(path, other, 0));
    }
  }

  /** Everything there is, with its bytes. */
  void compareAll(Map<String, Posix> all, String directory) throws Exception {
    String names = same(all, "list " + directory, posix -> posix.list(directory));
    String inner = names.substring(1, names.length() - 1);
    for (String name : inner.isEmpty() ? new String[0] : inner.split(", ")) {
      String path = directory.isEmpty() ? name : directory + "/" + name;
      String stat = same(all, "stat " + path, posix -> posix.stat(path));
      if (stat.startsWith("4")) {
        compareAll(all, path);
      } else if (stat.startsWith("100")) {
        act(all, "open " + path, posix -> posix.open(SLOTS, path, false));
        same(
            all, "read " + path, posix -> java.util.Arrays.hashCode(posix.read(SLOTS, 0, 200_000)));
        act(all, "close " + path, posix -> posix.close(SLOTS));
      }
    }
  }
}
