package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import tools.jackson.databind.node.ObjectNode;

/** What becomes of a store whose dump_metadata is damaged or gone. */
final class MetadataCopiesTest {

  private static final List<String> COMMAND = List.of("sh", "-c", "echo 'a b'");

  @TempDir private Path folder;
  private ObjectStore store;
  private final List<MetadataStore> opened = new ArrayList<>();
  private long beats;
  private Runnable meanwhile = () -> {};

  /** Ways to lose a document. */
  enum Loss {
    FLIPPED,
    TRUNCATED,
    EMPTY,
    MISSING,
    EDITED
  }

  @BeforeEach
  void begin() {
    store = Documents.store(folder);
  }

  private MetadataStore metadata() {
    MetadataStore metadata =
        new MetadataStore(
            store,
            Documents::nonce,
            () -> MetadataStore.Pause.upTo(Duration.ofSeconds(30)),
            Optional.of(new MetadataCopies(store)));
    opened.add(metadata);
    return metadata;
  }

  @AfterEach
  void end() throws InterruptedException {
    for (MetadataStore metadata : opened) {
      metadata.settle(Duration.ofSeconds(30));
    }
  }

  private Ownership ownership(MetadataStore metadata) {
    return new Ownership(store, metadata, Clock.systemUTC(), millis -> meanwhile.run());
  }

  /** A run of the owner "a" that has committed dump 1 and began dump 2. */
  private MetadataStore run() throws Exception {
    MetadataStore metadata = metadata();
    ownership(metadata).take(Documents.owner("a", 0, false), COMMAND, "/work", false, d -> d);
    DumpMetadata.Dump one = Documents.committed(store, 1);
    metadata.update("a", d -> d.adding(one));
    metadata.update("a", d -> d.adding(Documents.dump(2, DumpMetadata.DumpState.DUMPING, 1)));
    Documents.committed(store, 2); // its manifest is there, its commit is not
    metadata.settle(Duration.ofSeconds(30));
    return metadata;
  }

  private void lose(Loss loss) throws IOException {
    lose(loss, Layout.METADATA);
  }

  private void lose(Loss loss, String key) throws IOException {
    byte[] bytes = org.lifeboat.store.Blob.read(store, key, 1 << 20).orElseThrow().bytes();
    switch (loss) {
      case FLIPPED -> bytes[bytes.length / 2] ^= 1;
      case TRUNCATED -> bytes = Arrays.copyOf(bytes, bytes.length / 2);
      case EMPTY -> bytes = new byte[0];
      case MISSING -> {
        store.delete(key);
        return;
      }
      case EDITED -> {
        ObjectNode tree = (ObjectNode) SealedJson.mapper().readTree(bytes);
        ((ObjectNode) tree.path("task")).put("generation", -7);
        bytes = SealedJson.write(tree);
      }
    }
    store.put(key, ByteBuffer.wrap(bytes), Precondition.NONE);
  }

  private DumpMetadata sound() throws IOException {
    MetadataCopies.Sighting seen = MetadataCopies.look(store);
    assertTrue(seen.damage().isEmpty(), () -> seen.damage().toString());
    return seen.document().orElseThrow();
  }

  @ParameterizedTest
  @EnumSource
  void aNewcomerGoesOnFromTheCopyAndHealsIt(Loss loss) throws Exception {
    run();
    lose(loss);
    MetadataCopies.Sighting seen = MetadataCopies.look(store);
    assertEquals(SnapshotException.Kind.DAMAGED, seen.damage().orElseThrow().kind());
    assertTrue(seen.damage().get().getMessage().contains("dump_metadata: "), seen.toString());
    MetadataStore next = metadata();
    Ownership.Taken taken =
        ownership(next).take(Documents.owner("b", 0, false), COMMAND, "/work", false, d -> d);
    assertEquals(2, taken.now().epoch());
    assertEquals(List.of(1), Documents.ids(taken.now().restorable()), "2 was never committed");
    assertEquals(3, taken.now().nextId());
    assertEquals("b", sound().owner().id());
    next.settle(Duration.ofSeconds(30));
    lose(loss); // again
    assertEquals("b", MetadataCopies.look(store).document().orElseThrow().owner().id());
    assertTrue(store.head(Layout.copy(1)).isEmpty(), "the copy of an earlier owner stays");
  }

  @ParameterizedTest
  @EnumSource
  void theOwnerItselfHealsItAndLosesNothing(Loss loss) throws Exception {
    MetadataStore metadata = run();
    lose(loss);
    metadata.update("a", d -> d.changing(2, dump -> dump.failed("why", 9)));
    assertEquals("why", sound().dump(2).orElseThrow().error());
    assertEquals(List.of(1), Documents.ids(sound().restorable()));
  }

  /** The copy is behind by what was committed last: the owner knows better. */
  @Test
  void theOwnerKnowsMoreThanACopyThatIsBehind() throws Exception {
    MetadataStore metadata = run();
    byte[] old = org.lifeboat.store.Blob.read(store, Layout.copy(1), 1 << 20).orElseThrow().bytes();
    DumpMetadata.Dump three = Documents.committed(store, 3);
    metadata.update("a", d -> d.adding(three));
    metadata.settle(Duration.ofSeconds(30));
    store.put(Layout.copy(1), ByteBuffer.wrap(old), Precondition.NONE);
    lose(Loss.FLIPPED);
    metadata.update("a", d -> d.changing(2, dump -> dump.failed("why", 9)));
    assertEquals(List.of(3, 1), Documents.ids(sound().restorable()));
  }

