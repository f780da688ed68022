package org.lifeboat.vfs;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.store.TestData;
import org.lifeboat.sys.Errno;

@Timeout(60)
final class JournalTest {

  @TempDir Path temp;

  /** The state as the journal would describe it. */
  private static byte[] described(State state) {
    ChangeCoder coder = new ChangeCoder();
    coder.begin(0);
    for (Node node : state.tree().nodes()) {
      node.pinned = node.journalled; // as the next engine takes it
    }
    state.tree().describe(coder::put);
    return Arrays.copyOf(coder.buffer().array(), coder.size());
  }

  @Test
  void afterReplayTheStateIsTheSame() throws Exception {
    TestData data = new TestData("JournalTest.afterReplayTheStateIsTheSame");
    for (int round = 0; round < 3; round++) {
      Path here = Files.createDirectories(temp.resolve("" + round));
      try (TreeRig rig = new TreeRig(here, Clock.systemUTC())) {
        rig.options = TreeRig.with(rig.options, 1 << 20, true, round == 0 ? 1 << 30 : 20_000);
        for (int i = 0; i < 20; i++) {
          rig.put("bucket", "home/task/d" + i % 4 + "/f" + i, new byte[i]);
        }
        rig.mount();
        PosixTree posix = rig.posix(TreeRig.HOME);
        int refused = 0;
        for (int i = 0; i < 600; i++) {
          try {
            change(posix, data.random(), i);
          } catch (Posix.Failed e) {
            refused++; // it changed nothing
          }
        }
        assertTrue(refused < 500, refused + " were refused");
        byte[] before = described(rig.tree.state());
        rig.kill();
        try (State state =
            State.open(
                org.lifeboat.sys.BytePath.of(rig.journal()),
                Clock.systemUTC(),
                CrashPoints.NONE,
                1 << 30)) {
          assertArrayEquals(before, described(state), "round " + round);
        }
      }
    }
  }

  private static void change(PosixTree posix, Random random, int i) throws Exception {
    String path = "d" + random.nextInt(5) + "/f" + random.nextInt(20);
    String other = "d" + random.nextInt(5) + "/f" + random.nextInt(20);
    switch (random.nextInt(12)) {
      case 0, 1 -> posix.create(i, path);
      case 2 -> posix.open(i, path, random.nextBoolean());
      case 3 -> posix.unlink(path);
      case 4 -> posix.rename(path, other, 0);
      case 5 -> posix.rename(path, other, FileOperations.RENAME_EXCHANGE);
      case 6 -> posix.link(path, other);
      case 7 -> posix.symlink("somewhere", path);
      case 8 -> posix.chmod(path, random.nextInt(01000));
      case 9 -> posix.setxattr(path, "user." + i % 3, new byte[i]);
      case 10 -> posix.mkdir("d" + random.nextInt(5), 0700);
      default -> posix.rename("d" + random.nextInt(5), "d" + random.nextInt(5), 0);
    }
  }

  private State open(Path journal) throws VfsException {
    return JournalProcess.open(journal, CrashPoints.NONE);
  }

  private static void make(State state, int i) throws VfsException {
    state.write().lock();
    try {
      List<Change> changes = new ArrayList<>();
      changes.add(JournalProcess.directory(100 + i));
      changes.add(
          new Change.PutChild(
              2, Name.of("name " + i), 100 + i, state.tree().node(2).children.nextCookie()));
      if (i % 3 == 2) {
        changes.add(new Change.CutChild(2, Name.of("name " + (i - 1))));
        changes.add(new Change.Remove(100 + i - 1));
      }
      state.commit(changes, "mkdir", "" + i);
    } finally {
      state.write().unlock();
    }
  }

  private static Path log(Path journal) throws Exception {
    try (Stream<Path> files = Files.list(journal)) {
      return files.filter(file -> file.toString().endsWith(".log")).findAny().orElseThrow();
    }
  }

