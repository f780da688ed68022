package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.snapshot.DumpMetadata.DumpState;
import org.lifeboat.store.FaultStore;
import org.lifeboat.store.FaultStore.Fault;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.Transfer;

/** What stands between a dump whose bytes are fixed and the snapshot in the store. */
final class SealedDumpTest {

  private static final MetadataStore.Pause NONE =
      last -> {
        throw last;
      };

  @TempDir private Path temp;
  private ObjectStore store;
  private Path folder;

  @BeforeEach
  void begin() throws IOException {
    store = Documents.store(temp.resolve("store"));
    folder = temp.resolve("cache/dump-4");
    Files.createDirectories(folder.resolve("images"));
    Files.writeString(folder.resolve("images/core-500.img"), "core");
    Files.writeString(folder.resolve("images/pagemap-500.img"), "made from the index");
    Files.writeString(folder.resolve("pages.index"), "index");
    Files.writeString(folder.resolve("files.manifest"), "files");
    metadata(Documents.dump(4, DumpState.DUMPING, 1));
  }

  private void metadata(DumpMetadata.Dump... dumps) throws IOException {
    Documents.put(store, Documents.document(Documents.owner("me", 0, false), dumps));
  }

  private Context context(ObjectStore through, long epoch) {
    return new Context(
        through,
        new MetadataStore(through, Documents::nonce, () -> NONE),
        null,
        null,
        null,
        null,
        null,
        "me",
        epoch,
        0,
        List.of("cmd"),
        Path.of("/work"),
        temp,
        temp.resolve("cache"),
        temp,
        1 << 20,
        1,
        2,
        "test",
        Clock.fixed(Instant.ofEpochMilli(9000), ZoneOffset.UTC),
        CrashPoints.NONE);
  }

  private SealedDump seal(ObjectStore through) throws IOException {
    return SealedDump.seal(
        context(through, 1),
        folder,
        new Manifest(
            Manifest.FORMAT,
            4,
            1,
            "test",
            List.of("cmd"),
            "/work",
            new Manifest.Host("h", "amd64", "6", "4.2", 4096, "", List.of(), ""),
            500,
            500,
            1,
            2,
            1,
            4096,
            10,
            0,
            3,
            SealedDump.images(folder.resolve("images")),
            SealedDump.item(folder.resolve("pages.index")),
            SealedDump.item(folder.resolve("files.manifest")),
            Map.of(".fusion/dump/4/pages/x.pack", 3L),
            new Manifest.FilePack(List.of())));
  }

  private DumpMetadata document() throws IOException {
    return new Catalog(store).metadata().orElseThrow();
  }

  @Test
  void onlyWhatCannotBeRebuiltIsAnImage() throws IOException {
    assertEquals(Set.of("core-500.img"), SealedDump.images(folder.resolve("images")).keySet());
    for (String name : List.of("pages-1.img", "pagemap-1.img", "dump.log", "stats-dump")) {
      assertFalse(SealedDump.isImage(name), name);
    }
    assertTrue(SealedDump.isImage("pstree.img"));
  }

  @Test
  void whatIsCommittedIsWhatIsThere() throws Exception {
    SealedDump sealed = seal(store);
    sealed.upload(new Transfer(store, 2));
    assertEquals(List.of(), document().restorable());
    DumpMetadata.Dump dump = sealed.commit(true, NONE);
    assertEquals(DumpState.COMPLETE, dump.state());
    assertEquals(9000, dump.endedAt());
    assertEquals(List.of(4), Documents.ids(document().restorable()));
    assertTrue(document().owner().released());
    Manifest manifest = new Catalog(store).manifest(dump);
    assertEquals(sealed.manifest(), manifest);
    new Transfer(store, 1)
        .get(
            Layout.image(4, "core-500.img"),
            temp.resolve("got"),
            manifest.images().get("core-500.img").sha256());
    assertEquals("core", Files.readString(temp.resolve("got")));
  }

