package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.lifeboat.snapshot.DumpMetadata.DumpState;

final class DumpMetadataTest {

  private static final DumpMetadata.Owner OWNER = Documents.owner("me", 0, false);

  private static DumpMetadata of(DumpMetadata.Dump... dumps) {
    return Documents.document(OWNER, dumps);
  }

  @ParameterizedTest
  @EnumSource(DumpState.class)
  void onlyWhatWasCommittedIsRestorable(DumpState state) {
    boolean expected =
        state == DumpState.COMPLETE || state == DumpState.RESTORING || state == DumpState.RESTORED;
    DumpMetadata document = of(Documents.dump(1, state, 1));
    assertEquals(expected, document.dumps().getFirst().restorable());
    assertEquals(expected ? 1 : 0, document.restorable().size());
  }

  @Test
  void aStateWithoutAManifestIsNotRestorable() {
    assertFalse(Documents.dump(1, DumpState.DUMPING, 1).with(DumpState.COMPLETE).restorable());
  }

  @Test
  void aPreDumpIsNotRestorable() {
    DumpMetadata.Dump full = Documents.dump(1, DumpState.COMPLETE, 1);
    assertFalse(
        new DumpMetadata.Dump(
                1,
                DumpMetadata.DumpType.PRE,
                DumpState.COMPLETE,
                null,
                1,
                0,
                1,
                0,
                0,
                0,
                0,
                0,
                0,
                1,
                full.manifestSha256(),
                null)
            .restorable());
  }

  @Test
  void theNewestComesFirstAndOtherGenerationsNotAtAll() {
    DumpMetadata document =
        of(
            Documents.dump(1, DumpState.COMPLETE, 0),
            Documents.dump(2, DumpState.COMPLETE, 1),
            Documents.dump(3, DumpState.FAILED, 1),
            Documents.dump(4, DumpState.RESTORED, 1),
            Documents.dump(5, DumpState.DUMPING, 1));
    assertEquals(List.of(4, 2), Documents.ids(document.restorable()));
  }

  @Test
  void nothingIsRestorableOnceTheTaskHasEnded() {
    DumpMetadata document = of(Documents.dump(1, DumpState.COMPLETE, 1));
    DumpMetadata ended =
        document.withTask(new DumpMetadata.Task(DumpMetadata.TaskState.ENDED, 0, 9, 1));
    assertEquals(List.of(), ended.restorable());
    assertEquals(1, ended.dumps().size());
  }

  @Test
  void idsGoOnFromTheHighest() {
    assertEquals(1, of().nextId());
    assertEquals(
        8,
        of(Documents.dump(7, DumpState.FAILED, 1), Documents.dump(2, DumpState.FAILED, 1))
            .nextId());
  }

  @Test
  void anIdIsNeverGivenTwice() throws SnapshotException {
    DumpMetadata document = of(Documents.dump(7, DumpState.FAILED, 1)).without(7);
    assertEquals(8, document.nextId());
    assertEquals(8, document.released().withOwner(2, OWNER).nextId());
    assertEquals(8, DumpMetadata.read(SealedJson.write(document), "it").nextId());
  }

  /** As it was before ids were counted and packs had known names. */
  @Test
  void readsADocumentWithoutTheNewerFields() throws SnapshotException {
    String text =
        new String(
            SealedJson.write(of(Documents.dump(7, DumpState.COMPLETE, 1))),
            java.nio.charset.StandardCharsets.UTF_8);
    String old =
        text.substring(0, text.lastIndexOf("\"checksum\""))
            .replaceAll("\"lastId\" : 7,\\s*", "")
            .replaceAll(",\\s*\"packs\" : null", "");
    assertFalse(old.contains("packs") || old.contains("lastId"), old);
    String sealed =
        old
            + "\"checksum\" : \"sha256:"
            + SealedJson.sha256(old.getBytes(java.nio.charset.StandardCharsets.UTF_8))
            + "\"\n}\n";
    DumpMetadata read =
        DumpMetadata.read(sealed.getBytes(java.nio.charset.StandardCharsets.UTF_8), "it");
    assertEquals(8, read.nextId());
    assertNull(read.dumps().getFirst().packs());
  }