  @Test
  void aTornTailIsCutOffAtEveryByte() throws Exception {
    Path journal = temp.resolve("journal");
    List<byte[]> states = new ArrayList<>();
    List<Long> ends = new ArrayList<>();
    byte[] whole;
    try (State state = open(journal)) {
      Path log = log(journal);
      for (int i = 0; i < 8; i++) {
        states.add(described(state));
        ends.add(Files.size(log));
        make(state, i);
      }
      states.add(described(state));
      ends.add(Files.size(log));
      whole = Files.readAllBytes(log);
    }
    Path torn = Files.createDirectories(temp.resolve("torn"));
    for (int length = 0; length <= whole.length; length++) {
      Path log = torn.resolve("0000000000000000.log");
      Files.write(log, Arrays.copyOf(whole, length));
      int frames = 0;
      while (frames + 1 < ends.size() && ends.get(frames + 1) <= length) {
        frames++;
      }
      try (State state = open(torn)) {
        assertArrayEquals(states.get(frames), described(state), "cut at " + length);
        assertEquals(
            length <= ends.get(0) && length < Journal.HEADER ? length : length - ends.get(frames),
            state.journal().cutBytes());
        make(state, 51);
      }
      try (State state = open(torn)) {
        assertEquals(0, state.journal().cutBytes(), "it goes on behind the cut");
        assertTrue(state.tree().node(151) != null);
      }
    }
  }

  @Test
  void damageInTheMiddleIsAnErrorThatNamesFileAndPlace() throws Exception {
    Path journal = temp.resolve("journal");
    List<Long> ends = new ArrayList<>();
    Path log;
    try (State state = open(journal)) {
      log = log(journal);
      for (int i = 0; i < 5; i++) {
        ends.add(Files.size(log));
        make(state, i);
      }
    }
    byte[] whole = Files.readAllBytes(log);
    for (int at = 0; at < ends.get(4); at++) {
      byte[] damaged = whole.clone();
      damaged[at] ^= (byte) (1 << (at % 8));
      Files.write(log, damaged);
      VfsException e = assertThrows(VfsException.class, () -> open(journal).close(), "at " + at);
      assertEquals(Errno.EIO, e.errno());
      assertTrue(e.getMessage().contains(log.toString()), e.getMessage());
      assertFalse(e.remedy().isEmpty());
      if (at >= Journal.HEADER) {
        int place = 0;
        while (ends.get(place + 1) <= at) {
          place++;
        }
        assertTrue(e.getMessage().contains("at byte " + ends.get(place)), e.getMessage());
      }
    }
    byte[] last = whole.clone();
    last[whole.length - 1] ^= 1;
    Files.write(log, last);
    try (State state = open(journal)) {
      assertEquals(whole.length - ends.get(4), state.journal().cutBytes());
    }
  }

  @Test
  void aDamagedSnapshotIsAnErrorWhereverItIs() throws Exception {
    Path journal = temp.resolve("journal");
    try (State state = open(journal)) {
      for (int i = 0; i < 6; i++) {
        make(state, i);
      }
      state.write().lock();
      try {
        state.compact();
      } finally {
        state.write().unlock();
      }
    }
    Path snapshot = journal.resolve("0000000000000001.snapshot");
    byte[] whole = Files.readAllBytes(snapshot);
    for (int at = 0; at < whole.length; at++) {
      byte[] damaged = whole.clone();
      damaged[at] ^= (byte) (1 << (at % 8));
      Files.write(snapshot, damaged);
      VfsException e = assertThrows(VfsException.class, () -> open(journal).close(), "at " + at);
      assertTrue(e.getMessage().contains(snapshot.toString()), e.getMessage());
      Files.write(snapshot, Arrays.copyOf(whole, at));
      assertThrows(VfsException.class, () -> open(journal).close(), "cut at " + at);
    }
    Files.write(snapshot, whole);
    try (State state = open(journal)) {
      assertEquals(4, state.tree().node(2).children.size());
    }
    Files.delete(journal.resolve("0000000000000001.log"));
    assertThrows(VfsException.class, () -> open(journal).close());
  }

  @Test
  void aNewerVersionIsRefused() throws Exception {
    Path journal = temp.resolve("journal");
    open(journal).close();
    Path log = log(journal);
    ByteBuffer header =
        ByteBuffer.wrap(Files.readAllBytes(log)).order(java.nio.ByteOrder.LITTLE_ENDIAN);
    header.putInt(8, 2);
    java.util.zip.CRC32C crc = new java.util.zip.CRC32C();
    crc.update(header.array(), 0, 28);
    header.putInt(28, (int) crc.getValue());
    Files.write(log, header.array());
    VfsException e = assertThrows(VfsException.class, () -> open(journal).close());
    assertTrue(e.getMessage().contains("version 2"), e.getMessage());
  }

