package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.snapshot.Collector.State;
import org.lifeboat.snapshot.DumpMetadata.DumpState;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;

final class CollectorTest {

  private static final Duration DAY = Duration.ofDays(1);

  @TempDir private Path folder;
  private ObjectStore store;
  private Clock clock = Clock.offset(Clock.systemUTC(), DAY.multipliedBy(2));
  private Runnable meanwhile = () -> {};
  private long slept;

  @BeforeEach
  void begin() {
    store = Documents.store(folder);
  }

  private Collector collector(boolean giveUp) {
    return new Collector(
        clock,
        millis -> {
          slept += millis;
          meanwhile.run();
        },
        DAY,
        giveUp);
  }

  private Collector.Task look(boolean giveUp) throws Exception {
    return collector(giveUp).look(List.of(store)).getFirst();
  }

  private void torn(int id) throws IOException {
    for (String name : List.of("core-1.img", "dump_" + id + ".log")) {
      store.put(Layout.dump(id) + name, ByteBuffer.allocate(7), Precondition.NONE);
    }
    store.upload(Layout.pages(id) + "1-a-0.pack").part(1, ByteBuffer.allocate(100));
  }

  /** A dead owner, a whole snapshot, and a torn dump. */
  private void dead() throws IOException {
    torn(2);
    Documents.put(
        store,
        Documents.document(
                Documents.owner("dead", 0, false),
                Documents.committed(store, 1),
                Documents.dump(2, DumpState.DUMPING, 1))
            .withNonce(Documents.nonce()));
    beat("dead 1");
  }

  private void beat(String text) {
    try {
      store.put(
          Layout.HEARTBEAT,
          ByteBuffer.wrap((text + "\n").getBytes(java.nio.charset.StandardCharsets.UTF_8)),
          Precondition.NONE);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  private List<String> keys() throws IOException {
    return store.list(Layout.ROOT, "").objects().stream().map(ObjectStore.ObjectInfo::key).toList();
  }

  private MetadataStore metadata() {
    return new MetadataStore(
        store,
        Documents::nonce,
        () ->
            last -> {
              throw last;
            });
  }

  private DumpMetadata document() throws IOException {
    return new Catalog(store).metadata().orElseThrow();
  }

  @Test
  void whatADeadRunLeftGoesAndItsSnapshotStays() throws Exception {
    dead();
    List<String> before = keys();
    Collector.Task task = look(false);
    assertEquals(State.WAITING, task.state());
    assertEquals(List.of(1), task.restorable());
    assertEquals(1, task.rubbish().size());
    assertEquals(7, task.rubbish().getFirst().bytes());
    assertEquals(100, Collector.uploadedBytes(task));
    assertTrue(task.idleMillis() > DAY.toMillis());
    assertEquals(before, keys(), "looking changes nothing");
    assertEquals(1, store.uploads("").size());
    assertTrue(collector(false).remove(task));
    assertFalse(keys().contains(Layout.dump(2) + "core-1.img"));
    assertTrue(keys().contains(Layout.dump(2) + "dump_2.log"));
    assertEquals(4, keys().stream().filter(key -> key.startsWith(Layout.dump(1))).count());
    assertEquals(List.of(), store.uploads(""));
    assertEquals(List.of(), look(false).rubbish());
    assertEquals(
        DumpState.FAILED,
        document().dump(2).orElseThrow().state(),
        "an owner who wakes up must not commit it");
  }

  @Test
  void anOwnerWhoWakesUpMeanwhileIsLeftAlone() throws Exception {
    dead();
    Collector.Task task = look(false);
    metadata().update("dead", d -> d.changing(2, dump -> Documents.dump(2, DumpState.COMPLETE, 1)));
    List<String> before = keys();
    assertFalse(collector(false).remove(task));
    assertEquals(before, keys());
    assertEquals(1, store.uploads("").size());
  }

  @Test
  void whatIsYoungIsLeftAlone() throws Exception {
    dead();
    clock = Clock.systemUTC();
    Collector.Task task = look(false);
    assertEquals(State.YOUNG, task.state());
    assertEquals(List.of(), task.rubbish());
  }

  /** Even where the clocks are so wrong that everything looks old. */
  @Test
  void aHeartbeatThatMovesIsARun() throws Exception {
    dead();
    meanwhile = () -> beat("dead 2");
    Collector.Task task = look(true);
    assertEquals(State.RUNNING, task.state());
    assertEquals(List.of(), task.rubbish());
    assertTrue(slept >= Ownership.PATIENCE);
  }

  @Test
  void snapshotsThatCanBeRestoredGoOnlyWhenGivenUp() throws Exception {
    dead();
    Collector.Task task = look(true);
    assertEquals(2, task.rubbish().size());
    assertTrue(collector(true).remove(task));
    assertEquals(List.of(), document().restorable());
    assertEquals(
        List.of(
            Layout.dump(1) + "dump_1.log",
            Layout.dump(2) + "dump_2.log",
            Layout.METADATA,
            Layout.HEARTBEAT),
        keys());
  }

  @Test
  void aTaskThatIsTakenUpMeanwhileIsNotGivenUp() throws Exception {
    dead();
    Collector.Task task = look(true);
    DumpMetadata.Dump third = Documents.committed(store, 3);
    metadata().update("dead", d -> d.adding(third)); // somebody runs it again
    List<String> before = keys();
    assertFalse(collector(true).remove(task));
    assertEquals(before, keys());
    assertEquals(List.of(3, 1), Documents.ids(document().restorable()));
  }

  @Test
  void anEndedTaskKeepsLogsAndMetadata() throws Exception {
    torn(1);
    Documents.put(
        store,
        Documents.document(
                Documents.owner("gone", 0, true), Documents.dump(1, DumpState.COMPLETE, 1))
            .withTask(new DumpMetadata.Task(DumpMetadata.TaskState.ENDED, 0, 5, 1)));
    Collector.Task task = look(false);
    assertEquals(State.ENDED, task.state());
    assertEquals(0, slept, "its owner said goodbye");
    collector(false).remove(task);
    assertEquals(List.of(Layout.dump(1) + "dump_1.log", Layout.METADATA), keys());
  }

  @Test
  void withoutADocumentAllButLogsGoesUnlessOneAppears() throws Exception {
    torn(4);
    Collector.Task task = look(false);
    assertEquals(State.ORPHANED, task.state());
    Documents.put(store, Documents.document(Documents.owner("new", 0, false)));
    assertFalse(collector(false).remove(task));
    assertEquals(3, keys().size());
    store.delete(Layout.METADATA);
    assertTrue(collector(false).remove(task));
    assertEquals(List.of(Layout.dump(4) + "dump_4.log"), keys());
  }

  @Test
  void whatCannotBeReadIsLeftAlone() throws Exception {
    dead();
    store.put(
        Layout.METADATA,
        ByteBuffer.wrap("{}".getBytes(java.nio.charset.StandardCharsets.UTF_8)),
        Precondition.NONE);
    Collector.Task task = look(true);
    assertEquals(State.UNREADABLE, task.state());
    assertEquals(List.of(), task.rubbish());
    assertFalse(task.error().isEmpty());
  }
}
