package org.lifeboat.task;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.receive.ReceivedPages;
import org.lifeboat.snapshot.SealedJson;
import org.lifeboat.store.DiscardStore;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObservedStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import tools.jackson.databind.JsonNode;

class RequestLogTest {

  private static final long NOW = 1_795_000_000_123_456L;

  @TempDir Path directory;
  private final Clock clock =
      Clock.fixed(Instant.ofEpochSecond(NOW / 1_000_000, NOW % 1_000_000 * 1000), ZoneOffset.UTC);

  private List<JsonNode> lines(Path file) throws Exception {
    return Files.readAllLines(file).stream().map(SealedJson.mapper()::readTree).toList();
  }

  @Test
  void aLineForEachRequestAndTurningPoint() throws Exception {
    Path file = directory.resolve("requests");
    RequestLog log = new RequestLog(file, clock);
    try (ObservedStore store = new ObservedStore(new DiscardStore(), log)) {
      MultipartUpload upload = store.upload("k");
      log.freezing(3);
      upload.part(7, ByteBuffer.allocate(1000));
      log.received(3, new ReceivedPages(1, 1, 1, 4096, 0.5));
      assertThrows(StoreException.class, () -> store.get("gone", 0, ByteBuffer.allocate(1)));
      store.put("m", ByteBuffer.allocate(10), Precondition.NONE);
      log.committed(3);
    }
    List<JsonNode> lines = lines(file);
    assertEquals(
        List.of("upload", "freezing", "part", "received", "get", "put", "committed"),
        lines.stream()
            .map(line -> line.has("event") ? line.get("event") : line.get("operation"))
            .map(JsonNode::asString)
            .toList());
    JsonNode part = lines.get(2);
    assertEquals("k", part.get("key").asString());
    assertEquals(7, part.get("part").asInt());
    assertEquals(1000, part.get("bytes").asLong());
    assertEquals("ok", part.get("outcome").asString());
    assertEquals(NOW, part.get("endMicros").asLong());
    assertTrue(part.get("startMicros").asLong() <= NOW);
    assertEquals("not_found", lines.get(4).get("outcome").asString());
    assertEquals(4096, lines.get(3).get("bytes").asLong());
    assertEquals(NOW, lines.get(6).get("atMicros").asLong());
  }

  @Test
  void goesOnWhenARequestIsInterrupted() throws Exception {
    Path file = directory.resolve("requests");
    RequestLog log = new RequestLog(file, clock);
    Thread interrupted =
        Thread.ofPlatform()
            .start(
                () -> {
                  Thread.currentThread().interrupt();
                  log.freezing(1);
                });
    interrupted.join();
    log.freezing(2);
    assertEquals(List.of(1, 2), lines(file).stream().map(l -> l.get("dump").asInt()).toList());
  }

  @Test
  void runsAppendToOneFileThatOnlyItsOwnerReads() throws Exception {
    Path file = directory.resolve("requests");
    new RequestLog(file, clock).freezing(1);
    new RequestLog(file, clock).freezing(2);
    assertEquals(List.of(1, 2), lines(file).stream().map(l -> l.get("dump").asInt()).toList());
    assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
  }

  @Test
  void noLogWithoutTheVariable() throws Exception {
    assertTrue(RequestLog.of(Map.of()).isEmpty());
    assertTrue(RequestLog.of(Map.of(RequestLog.VARIABLE, "")).isEmpty());
  }

  @Test
  void aFileThatCannotBeWrittenIsNamed() {
    String path = directory.resolve("no/such/folder").toString();
    StoreException e =
        assertThrows(StoreException.class, () -> RequestLog.of(Map.of(RequestLog.VARIABLE, path)));
    assertTrue(e.getMessage().contains(path), e.getMessage());
    assertTrue(e.getMessage().contains(RequestLog.VARIABLE), e.getMessage());
  }
}
