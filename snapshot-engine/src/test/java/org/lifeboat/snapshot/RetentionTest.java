package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.snapshot.DumpMetadata.DumpState;
import org.lifeboat.store.AroundStore;
import org.lifeboat.store.FaultStore;
import org.lifeboat.store.FaultStore.Fault;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.ObjectStore.ObjectInfo;
import org.lifeboat.store.ObjectStore.PendingUpload;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreCall;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException;

/** What is removed, and what never is. */
final class RetentionTest {

  private static final DumpMetadata.Owner ME = Documents.owner("me", 0, false);

  @TempDir private Path folder;
  private ObjectStore store;

  @BeforeEach
  void begin() {
    store = Documents.store(folder);
  }

  private Retention retention(ObjectStore on, int keep) {
    return new Retention(on, metadata(on), "me", keep, CrashPoints.NONE);
  }

  private static MetadataStore metadata(ObjectStore on) {
    return new MetadataStore(
        on,
        Documents::nonce,
        () ->
            last -> {
              throw last;
            });
  }

  private DumpMetadata document() throws IOException {
    return new Catalog(store).metadata().orElseThrow();
  }

  private List<String> keys() throws IOException {
    return keys("");
  }

  private List<String> keys(String prefix) throws IOException {
    return store.list(prefix, "").objects().stream().map(ObjectInfo::key).toList();
  }

  private void object(String key) throws StoreException {
    store.put(key, ByteBuffer.wrap(new byte[5]), Precondition.NONE);
  }

  /** Objects of a dump that has no manifest. */
  private DumpMetadata.Dump torn(int id, DumpState state) throws StoreException {
    for (String name : List.of("core-1.img", "pages/1-ab-0.pack", "dump_" + id + ".log")) {
      object(Layout.dump(id) + name);
    }
    return Documents.dump(id, state, 1);
  }

  private MultipartUpload upload(String key) throws StoreException {
    MultipartUpload upload = store.upload(key);
    upload.part(1, ByteBuffer.wrap(new byte[100]));
    return upload;
  }

  private List<String> uploads() throws StoreException {
    return store.uploads("").stream().map(PendingUpload::key).toList();
  }

