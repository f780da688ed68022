package org.lifeboat.cache;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.lifeboat.cache.CacheFixture.BLOCK;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.Stat;

/**
 * Random operations on a small cache, against arrays of bytes: with a store that fails at times,
 * too little room, and the cache closed and opened again in between. {@code -Dlifeboat.seed=N}
 * repeats one round.
 */
@Timeout(120)
final class ModelTest {

  private static final int IDS = 6;
  private static final int LARGEST = 12 * BLOCK;
  private static final Limits TIGHT = new Limits(40 * BLOCK, 0);

  @TempDir Path temp;

  /** What one id should be. */
  private static final class Expected {
    byte[] bytes;
    boolean dirty;
    TestSource source;
    String version;
    Content open;
    Readahead readahead;
  }

  private Random random;
  private Cache cache;
  private final Map<Long, Expected> model = new HashMap<>();
  private volatile boolean failing;
  private long nextId;
  private int versions;

  @Test
  void randomOperations() throws Exception {
    Long one = Long.getLong("lifeboat.seed");
    long base = one == null ? System.nanoTime() : one;
    int rounds = one == null ? 5 : 1;
    for (int i = 0; i < rounds; i++) {
      long seed = base + i;
      System.out.println("cache model: -Dlifeboat.seed=" + seed);
      try {
        round(seed, temp.resolve("cache" + i));
      } catch (Exception | Error e) {
        throw new AssertionError("-Dlifeboat.seed=" + seed, e);
      }
    }
  }

  private void round(long seed, Path directory) throws Exception {
    random = new Random(seed);
    model.clear();
    failing = false;
    cache = CacheFixture.open(directory, TIGHT);
    try {
      for (int i = 0; i < 1500; i++) {
        step(directory);
      }
      failing = false;
      for (long id : model.keySet().stream().toList()) {
        check(id, model.get(id), 0, LARGEST);
        discard(id);
      }
      assertEquals(0, CacheFixture.settled(cache).bytes());
      assertEquals(0, cache.usage().dirtyBytes());
      assertEquals(0, cache.usage().contents());
    } finally {
      cache.close();
    }
  }

  private void step(Path directory) throws Exception {
    if (random.nextInt(60) == 0) {
      failing = !failing;
    }
    if (random.nextInt(150) == 0) {
      reopen(directory);
    }
    if (model.size() < IDS && random.nextInt(3) == 0) {
      add();
      return;
    }
    if (model.isEmpty()) {
      return;
    }
    long id = model.keySet().stream().skip(random.nextInt(model.size())).findFirst().orElseThrow();
    Expected expected = model.get(id);
    switch (random.nextInt(20)) {
      case 0 -> discard(id);
      case 1, 2 -> upload(expected(id, expected));
      case 3 -> truncate(expected(id, expected));
      case 4, 5, 6, 7 -> write(expected(id, expected));
      case 8 -> makeWhole(expected(id, expected));
      case 9 -> release(expected);
      case 10 -> newVersion(id, expected);
      default -> check(id, expected, random.nextInt(LARGEST), random.nextInt(3 * BLOCK));
    }
  }

  private byte[] bytes(int length) {
    byte[] bytes = new byte[length];
    random.nextBytes(bytes);
    return bytes;
  }

  private TestSource store(byte[] bytes) {
    TestSource stored = new TestSource(bytes.clone());
    stored.hook =
        (offset, length) -> {
          if (failing) {
            throw new IOException("the store fails");
          }
        };
    return stored;
  }

  private void add() throws Exception {
    long id = nextId++;
    Expected expected = new Expected();
    if (random.nextBoolean()) {
      expected.bytes = new byte[0];
      expected.dirty = true;
      expected.open = cache.create(id);
    } else {
      expected.bytes = bytes(random.nextInt(LARGEST));
      expected.source = store(expected.bytes);
      expected.version = "v" + versions++;
      expected.open = attach(id, expected);
    }
    model.put(id, expected);
  }

  private Content attach(long id, Expected expected) throws Exception {
    return cache.attach(id, expected.source.origin(expected.version), expected.source);
  }

  /** With its content open. */
  private Expected expected(long id, Expected expected) throws Exception {
    if (expected.open == null) {
      expected.open = expected.dirty ? cache.find(id).orElseThrow() : attach(id, expected);
      expected.readahead = expected.open.readahead();
    }
    assertEquals(expected.dirty, expected.open.isDirty());
    return expected;
  }

