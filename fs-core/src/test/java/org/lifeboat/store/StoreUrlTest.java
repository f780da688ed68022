package org.lifeboat.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class StoreUrlTest {

  @ParameterizedTest
  @CsvSource({
    "file:///a/b, file, '', /a/b, file:///a/b",
    "file:/a, file, '', /a, file:///a",
    "file:///a//b/, file, '', /a/b, file:///a/b",
    "FILE:///a, file, '', /a, file:///a",
    "s3://bucket, s3, bucket, '', s3://bucket",
    "s3://bucket/, s3, bucket, '', s3://bucket",
    "s3://bucket/a/b/, s3, bucket, a/b, s3://bucket/a/b",
    "s3://my.bucket_1//a, s3, my.bucket_1, a, s3://my.bucket_1/a",
    "gs://bucket/x, gs, bucket, x, gs://bucket/x",
  })
  void parses(String text, String scheme, String bucket, String path, String shown) {
    StoreUrl url = StoreUrl.parse(text);
    assertEquals(new StoreUrl(scheme, bucket, path), url);
    assertEquals(shown, url.toString());
    assertEquals(url, StoreUrl.parse(url.toString()));
    assertEquals(shown + "/k/l", url.of("k/l"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "a",
        "/a/b",
        "a/b",
        "file:",
        "file://",
        "file:///",
        "file://host/a",
        "file:a",
        "file:///a/../b",
        "file:///a/./b",
        "s3:",
        "s3://",
        "s3:///a",
        "s3://user@bucket/a",
        "s3://bucket:80/a",
        "s3://bucket/a?b",
        "s3://bucket/a#b",
        "s3://bucket/../a",
        "http://host/a",
        "s3://bucket/a b",
        "s3://bu cket"
      })
  void refuses(String text) {
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> StoreUrl.parse(text));
    assertTrue(
        e.getMessage().startsWith("not a store URL: " + StoreUrl.withoutSecrets(text)),
        e.getMessage());
  }

  @Test
  void the_provider_is_found_by_the_scheme() throws Exception {
    try (ObjectStore store = StoreProvider.openUrl(StoreUrl.parse("file:///tmp/x"), Map.of())) {
      assertInstanceOf(FileStore.class, store);
    }
    StoreException e =
        assertThrows(
            StoreException.class,
            () -> StoreProvider.openUrl(StoreUrl.parse("s3://bucket/x"), Map.of()));
    assertEquals(StoreException.Kind.INVALID, e.kind());
    assertEquals(
        "open s3://bucket/x: no backend for s3://"
            + " (install the Lifeboat distribution that has it)",
        e.getMessage());
  }

  /** Where people put passwords and signatures: neither is ever printed. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "s3://key:hunter2@bucket/a",
        "s3://key:hun/ter2hunter2@bucket/a",
        "s3://hunter2@bucket",
        "s3://bucket/a?X-Amz-Signature=hunter2",
        "s3://bucket/a?x=1&y=2#hunter2",
        "s3://bucket/a#hunter2",
        "s3:key:hunter2@bucket",
        "s3://key:hunter2@bucket/a b",
        "http://key:hunter2@host/a?hunter2",
        "key:hunter2@host",
      })
  void regression_noSecretIsInTheMessage(String text) {
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> StoreUrl.parse(text));
    for (Throwable t = e; t != null; t = t.getCause()) {
      assertTrue(!String.valueOf(t.getMessage()).contains("hunter2"), t.getMessage());
    }
  }
}