  @Test
  void compactionKeepsTheStateAndShortensTheLog() throws Exception {
    Path journal = temp.resolve("journal");
    byte[] before;
    try (State state = open(journal)) {
      for (int i = 0; i < 200; i++) {
        make(state, i);
      }
      before = described(state);
      assertTrue(state.journal().frames() < 200, "frames: " + state.journal().frames());
    }
    try (Stream<Path> files = Files.list(journal)) {
      assertEquals(2, files.count(), "one snapshot and its log");
    }
    try (State state = open(journal)) {
      assertArrayEquals(before, described(state));
    }
  }

  @Test
  void everyChangeIsReadAsItWasWritten() {
    TestData data = new TestData("JournalTest.everyChangeIsReadAsItWasWritten");
    Random random = data.random();
    ChangeCoder coder = new ChangeCoder();
    ChangeCoder again = new ChangeCoder();
    for (int i = 0; i < 2000; i++) {
      coder.begin(0);
      coder.put(randomChange(random));
      byte[] bytes = Arrays.copyOf(coder.buffer().array(), coder.size());
      ByteBuffer in = ByteBuffer.wrap(bytes);
      Change read = ChangeCoder.get(in);
      assertEquals(0, in.remaining());
      again.begin(0);
      again.put(read);
      assertArrayEquals(bytes, Arrays.copyOf(again.buffer().array(), again.size()));
      bytes[random.nextInt(bytes.length)] ^= (byte) (1 << random.nextInt(8));
      int length = random.nextInt(bytes.length + 1);
      try {
        ChangeCoder.get(ByteBuffer.wrap(Arrays.copyOf(bytes, length)));
      } catch (IllegalArgumentException e) {
        assertFalse(e.getMessage().isEmpty());
      }
    }
  }

  private static Change randomChange(Random random) {
    long a = random.nextLong();
    long b = random.nextLong();
    Name name = Name.of("name " + random.nextInt());
    String key = "a/b" + random.nextInt();
    byte[] bytes = new byte[random.nextInt(100)];
    Origin origin =
        random.nextBoolean()
            ? Origin.at(a, key, random.nextBoolean(), 0, null)
            : Origin.at(a, key, random.nextBoolean(), b, "version " + b);
    return switch (random.nextInt(14)) {
      case 0 -> {
        TreeMap<Name, byte[]> xattrs = new TreeMap<>();
        xattrs.put(name, bytes);
        yield new Change.PutNode(
            a,
            random.nextInt(),
            1,
            2,
            b,
            4,
            5,
            6,
            7,
            8,
            random.nextBoolean(),
            random.nextBoolean(),
            random.nextBoolean() ? origin : null,
            random.nextBoolean() ? bytes : null,
            random.nextBoolean() ? xattrs : null);
      }
      case 1 -> new Change.PutChild(a, name, b, 5);
      case 2 -> new Change.CutChild(a, name);
      case 3 -> new Change.Remove(a);
      case 4 -> new Change.SetAttributes(a, random.nextInt(), 1, 2, b, 3, 4);
      case 5 -> new Change.SetContent(a, b, 1, 2, 3, random.nextBoolean());
      case 6 -> new Change.SetOrigin(a, random.nextBoolean() ? origin : null);
      case 7 -> new Change.SetXattr(a, name, random.nextBoolean() ? bytes : null);
      case 8 -> new Change.Opened(a, b);
      case 9 -> new Change.Closed(a);
      case 10 ->
          new Change.Gone(
              a,
              key,
              switch (random.nextInt(3)) {
                case 0 -> new Change.Hidden.File("v" + b);
                case 1 -> new Change.Hidden.Directory();
                default -> new Change.Hidden.Moved();
              });
      case 11 -> new Change.Back(a, key);
      case 12 -> new Change.Begin(random.nextInt(), b);
      default -> new Change.Exchanged(a, name, b, Name.of("other"));
    };
  }
}
