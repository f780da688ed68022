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
  private static final Load LINK_DRY = new Load(192, 192, 0, 8);
  private static final Load CALM = new Load(0, 192, 0, 8);
  private static final Load BETWEEN = new Load(192, 192, 4, 8);

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
  void aFullLinkWantsFewerBytes() {
    assertEquals(List.of(Compression.ZSTD_FAST, Compression.ZSTD), steps(LINK_FULL, 100));
  }

  @Test
  void aDryLinkWantsLessWork() {
    assertEquals(
        List.of(Compression.ZSTD_FAST, Compression.LZ4, Compression.NONE), steps(LINK_DRY, 100));
  }

  @Test
  void otherwiseNothingMoves() {
    assertEquals(List.of(Compression.ZSTD_FAST), steps(CALM, 100));
    assertEquals(List.of(Compression.ZSTD_FAST), steps(BETWEEN, 100));
  }

  @Test
  void oneStepAtATimeAndBackAgain() {
    steps(LINK_DRY, 100);
    assertEquals(List.of(Compression.LZ4), steps(LINK_FULL, AdaptiveCodec.BATCHES_PER_STEP));
    assertEquals(List.of(Compression.ZSTD_FAST), steps(LINK_FULL, AdaptiveCodec.BATCHES_PER_STEP));
  }

  @Test
  void manyThreadsNeverLeaveTheLadder() throws Exception {
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
    assertTrue(EnumSet.allOf(Compression.class).containsAll(seen) && seen.size() > 1);
    // whatever happened before, it still follows the queues
    steps(LINK_FULL, 100);
    assertEquals(Compression.ZSTD, codec.choose(LINK_FULL));
  }
}