  /** A second dump of another epoch than the document's. */
  private static DumpMetadata later(DumpMetadata document) {
    return document.withOwner(document.epoch() + 1, ME);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 7})
  void keepsTheNewest(int keep) throws IOException {
    DumpMetadata.Dump[] dumps = new DumpMetadata.Dump[5];
    for (int id = 1; id <= 5; id++) {
      dumps[id - 1] = Documents.committed(store, id);
    }
    Documents.put(store, Documents.document(ME, dumps));
    retention(store, keep).tidy();
    int first = Math.max(1, 6 - keep);
    assertEquals(
        IntStream.rangeClosed(first, 5).boxed().toList(), Documents.ids(document().dumps()));
    for (int id = 1; id <= 5; id++) {
      List<String> keys = keys(Layout.dump(id));
      assertEquals(id < first ? 1 : 4, keys.size(), keys::toString);
      assertTrue(keys.contains(Layout.dump(id) + "dump_" + id + ".log"));
    }
    assertEquals(6, document().nextId());
  }

  @Test
  void aNumberOutOfRangeIsRefused() {
    for (int keep : new int[] {0, -1, Retention.MAX_KEEP + 1}) {
      assertThrows(IllegalArgumentException.class, () -> retention(store, keep));
    }
  }

  @Test
  void whatARestorePassedOverDoesNotCount() throws IOException {
    Documents.put(
        store,
        Documents.document(
            ME,
            Documents.committed(store, 1),
            Documents.committed(store, 2).with(DumpState.RESTORED),
            Documents.committed(store, 3).passedOver("its index is damaged"),
            Documents.committed(store, 4)));
    retention(store, 2).tidy();
    assertEquals(List.of(2, 3, 4), Documents.ids(document().dumps()));
    assertEquals(4, keys(Layout.dump(2)).size());
  }

  @Test
  void whatAnEarlierOwnerHadUnderWayGoesAndIsMarked() throws IOException {
    DumpMetadata.Dump whole = Documents.committed(store, 1);
    DumpMetadata.Dump torn = torn(2, DumpState.DUMPING);
    upload(Layout.pages(2) + "1-ab-1.pack");
    Documents.put(store, later(Documents.document(ME, whole, torn)));
    retention(store, 2).tidy();
    assertEquals(DumpState.FAILED, document().dump(2).orElseThrow().state());
    assertEquals(List.of(Layout.dump(2) + "dump_2.log"), keys(Layout.dump(2)));
    assertEquals(4, keys(Layout.dump(1)).size());
    assertEquals(List.of(), uploads());
  }

  @Test
  void whatIsUnderWayStays() throws IOException {
    DumpMetadata.Dump mine = torn(1, DumpState.DUMPING);
    upload(Layout.pages(1) + "1-ab-1.pack");
    Documents.put(store, Documents.document(ME, mine));
    retention(store, 1).tidy();
    assertEquals(3, keys(Layout.dump(1)).size());
    assertEquals(1, uploads().size());
    assertEquals(DumpState.DUMPING, document().dump(1).orElseThrow().state());
  }

  /** A dump that begins while a sweep looks is not in the document that the sweep has read. */
  @Test
  void whatIsNewerThanTheDocumentStays() throws IOException {
    torn(3, DumpState.DUMPING);
    upload(Layout.pages(3) + "1-ab-1.pack");
    Documents.put(store, Documents.document(ME, Documents.committed(store, 2)));
    retention(store, 1).tidy();
    assertEquals(3, keys(Layout.dump(3)).size());
    assertEquals(1, uploads().size());
  }

  @Test
  void whatIsNotListedAnyMoreGoes() throws IOException {
    torn(1, DumpState.DUMPING);
    Documents.put(
        store, Documents.document(ME, torn(7, DumpState.FAILED), Documents.committed(store, 9)));
    Documents.committed(store, 8);
    retention(store, 1).tidy();
    for (int id : new int[] {1, 7, 8}) {
      assertEquals(List.of(Layout.dump(id) + "dump_" + id + ".log"), keys(Layout.dump(id)));
    }
    assertEquals(4, keys(Layout.dump(9)).size());
  }

  @Test
  void nothingElseIsTouched() throws IOException {
    Documents.put(store, Documents.document(ME, Documents.committed(store, 1)));
    List<String> others =
        List.of(
            ".fusion/dump/heartbeat",
            ".fusion/dump/1x/core.img",
            ".fusion/dump/01/core.img",
            ".fusion/dump/notes/a.pack",
            ".fusion/dumps/1/a.pack",
            ".fusion/other",
            "data/.fusion/dump/1/a.pack",
            "result.bam");
    for (String key : others) {
      object(key);
    }
    upload("result.bam.2");
    upload("data/.fusion/dump/1/b.pack");
    upload(".fusion/dump/dump_metadata.2");
    retention(store, 1).end(document());
    assertTrue(keys().containsAll(others), () -> "left: " + others);
    assertEquals(3, uploads().size());
  }

  @Test
  void atTheEndLogsAndMetadataStay() throws IOException {
    DumpMetadata.Dump one = Documents.committed(store, 1);
    DumpMetadata.Dump two = torn(2, DumpState.DUMPING);
    upload(Layout.pages(2) + "1-ab-1.pack");
    upload(Layout.files(1) + "1-ab-0.pack");
    DumpMetadata ended =
        Documents.document(ME, one, two)
            .withTask(new DumpMetadata.Task(DumpMetadata.TaskState.ENDED, 0, 9, 1))
            .released();
    Documents.put(store, ended);
    retention(store, 2).end(ended);
    assertEquals(
        List.of(Layout.dump(1) + "dump_1.log", Layout.dump(2) + "dump_2.log", Layout.METADATA),
        keys());
    assertEquals(List.of(), uploads());
    assertEquals(2, document().dumps().size());
  }

  @Test
  void snapshotsOfAnEarlierStartGo() throws IOException {
    Documents.put(
        store,
        Documents.document(ME, Documents.committed(store, 1))
            .withTask(new DumpMetadata.Task(DumpMetadata.TaskState.ACTIVE, null, 9, 2)));
    retention(store, 2).tidy();
    assertEquals(1, keys(Layout.dump(1)).size());
  }

  /** A manifest that names packs, also one that stands below another dump. */
  private DumpMetadata.Dump naming(int id, int format, String... packs) throws StoreException {
    Map<String, Long> named = new java.util.TreeMap<>();
    for (String pack : packs) {
      named.put(pack, 5L);
    }
    Manifest manifest =
        new Manifest(
            format,
            id,
            1,
            "test",
            List.of("x"),
            "/work",
            new Manifest.Host("h", "amd64", "6.1", "4.2", 4096, "a cpu", List.of(), "an os"),
            500,
            510,
            1,
            2,
            3,
            4096,
            100,
            7,
            5,
            Map.of(),
            new Manifest.Item(1, "00".repeat(32)),
            new Manifest.Item(1, "00".repeat(32)),
            named,
            new Manifest.FilePack(List.of()));
    byte[] bytes = SealedJson.write(manifest);
    store.put(Layout.manifest(id), ByteBuffer.wrap(bytes), Precondition.NONE);
    return Documents.dump(id, DumpState.DUMPING, 1)
        .complete(2000, manifest, bytes.length, SealedJson.sha256(bytes));
  }

  @Test
  void packsThatNoManifestNamesGo() throws IOException {
    String own = Layout.pages(2) + "1-aa-0.pack";
    String others = Layout.pages(1) + "1-ab-0.pack"; // torn(1) has it
    String stray = Layout.pages(2) + "1-bb-0.pack";
    DumpMetadata.Dump failed = torn(1, DumpState.FAILED);
    DumpMetadata.Dump whole = naming(2, Manifest.FORMAT, own, others);
    object(own);
    object(stray);
    upload(Layout.pages(2) + "1-bb-1.pack");
    upload(Layout.dump(2) + "dump_2.log");
    Documents.put(store, Documents.document(ME, failed, whole));
    retention(store, 1).tidy();
    assertEquals(List.of(own), keys(Layout.pages(2)));
    assertEquals(List.of(Layout.dump(1) + "dump_1.log", others), keys(Layout.dump(1)));
    assertEquals(List.of(Layout.dump(2) + "dump_2.log"), uploads());
  }

  @Test
  void ofADamagedSnapshotNothingGoes() throws IOException {
    DumpMetadata.Dump damaged = naming(2, Manifest.FORMAT);
    object(Layout.manifest(2));
    object(Layout.pages(2) + "1-bb-0.pack");
    Documents.put(store, Documents.document(ME, torn(1, DumpState.FAILED), damaged));
    retention(store, 1).tidy();
    assertEquals(2, keys(Layout.dump(2)).size());
    assertEquals(1, keys(Layout.dump(1)).size());
  }

  @Test
  void whereANewerVersionHasWrittenNothingGoes() throws IOException {
    DumpMetadata.Dump newer = naming(2, Manifest.FORMAT + 1);
    Documents.put(store, Documents.document(ME, torn(1, DumpState.FAILED), newer));
    retention(store, 1).tidy();
    assertEquals(3, keys(Layout.dump(1)).size());
  }

  @Test
  void whoLostTheStoreRemovesNothing() throws IOException {
    Documents.put(
        store,
        Documents.document(
                Documents.owner("other", 0, false),
                Documents.committed(store, 1),
                Documents.committed(store, 2))
            .adding(torn(3, DumpState.FAILED)));
    List<String> before = keys();
    retention(store, 1).tidy();
    assertEquals(before, keys());
  }

  /** MinIO lists an upload by its exact key only. */
  @Test
  void uploadsAreFoundByName() throws IOException {
    ObjectStore exact =
        new AroundStore(store) {
          @Override
          @SuppressWarnings("unchecked")
          protected <T> T around(StoreCall call, Action<T> action) throws StoreException {
            T result = action.run();
            return call.operation() == Operation.UPLOADS
                ? (T)
                    ((List<PendingUpload>) result)
                        .stream().filter(upload -> upload.key().equals(call.key())).toList()
                : result;
          }
        };
    String stem = "1-0123456789abcdef";
    DumpMetadata.Dump plain = Documents.dump(1, DumpState.DUMPING, 1);
    DumpMetadata.Dump torn =
        new DumpMetadata.Dump(
            1,
            plain.type(),
            plain.state(),
            null,
            1,
            0,
            1,
            1000,
            0,
            0,
            0,
            0,
            0,
            0,
            null,
            null,
            stem);
    object(Layout.pages(1) + stem + "-0.pack");
    for (String key :
        List.of(
            Layout.pages(1) + stem + "-1.pack",
            Layout.pages(1) + stem + "-2.pack",
            Layout.files(1) + stem + "-0.pack",
            Layout.index(1))) {
      upload(key);
    }
    Documents.put(store, later(Documents.document(ME, torn)));
    retention(exact, 2).tidy();
    assertEquals(List.of(), uploads());
  }

  @Test
  void aStoreThatDoesNotListUploadsIsSweptAllTheSame() throws IOException {
    FaultStore secretive =
        new FaultStore(
            store,
            call ->
                call.operation() == Operation.UPLOADS
                    ? new Fault.Before(StoreException.Kind.DENIED)
                    : Fault.NONE);
    Documents.put(store, Documents.document(ME, torn(1, DumpState.FAILED)));
    retention(secretive, 1).tidy();
    assertEquals(1, keys(Layout.dump(1)).size());
  }

  /**
   * Whatever call is the last one: no snapshot is there by half, and the next run's sweep leaves
   * what one that was not killed leaves.
   */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void killedBetweenAnyTwoSteps(boolean atTheEnd) throws IOException {
    List<String> finished = List.of();
    List<String> seen = new ArrayList<>();
    boolean killed = true;
    for (int n = 0; killed; n++) {
      store = Documents.store(folder.resolve("n" + n));
      populate();
      DumpMetadata start = document();
      int left = n;
      int[] changes = {0};
      FaultStore dying =
          new FaultStore(
              store,
              call ->
                  switch (call.operation()) {
                    case PUT, DELETE, ABORT ->
                        ++changes[0] > left
                            ? new Fault.Before(StoreException.Kind.DENIED)
                            : Fault.NONE;
                    default -> Fault.NONE;
                  });
      if (atTheEnd) {
        DumpMetadata ended =
            start.withTask(new DumpMetadata.Task(DumpMetadata.TaskState.ENDED, 0, 9, 1)).released();
        Documents.put(store, ended);
        retention(dying, 2).end(ended);
      } else {
        retention(dying, 2).tidy();
      }
      killed = changes[0] > left;
      for (DumpMetadata.Dump dump : document().restorable()) {
        assertEquals(4, keys(Layout.dump(dump.id())).size(), "after " + n + " changes");
        new Catalog(store).manifest(dump);
      }
      seen.add(document().restorable().size() + " of " + keys().size());
      if (atTheEnd) { // the next run starts the command anew
        Documents.put(
            store,
            document()
                .withOwner(document().epoch() + 1, ME)
                .withTask(new DumpMetadata.Task(DumpMetadata.TaskState.ACTIVE, null, 9, 2)));
      }
      retention(store, 2).tidy();
      List<String> end = new ArrayList<>(keys());
      end.addAll(uploads());
      end.add(Documents.ids(document().restorable()).toString());
      if (n > 0) {
        assertEquals(finished, end, "after " + n + " changes");
      }
      finished = end;
    }
    assertTrue(new TreeSet<>(seen).size() > 5, seen::toString);
    assertFalse(finished.stream().anyMatch(key -> key.startsWith(Layout.dump(4) + "core")));
  }

  private void populate() throws IOException {
    List<DumpMetadata.Dump> dumps = new ArrayList<>();
    for (int id = 1; id <= 4; id++) {
      dumps.add(id == 4 ? torn(4, DumpState.DUMPING) : Documents.committed(store, id));
    }
    upload(Layout.pages(4) + "1-ab-1.pack");
    upload(Layout.files(4) + "1-ab-0.pack");
    Documents.put(store, later(Documents.document(ME, dumps.toArray(DumpMetadata.Dump[]::new))));
  }
}
