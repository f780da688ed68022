package org.lifeboat.receive;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(300)
class WarmUpTest {

  @TempDir Path folder;

  private List<Path> left() throws IOException {
    try (Stream<Path> list = Files.list(folder)) {
      return list.toList();
    }
  }

  @Test
  void comesToItsEndAndLeavesNothing() throws Exception {
    try (WarmUp warmUp = WarmUp.begin(folder, Duration.ZERO, Duration.ZERO)) {
      warmUp.await();
      assertTrue(warmUp.done());
    }
    assertEquals(List.of(), left());
  }

  @Test
  void canBeGivenUpBefore() throws Exception {
    WarmUp warmUp = WarmUp.begin(folder, Duration.ofDays(1), Duration.ZERO);
    warmUp.close();
    assertFalse(warmUp.done());
    assertEquals(List.of(), left());
  }

  @Test
  void canBeGivenUpInTheMiddle() throws Exception {
    WarmUp warmUp = WarmUp.begin(folder, Duration.ZERO, Duration.ofDays(1));
    Path index = folder.resolve("warm.index");
    while (!Files.exists(index)) {
      Thread.onSpinWait();
    }
    warmUp.close();
    assertFalse(warmUp.done());
    assertEquals(List.of(), left());
  }

  @Test
  void anUnusableFolderDisturbsNobody() throws Exception {
    WarmUp warmUp = WarmUp.begin(folder.resolve("missing"), Duration.ZERO, Duration.ZERO);
    warmUp.await();
    assertFalse(warmUp.done());
  }
}
