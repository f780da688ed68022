package org.lifeboat.receive;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.Test;
import org.lifeboat.page.Compression;
import org.lifeboat.receive.CodecPolicy.Load;

class AdaptiveCodecTest {

  private static final Load LINK_FULL = new Load(192, 192, 8, 8);
  private static final Load LINK_DRY = new Load(192, 192, 2, 8);
  private static final Load CALM = new Load(0, 192, 0, 8);
  private static final Load BETWEEN = new Load(192, 192, 3, 8);

  private final AdaptiveCodec codec = new AdaptiveCodec();

  private List<Compression> steps(Load load, int batches) {
    List<Compression> seen = new ArrayList<>();
    for (int i = 0; i < batches; i++) {
      Compression next = codec.choose(load);
      if (seen.isEmpty() || seen.getLast() != next) {
        seen.add(next);
      }
    }
    return seen;
  }

  @Test
  void aLinkThatIsNotDryGetsZstd() {
    for (Load load : List.of(LINK_FULL, BETWEEN, CALM)) {
      assertEquals(List.of(Compression.ZSTD), steps(load, 1000));
    }
  }

  @Test
  void aLinkThatIsDryForLongGetsLz4() {
    assertEquals(List.of(Compression.ZSTD), steps(LINK_DRY, AdaptiveCodec.DRY_BATCHES - 1));
    assertEquals(List.of(Compression.LZ4), steps(LINK_DRY, 1000));
  }

  @Test
  void oneGlanceAtMorePartsIsEnoughForZstdToStay() {
    for (int i = 0; i < 10; i++) {
      assertEquals(List.of(Compression.ZSTD), steps(LINK_DRY, AdaptiveCodec.DRY_BATCHES - 1));
      assertEquals(List.of(Compression.ZSTD), steps(BETWEEN, 1));
    }
  }

  @Test
  void aFullLinkGetsZstdAgainAndNotAtOnce() {
    steps(LINK_DRY, AdaptiveCodec.DRY_BATCHES);
    assertEquals(List.of(Compression.LZ4), steps(LINK_FULL, AdaptiveCodec.STEP_BATCHES - 1));
    assertEquals(List.of(Compression.ZSTD), steps(LINK_FULL, 1));
  }

  @Test
  void lz4StaysWhileTheLinkIsNeitherDryNorFull() {
    steps(LINK_DRY, AdaptiveCodec.DRY_BATCHES);
    assertEquals(List.of(Compression.LZ4), steps(BETWEEN, 1000));
    assertEquals(List.of(Compression.LZ4), steps(CALM, 1000));
  }

  @Test
  void manyThreadsGetOneOfTheTwo() throws Exception {
    Set<Compression> seen = ConcurrentHashMap.newKeySet();
    List<Thread> threads = new ArrayList<>();
    for (int t = 0; t < 8; t++) {
      Load load = t % 2 == 0 ? LINK_FULL : LINK_DRY;
      threads.add(
          Thread.ofPlatform()
              .start(
                  () -> {
                    for (int i = 0; i < 50_000; i++) {
                      seen.add(codec.choose(load));
                    }
                  }));
    }
    for (Thread thread : threads) {
      thread.join();
    }
    assertTrue(EnumSet.of(Compression.LZ4, Compression.ZSTD).containsAll(seen));
    // whatever happened before, it still follows the queues
    steps(LINK_FULL, 100);
    assertEquals(Compression.ZSTD, codec.choose(LINK_FULL));
  }
}
