package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.FaultStore;
import org.lifeboat.store.FaultStore.Fault;
import org.lifeboat.store.FileStore;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.store.Transfer;

@Timeout(60)
class EarlyImagesTest {

  @TempDir Path directory;
  private Path images;
  private FileStore store;

  @BeforeEach
  void make() throws Exception {
    images = Files.createDirectory(directory.resolve("images"));
    for (String name : List.of("core-1.img", "pstree.img", "pages-1.img", "dump.log")) {
      Files.writeString(images.resolve(name), name);
    }
    Path root = Files.createDirectory(directory.resolve("store"));
    store = new FileStore(StoreUrl.parse("file://" + root));
  }

  @Test
  void sendsWhatSealingLists() throws Exception {
    try (EarlyImages early = EarlyImages.begin(new Transfer(store, 2), 3, images)) {
      assertEquals(SealedDump.images(images), early.items());
    }
    assertEquals(10, store.head(Layout.image(3, "core-1.img")).orElseThrow().size());
    assertTrue(store.head(Layout.image(3, "pages-1.img")).isEmpty());
  }

  @Test
  void anImageThatCannotBeSentIsAnError() throws Exception {
    FaultStore failing =
        new FaultStore(
            store,
            FaultStore.once(
                1,
                call -> call.operation() == Operation.PUT,
                new Fault.Before(StoreException.Kind.DENIED)));
    try (EarlyImages early = EarlyImages.begin(new Transfer(failing, 2), 3, images)) {
      assertThrows(StoreException.class, early::items);
    }
  }
}
