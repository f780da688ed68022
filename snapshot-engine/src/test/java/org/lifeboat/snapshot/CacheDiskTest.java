package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.receive.ReceiveException;
import org.lifeboat.store.StoreException;

/** What is said of a cache disk that is full. */
final class CacheDiskTest {

  @TempDir private Path cache;

  @Test
  void whatFitsIsNoError() throws IOException {
    CacheDisk.require(cache, "snapshot 3", 1);
  }

  @Test
  void whatDoesNotFitIsRefusedWithSizesAndRemedy() {
    SnapshotException e =
        assertThrows(
            SnapshotException.class, () -> CacheDisk.require(cache, "snapshot 3", 1L << 60));
    assertEquals(SnapshotException.Kind.ENVIRONMENT, e.kind());
    assertEquals(
        "snapshot 3 needs 1099511627776 MiB in "
            + cache
            + ", which has N MiB left (free some space there, or name a folder on another disk in"
            + " LIFEBOAT_CACHE_LOCATION)",
        e.getMessage().replaceFirst("has \\d+ MiB", "has N MiB"));
  }

  private void assertExplained(Exception failure) {
    Exception explained = CacheDisk.explained(cache, "dump 2", failure);
    assertEquals(
        "no space is left in "
            + cache
            + " for dump 2 (free some space there, or name a folder on another disk in"
            + " LIFEBOAT_CACHE_LOCATION)",
        explained.getMessage());
    assertSame(failure, explained.getCause());
  }

  @Test
  void aFullCacheIsNamed() {
    IOException full = new IOException("No space left on device");
    assertExplained(full);
    assertExplained(new FileSystemException("x", null, "Disk quota exceeded"));
    assertExplained(new ReceiveException("receiving pages failed: " + full.getMessage(), full));
  }

  @Test
  void whatSpeaksForItselfIsLeftAsItIs() {
    IOException full = new IOException("No space left on device");
    StoreException store =
        new StoreException(
            StoreException.Kind.NO_SPACE, "put", "s3://b/k", "No space left on device", "", full);
    for (Exception failure :
        new Exception[] {
          store,
          new ReceiveException("receiving pages failed: " + store.getMessage(), store),
          SnapshotException.damaged("x", "No space left on device"),
          new IOException("Connection reset"),
          new IllegalStateException("No space left on device")
        }) {
      assertSame(failure, CacheDisk.explained(cache, "dump 2", failure));
    }
  }
}
