package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.FaultStore;
import org.lifeboat.store.FaultStore.Fault;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException;

final class CatalogTest {

  @TempDir private Path folder;
  private ObjectStore store;
  private Catalog catalog;

  @BeforeEach
  void begin() throws IOException {
    store = Documents.store(folder);
    catalog = new Catalog(store);
    DumpMetadata.Dump one = Documents.committed(store, 1);
    DumpMetadata.Dump two = Documents.committed(store, 2);
    Documents.put(store, Documents.document(Documents.owner("me", 0, false), one, two));
  }

  private DumpMetadata document() throws IOException {
    return catalog.metadata().orElseThrow();
  }

  private List<String> keys(int id) throws IOException {
    return catalog.objects(id).stream().map(ObjectStore.ObjectInfo::key).toList();
  }

  @Test
  void anEmptyStoreHasNothing() throws IOException {
    assertTrue(new Catalog(Documents.store(folder.resolve("x"))).metadata().isEmpty());
  }

  @Test
  void theManifestIsTheOneThatWasCommitted() throws IOException {
    DumpMetadata.Dump dump = document().dump(1).orElseThrow();
    assertEquals(1, catalog.manifest(dump).id());
    assertEquals(List.of("fpu"), catalog.manifest(dump).host().cpuFlags());
    store.copy(Layout.manifest(2), Layout.manifest(1));
    SnapshotException e = assertThrows(SnapshotException.class, () -> catalog.manifest(dump));
    assertEquals(SnapshotException.Kind.DAMAGED, e.kind());
    store.delete(Layout.manifest(1));
    assertTrue(
        assertThrows(SnapshotException.class, () -> catalog.manifest(dump))
            .getMessage()
            .contains("missing"));
  }

  @Test
  void removesAllButTheLogs() throws IOException {
    long freed = catalog.remove(1);
    assertTrue(freed >= 6, freed + " bytes");
    assertEquals(List.of(Layout.dump(1) + "dump_1.log"), keys(1));
    assertEquals(4, keys(2).size());
    assertEquals(List.of(2), Documents.ids(document().dumps()));
    assertEquals(0, catalog.remove(1));
  }

  @Test
  void removesMoreThanAPageOfObjects() throws IOException {
    for (int i = 0; i < 1100; i++) {
      Path pack = folder.resolve(Layout.pages(1) + i + ".pack");
      Files.createDirectories(pack.getParent());
      Files.write(pack, new byte[1]); // as the store would have, but for its fsync
    }
    catalog.removeObjects(1);
    assertEquals(List.of(Layout.dump(1) + "dump_1.log"), keys(1));
  }

  /** While its objects go, a dump is not restorable any more and its number is not free yet. */
  @Test
  void regression_theNumberStaysTakenWhileObjectsGo() throws IOException {
    List<String> seen = new ArrayList<>();
    FaultStore watched =
        new FaultStore(
            store,
            call -> {
              if (call.operation() == Operation.DELETE) {
                try {
                  DumpMetadata now = new Catalog(store).metadata().orElseThrow();
                  seen.add(now.nextId() + " " + Documents.ids(now.restorable()));
                } catch (IOException e) {
                  throw new IllegalStateException(e);
                }
              }
              return Fault.NONE;
            });
    new Catalog(watched).remove(2);
    assertFalse(seen.isEmpty());
    seen.forEach(now -> assertEquals("3 [1]", now));
    assertEquals(3, document().nextId(), "an id is never given twice");
  }

  @Test
  void theManifestGoesFirst() throws IOException {
    FaultStore broken =
        new FaultStore(
            store,
            FaultStore.once(
                2,
                call -> call.operation() == Operation.DELETE,
                new Fault.Before(StoreException.Kind.UNREACHABLE)));
    assertThrows(StoreException.class, () -> new Catalog(broken).removeObjects(1));
    assertTrue(store.head(Layout.manifest(1)).isEmpty());
    assertEquals(3, keys(1).size());
  }

  @Test
  void aChangeByTheOwnerMeanwhileIsKept() throws IOException {
    FaultStore racing =
        new FaultStore(
            store,
            FaultStore.once(1, call -> call.operation() == Operation.PUT, new Fault.ReplyLost()));
    boolean[] raced = {false};
    FaultStore outer =
        new FaultStore(
            racing,
            call -> {
              if (call.operation() == Operation.PUT && !raced[0]) {
                raced[0] = true;
                try {
                  Documents.put(
                      store,
                      new Catalog(store)
                          .metadata()
                          .orElseThrow()
                          .adding(Documents.dump(3, DumpMetadata.DumpState.DUMPING, 1)));
                } catch (IOException e) {
                  throw new IllegalStateException(e);
                }
              }
              return Fault.NONE;
            });
    new Catalog(outer).remove(1);
    assertEquals(List.of(2, 3), Documents.ids(document().dumps()));
  }
}