  @Test
  void anOwnerThatWasTakenOverDoesNotHealItAway() throws Exception {
    MetadataStore first = run();
    MetadataStore second = metadata();
    ownership(second).take(Documents.owner("b", 0, false), COMMAND, "/work", false, d -> d);
    second.settle(Duration.ofSeconds(30));
    lose(Loss.FLIPPED);
    SnapshotException e =
        assertThrows(SnapshotException.class, () -> first.update("a", DumpMetadata::released));
    assertEquals(SnapshotException.Kind.OWNER_LOST, e.kind());
    assertEquals("b", MetadataCopies.look(store).document().orElseThrow().owner().id());
  }

  @Test
  void anOwnerThatLivesKeepsItHoweverOldTheCopyIs() throws Exception {
    run();
    lose(Loss.MISSING);
    meanwhile =
        () -> {
          try {
            ownership(metadata()).beat("somebody-of-whom-no-copy-tells", ++beats);
          } catch (StoreException e) {
            throw new IllegalStateException(e);
          }
        };
    SnapshotException e =
        assertThrows(
            SnapshotException.class,
            () ->
                ownership(metadata())
                    .take(Documents.owner("b", 0, false), COMMAND, "/work", false, d -> d));
    assertEquals(SnapshotException.Kind.OWNED, e.kind());
    ownership(metadata()).take(Documents.owner("b", 0, false), COMMAND, "/work", true, d -> d);
    assertEquals("b", sound().owner().id());
  }

  @ParameterizedTest
  @EnumSource
  void withoutACopyItIsAnErrorAndNotAStart(Loss loss) throws Exception {
    run();
    lose(loss);
    store.delete(Layout.copy(1));
    for (boolean takeover : new boolean[] {false, true}) {
      SnapshotException e =
          assertThrows(
              SnapshotException.class,
              () ->
                  ownership(metadata())
                      .take(Documents.owner("b", 0, false), COMMAND, "/work", takeover, d -> d));
      assertEquals(SnapshotException.Kind.DAMAGED, e.kind());
      assertTrue(e.getMessage().contains("which of the dumps [1, 2] were committed"), e.toString());
      assertTrue(e.getMessage().contains("--fresh"), e.toString());
    }
    assertThrows(SnapshotException.class, () -> new Catalog(store).metadata());
    List<String> damage = new Catalog(store).verifyMetadata();
    assertEquals(1, damage.size());
    assertTrue(store.head(Layout.manifest(1)).isPresent());
  }

  @ParameterizedTest
  @EnumSource
  void freshStartsAnewBesideWhatIsThere(Loss loss) throws Exception {
    run();
    lose(loss);
    store.delete(Layout.copy(1));
    Ownership.Taken taken =
        ownership(metadata())
            .take(Documents.owner("b", 0, false), COMMAND, "/work", false, true, d -> d);
    assertEquals(List.of(), taken.now().restorable());
    assertEquals(3, taken.now().nextId(), "no object of an old dump is overwritten");
    assertEquals("b", sound().owner().id());
    assertTrue(store.head(Layout.manifest(1)).isPresent());
  }

  @Test
  void anEmptyStoreAndOneThatOnlyBeatsAreNew() throws Exception {
    ownership(metadata()).beat("x", 1);
    store.put(Layout.dump(1) + "dump_1.log", ByteBuffer.wrap(new byte[9]), Precondition.NONE);
    assertTrue(metadata().read().isEmpty());
    assertFalse(
        ownership(metadata())
            .take(Documents.owner("b", 0, false), COMMAND, "/work", false, d -> d)
            .before()
            .isPresent());
  }

  @Test
  void aNewerFormatIsNoDamage() throws Exception {
    run();
    byte[] bytes =
        org.lifeboat.store.Blob.read(store, Layout.METADATA, 1 << 20).orElseThrow().bytes();
    ObjectNode tree = (ObjectNode) SealedJson.mapper().readTree(bytes);
    tree.put("format", 2);
    store.put(Layout.METADATA, ByteBuffer.wrap(SealedJson.write(tree)), Precondition.NONE);
    for (boolean fresh : new boolean[] {false, true}) {
      SnapshotException e =
          assertThrows(
              SnapshotException.class,
              () ->
                  ownership(metadata())
                      .take(Documents.owner("b", 0, false), COMMAND, "/work", true, fresh, d -> d));
      assertEquals(SnapshotException.Kind.NEWER_FORMAT, e.kind());
    }
  }

  @Test
  void aDamagedCopyIsPassedOverAndNamed() throws Exception {
    run();
    lose(Loss.FLIPPED, Layout.copy(1));
    assertTrue(new Catalog(store).verifyMetadata().getFirst().contains("copies/dump_metadata-1"));
    assertEquals(1, sound().restorable().size());
    byte[] other = SealedJson.write(sound());
    store.put(Layout.copy(7), ByteBuffer.wrap(other), Precondition.NONE); // of another epoch
    lose(Loss.MISSING);
    assertTrue(MetadataCopies.look(store).document().isEmpty());
    assertEquals(3, new Catalog(store).verifyMetadata().size());
  }

  @Test
  void regression_aHeartbeatThatIsNoneDoesNotStopANewcomer() throws Exception {
    run();
    store.put(Layout.HEARTBEAT, ByteBuffer.wrap(new byte[1 << 20]), Precondition.NONE);
    ownership(metadata()).take(Documents.owner("b", 0, false), COMMAND, "/work", false, d -> d);
    assertEquals("b", sound().owner().id());
  }
}