  @Test
  void aLeaveRunningDumpReleasesNothing() throws Exception {
    SealedDump sealed = seal(store);
    sealed.upload(new Transfer(store, 2));
    sealed.commit(false, NONE);
    assertFalse(document().owner().released());
  }

  @Test
  void anImageThatChangedSinceTheSealIsNotStored() throws IOException {
    SealedDump sealed = seal(store);
    Files.writeString(folder.resolve("images/core-500.img"), "roce");
    assertThrows(IOException.class, () -> sealed.upload(new Transfer(store, 2)));
    assertTrue(store.head(Layout.manifest(4)).isEmpty());
  }

  /** Otherwise the task would be killed with nothing to go on from. */
  @Test
  void regression_aDumpThatWasRemovedIsNotCommitted() throws IOException {
    SealedDump sealed = seal(store);
    metadata();
    SnapshotException e = assertThrows(SnapshotException.class, () -> sealed.commit(true, NONE));
    assertEquals(SnapshotException.Kind.FAILED, e.kind());
    assertTrue(e.getMessage().contains("removed dump 4"), e::getMessage);
    assertFalse(document().owner().released());
    metadata(Documents.dump(4, DumpState.DUMPING, 1).failed("it was removed", 1));
    assertThrows(SnapshotException.class, () -> sealed.commit(true, NONE));
    assertFalse(document().owner().released());
  }

  /** The reply is lost, and before it is read back rm writes behind the commit. */
  @Test
  void regression_aCommitUnderAnotherWriteStaysOne() throws IOException {
    FaultStore lost =
        new FaultStore(
            store,
            FaultStore.once(1, call -> call.operation() == Operation.PUT, new Fault.ReplyLost()));
    boolean[] written = {false};
    FaultStore through =
        new FaultStore(
            lost,
            call -> {
              if (call.operation() == Operation.PUT) {
                written[0] = true;
              } else if (written[0] && call.operation() == Operation.GET) {
                written[0] = false;
                try {
                  Documents.put(store, document().withNonce("of rm"));
                } catch (IOException e) {
                  throw new IllegalStateException(e);
                }
              }
              return Fault.NONE;
            });
    SealedDump sealed = seal(through);
    assertEquals(DumpState.COMPLETE, sealed.commit(true, last -> {}).state());
    assertTrue(document().owner().released());
  }

  @Test
  void theNextEngineFindsItAndOnlyItsOwn() throws IOException {
    assertEquals(Optional.empty(), SealedDump.find(context(store, 1), 4));
    Manifest manifest = seal(store).manifest();
    assertEquals(manifest, SealedDump.find(context(store, 1), 4).orElseThrow().manifest());
    assertEquals(Optional.empty(), SealedDump.find(context(store, 2), 4));
    Path file = folder.resolve("manifest.json");
    Files.writeString(file, Files.readString(file).replace("amd64", "arm64"));
    assertThrows(SnapshotException.class, () -> SealedDump.find(context(store, 1), 4));
  }

  @Test
  void regression_noPackNoCommit() throws IOException {
    SealedDump sealed = seal(store);
    assertThrows(SnapshotException.class, sealed::requirePacks);
    String key = sealed.manifest().packs().keySet().iterator().next();
    store.put(key, ByteBuffer.wrap(new byte[2]), Precondition.NONE);
    assertThrows(SnapshotException.class, sealed::requirePacks);
    store.put(key, ByteBuffer.wrap(new byte[3]), Precondition.NONE);
    sealed.requirePacks();
  }

  @Test
  void aStoreThatIsFullIsToldAndNothingIsCommitted() throws IOException {
    FaultStore full =
        new FaultStore(
            store,
            call ->
                call.operation() == Operation.PUT
                    ? new Fault.Before(StoreException.Kind.NO_SPACE)
                    : Fault.NONE);
    SealedDump sealed = seal(full);
    assertThrows(IOException.class, () -> sealed.upload(new Transfer(full, 2)));
    assertThrows(IOException.class, () -> sealed.commit(true, NONE));
    assertEquals(DumpState.DUMPING, document().dump(4).orElseThrow().state());
  }
}
