package org.lifeboat.cache;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.lifeboat.cache.CacheFixture.all;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** An engine is killed at each {@link CachePoint}; the next one finds all that was not clean. */
@Timeout(180)
final class CacheCrashTest {

  @TempDir Path temp;

  @Test
  void killedAnywhereNothingIsLost() throws Exception {
    List<Callable<Void>> kills = new ArrayList<>();
    for (CachePoint point : CachePoint.values()) {
      kills.add(() -> killAt(point.name()));
    }
    for (String later : List.of("CACHE_STORED:20", "CACHE_PUNCHED:2")) {
      kills.add(() -> killAt(later));
    }
    try (ExecutorService threads = Executors.newFixedThreadPool(2)) {
      for (Future<Void> kill : threads.invokeAll(kills)) {
        kill.get();
      }
    }
  }

  private Void killAt(String point) throws Exception {
    Path folder = Files.createDirectory(temp.resolve(point.replace(':', '-')));
    Path cache = folder.resolve("cache");
    Path stop = folder.resolve("stop");
    Path said = folder.resolve("said");
    ProcessBuilder builder =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xshare:auto",
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                CacheProcess.class.getName(),
                cache.toString())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .redirectOutput(new File(said.toString()));
    builder
        .environment()
        .putAll(Map.of("LIFEBOAT_CRASH_POINT", point, "LIFEBOAT_CRASH_FILE", stop.toString()));
    Process engine = builder.start();
    while (!Files.exists(stop)) {
      assertTrue(engine.isAlive(), point + " was not reached");
      LockSupport.parkNanos(1_000_000);
    }
    engine.destroyForcibly().waitFor();
    try {
      check(cache, Files.readAllLines(said));
    } catch (AssertionError | Exception e) {
      throw new AssertionError("killed at " + point, e);
    }
    return null;
  }

  private static void check(Path directory, List<String> said) throws Exception {
    assertFalse(said.contains("done"));
    try (Cache cache = CacheFixture.open(directory, CacheProcess.TIGHT)) {
      one(cache, said);
      // two was only read
      try (Content two = cache.attach(2, CacheProcess.TWO.origin("v2"), CacheProcess.TWO)) {
        assertArrayEquals(CacheProcess.TWO.data, all(two));
        two.discard();
      }
      three(cache, said);
      assertEquals(0, CacheFixture.settled(cache).bytes());
      assertEquals(0, cache.usage().contents());
    }
    try (Stream<Path> left = Files.walk(directory)) {
      assertEquals(2, left.filter(Files::isRegularFile).count(), "the lock and the layout");
    }
  }

  private static void one(Cache cache, List<String> said) throws Exception {
    Optional<Content> found = cache.find(1);
    if (found.isEmpty()) {
      assertFalse(said.contains("dirty 1"));
      return;
    }
    try (Content one = found.get()) {
      if (said.contains("dirty 1")) {
        assertArrayEquals(CacheProcess.ONE.data, all(one));
        assertTrue(one.isDirty() ? one.isSuspect() : one.origin().isPresent());
        assertFalse(one.isDirty() && said.contains("clean 1"));
      } else {
        assertTrue(one.isDirty());
      }
      one.discard();
    }
  }

  private static void three(Cache cache, List<String> said) throws Exception {
    if (cache.dirty().contains(3L)) {
      try (Content three = cache.find(3).orElseThrow()) {
        assertArrayEquals(
            said.contains("dirty 3") ? CacheProcess.WRITTEN : new byte[0], all(three));
        assertEquals("v3", three.origin().orElseThrow().version());
        three.discard();
      }
      return;
    }
    assertFalse(said.contains("dirty 3"));
    try (Content three = cache.attach(3, CacheProcess.THREE.origin("v3"), CacheProcess.THREE)) {
      assertArrayEquals(CacheProcess.THREE.data, all(three));
      three.discard();
    }
  }
}