  @Test
  void keepsTheNewestSoundOnes() {
    DumpMetadata.Dump damaged = Documents.dump(4, DumpState.COMPLETE, 1).passedOver("torn pack");
    DumpMetadata document =
        of(
            Documents.dump(1, DumpState.RESTORED, 1),
            Documents.dump(2, DumpState.COMPLETE, 1),
            Documents.dump(3, DumpState.COMPLETE, 1),
            damaged,
            Documents.dump(5, DumpState.COMPLETE, 1));
    assertTrue(damaged.restorable());
    assertEquals(List.of(2, 1), Documents.ids(document.surplus(2)));
    assertEquals(List.of(1), Documents.ids(document.surplus(3)));
    assertEquals(List.of(4, 3, 2, 1), Documents.ids(document.surplus(1)));
    assertEquals(List.of(), document.surplus(4));
    assertEquals(
        List.of(3, 2, 1),
        Documents.ids(document.changing(4, DumpMetadata.Dump::restored).surplus(2)),
        "it could be restored after all");
  }

  @Test
  void forgetsOldFailures() {
    DumpMetadata document =
        of(Documents.dump(1, DumpState.COMPLETE, 1), Documents.dump(2, DumpState.FAILED, 1));
    assertEquals(document, document.forgetting());
    for (int id = 3; id <= 60; id++) {
      document = document.adding(Documents.dump(id, DumpState.FAILED, 1));
    }
    document = document.adding(Documents.dump(61, DumpState.DUMPING, 1));
    List<Integer> left = Documents.ids(document.forgetting().dumps());
    assertEquals(52, left.size());
    assertEquals(List.of(1, 11, 12), left.subList(0, 3));
    assertEquals(61, left.getLast());
  }

  @Test
  void changesTouchWhatTheyName() {
    DumpMetadata.Dump one = Documents.dump(1, DumpState.COMPLETE, 1);
    DumpMetadata.Dump two = Documents.dump(2, DumpState.DUMPING, 1);
    DumpMetadata document = of(one).adding(two);
    assertEquals(List.of(one, two), document.dumps());
    DumpMetadata failed = document.changing(2, dump -> dump.failed("why", 77));
    assertEquals(one, failed.dump(1).orElseThrow());
    assertEquals(DumpState.FAILED, failed.dump(2).orElseThrow().state());
    assertEquals("why", failed.dump(2).orElseThrow().error());
    assertEquals(77, failed.dump(2).orElseThrow().endedAt());
    assertEquals(List.of(2), Documents.ids(failed.without(1).dumps()));
    assertTrue(failed.dump(3).isEmpty());
    assertEquals(document, document.changing(3, dump -> dump.failed("x", 1)));
  }

  @Test
  void releasedAndTakenOver() {
    DumpMetadata document = of();
    assertTrue(document.released().owner().released());
    assertEquals(OWNER.id(), document.released().owner().id());
    assertEquals(document.epoch(), document.released().epoch());
    DumpMetadata taken = document.withOwner(2, Documents.owner("you", 1, false));
    assertEquals(2, taken.epoch());
    assertEquals("you", taken.owner().id());
  }

  @Test
  void underWayIsOnlyWhatTheOwnerItselfBegan() {
    DumpMetadata.Dump dumping = Documents.dump(1, DumpState.DUMPING, 1);
    DumpMetadata document = of(dumping, Documents.dump(2, DumpState.COMPLETE, 1));
    assertTrue(document.underWay(dumping));
    assertFalse(document.underWay(document.dump(2).orElseThrow()));
    assertFalse(document.released().underWay(dumping));
    assertFalse(document.withOwner(2, OWNER).underWay(dumping));
  }

  @Test
  void aNewStartNamesCommandAndFolder() {
    DumpMetadata.Task task = new DumpMetadata.Task(DumpMetadata.TaskState.ACTIVE, null, 5, 2);
    DumpMetadata next = of().withTask(task, List.of("new"), "/new");
    assertEquals(List.of("new"), next.command());
    assertEquals("/new", next.directory());
    assertEquals(2, next.task().generation());
    assertNull(next.task().exitCode());
    assertEquals(List.of("new"), next.withTask(task).command());
  }
}
