package org.lifeboat.gcs;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreProvider;
import org.lifeboat.store.StoreUrl;

final class GcsStoreProviderTest {

  @Test
  void gs_urls_are_refused_in_one_clear_line() {
    StoreUrl url = StoreUrl.parse("gs://bucket/run/1");
    StoreException e =
        assertThrows(StoreException.class, () -> StoreProvider.openUrl(url, Map.of()));
    assertEquals(StoreException.Kind.INVALID, e.kind());
    assertEquals(
        "open gs://bucket/run/1: this version of Lifeboat cannot use gs:// URLs"
            + " (use s3://bucket/prefix, or file:///directory on a shared file system)",
        e.getMessage());
  }
}
