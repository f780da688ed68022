package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.lifeboat.files.FilesException;
import org.lifeboat.page.PageFormatException;
import org.lifeboat.serve.PageVerifier;
import org.lifeboat.serve.RestoreConfig;
import org.lifeboat.serve.RestoreObserver;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.Transfer;

/** Reads all of a snapshot as a restore would, and keeps nothing. */
public final class Verifier {

  private final ObjectStore store;

  public Verifier(ObjectStore store) {
    this.store = store;
  }

  /**
   * What is damaged or missing, a line each; empty when all is whole.
   *
   * @throws StoreException when the store cannot be read, which says nothing about the snapshot
   */
  public List<String> verify(DumpMetadata.Dump dump) throws IOException, InterruptedException {
    List<String> damage = new ArrayList<>();
    Path folder = Files.createTempDirectory("lifeboat-verify-");
    try {
      Manifest manifest;
      try {
        manifest = new Catalog(store).manifest(dump);
      } catch (SnapshotException e) {
        return List.of(e.getMessage());
      }
      for (Map.Entry<String, Manifest.Item> image : manifest.images().entrySet()) {
        check(
            damage,
            () ->
                fetch(
                    Layout.image(dump.id(), image.getKey()),
                    image.getValue(),
                    folder.resolve("image")));
      }
      for (Manifest.Pack pack : manifest.filePack().packs()) {
        check(damage, () -> new PackFetch(store).fetch(pack, null));
      }
      Path files = folder.resolve("files.manifest");
      check(
          damage,
          () -> {
            fetch(Layout.filesManifest(dump.id()), manifest.files(), files);
            org.lifeboat.files.Manifest.load(files);
          });
      Path index = folder.resolve("pages.index");
      check(
          damage,
          () -> {
            fetch(Layout.index(dump.id()), manifest.index(), index);
            new PageVerifier(store, RestoreConfig.defaults(), RestoreObserver.NONE).verify(index);
          });
      return damage;
    } finally {
      Folders.delete(folder);
    }
  }

  private void fetch(String key, Manifest.Item item, Path file) throws IOException {
    new Transfer(store, 4).get(key, file, item.sha256());
  }

  private static void check(List<String> damage, Check check)
      throws IOException, InterruptedException {
    try {
      check.run();
    } catch (StoreException e) {
      switch (e.kind()) {
        case NOT_FOUND, CORRUPT, INVALID -> damage.add(e.getMessage());
        default -> throw e;
      }
    } catch (SnapshotException | PageFormatException | FilesException e) {
      damage.add(e.getMessage());
    }
  }

  @FunctionalInterface
  private interface Check {
    void run() throws IOException, InterruptedException;
  }
}