  private static void release(Expected expected) throws Exception {
    if (expected.open != null) {
      expected.open.close();
      expected.open = null;
      expected.readahead = null;
    }
  }

  private void reopen(Path directory) throws Exception {
    for (Expected expected : model.values()) {
      release(expected);
    }
    cache.close();
    cache = CacheFixture.open(directory, TIGHT);
    assertEquals(
        model.entrySet().stream()
            .filter(e -> e.getValue().dirty)
            .map(Map.Entry::getKey)
            .sorted()
            .toList(),
        cache.dirty());
  }

  private void check(long id, Expected expected, int offset, int length) throws Exception {
    expected(id, expected);
    int end = Math.min(expected.bytes.length, offset + length);
    byte[] should = offset >= end ? new byte[0] : Arrays.copyOfRange(expected.bytes, offset, end);
    boolean ahead = expected.readahead != null && random.nextBoolean();
    try {
      byte[] is =
          ahead
              ? CacheFixture.read(expected.readahead::read, offset, length)
              : CacheFixture.read(expected.open, offset, length);
      assertArrayEquals(should, is);
    } catch (CacheException e) {
      assertEquals(Errno.EIO, e.errno(), e.getMessage());
      assertTrue(failing && !expected.dirty, e.getMessage());
    }
    assertEquals(expected.bytes.length, expected.open.size());
  }

  /** Whether it is whole now; pinned then. */
  private boolean makeWhole(Expected expected) throws Exception {
    expected.open.pin();
    try {
      expected.open.makeWhole();
      assertTrue(expected.open.isWhole());
      expected.open.fd();
      expected.open.unpin();
      return true;
    } catch (CacheException e) {
      expected.open.unpin();
      assertTrue(e.isNoSpace() || (failing && e.errno() == Errno.EIO), e.getMessage());
      assertFalse(expected.dirty);
      return false;
    }
  }

  private void write(Expected expected) throws Exception {
    int offset = random.nextInt(LARGEST - 1);
    byte[] more = bytes(1 + random.nextInt(Math.min(2 * BLOCK, LARGEST - offset)));
    expected.open.pin();
    try {
      expected.open.makeWhole();
      CacheFixture.write(expected.open, offset, more);
      expected.bytes =
          Arrays.copyOf(expected.bytes, Math.max(expected.bytes.length, offset + more.length));
      System.arraycopy(more, 0, expected.bytes, offset, more.length);
      expected.dirty = true;
    } catch (CacheException e) {
      assertTrue(e.isNoSpace() || (failing && e.errno() == Errno.EIO), e.getMessage());
      expected.dirty = expected.open.isDirty();
    } finally {
      expected.open.unpin();
    }
  }

  private void truncate(Expected expected) throws Exception {
    int size = random.nextInt(3) == 0 ? 0 : random.nextInt(LARGEST);
    try {
      expected.open.truncate(size);
      expected.bytes = Arrays.copyOf(expected.bytes, size);
      expected.dirty = true;
    } catch (CacheException e) {
      assertEquals(Errno.EINVAL, e.errno(), e.getMessage());
      assertTrue(size > 0 && !expected.dirty && !expected.open.isWhole());
    }
  }

  private void upload(Expected expected) throws Exception {
    if (!expected.dirty) {
      return;
    }
    Stat stat = expected.open.stat();
    TestSource stored = store(CacheFixture.all(expected.open));
    assertArrayEquals(expected.bytes, stored.data);
    String version = "v" + versions++;
    assertTrue(expected.open.markClean(stored.origin(version), stored, stat));
    expected.source = stored;
    expected.version = version;
    expected.dirty = false;
  }

  private void newVersion(long id, Expected expected) throws Exception {
    if (expected.dirty) {
      return;
    }
    release(expected);
    expected.bytes = bytes(random.nextInt(LARGEST));
    expected.source = store(expected.bytes);
    expected.version = "v" + versions++;
    expected(id, expected);
  }

  private void discard(long id) throws Exception {
    Expected expected = model.remove(id);
    if (expected.open == null) {
      Optional<Content> found = cache.find(id);
      assertTrue(found.isPresent() || !expected.dirty, "only clean ones are evicted");
      if (found.isEmpty()) {
        return;
      }
      expected.open = found.get();
    }
    expected.open.discard();
    expected.open.close();
  }
}
