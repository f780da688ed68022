package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.lifeboat.criu.CriuException;
import org.lifeboat.criu.CriuImages;
import org.lifeboat.files.FilesException;
import org.lifeboat.page.IndexReader;
import org.lifeboat.page.PackInfo;
import org.lifeboat.page.PageFormatException;
import org.lifeboat.serve.PageVerifier;
import org.lifeboat.serve.RestoreConfig;
import org.lifeboat.serve.RestoreObserver;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.Transfer;

/**
 * Reads all of a snapshot as a restore would, and keeps nothing. A restore ends at the first thing
 * that is wrong; this goes on and names each object.
 */
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
    Manifest manifest;
    try {
      manifest = new Catalog(store).manifest(dump);
    } catch (SnapshotException e) {
      return List.of(e.getMessage());
    }
    Set<String> damage = new LinkedHashSet<>();
    Path folder = Files.createTempDirectory("lifeboat-verify-");
    try {
      verifyImages(damage, manifest, folder);
      verifyPages(damage, manifest, folder.resolve("pages.index"));
      verifyFiles(damage, manifest, folder.resolve("files.manifest"));
      return List.copyOf(damage);
    } finally {
      Folders.delete(folder);
    }
  }

  private void verifyImages(Set<String> damage, Manifest manifest, Path folder)
      throws IOException, InterruptedException {
    boolean whole = true;
    for (Map.Entry<String, Manifest.Item> image : manifest.images().entrySet()) {
      Path file = folder.resolve(isRead(image.getKey()) ? image.getKey() : "image");
      whole &=
          check(
              damage,
              () -> fetch(Layout.image(manifest.id(), image.getKey()), image.getValue(), file));
    }
    if (whole && manifest.images().containsKey("pstree.img")) {
      check(
          damage,
          () -> {
            CriuImages.processes(folder);
            CriuImages.connectedAddresses(folder);
          });
    }
  }

  /** Whether Lifeboat itself reads this image. */
  private static boolean isRead(String image) {
    return image.equals("pstree.img") || image.equals("files.img");
  }

  private void verifyPages(Set<String> damage, Manifest manifest, Path index)
      throws IOException, InterruptedException {
    boolean there =
        check(damage, () -> fetch(Layout.index(manifest.id()), manifest.index(), index));
    if (!there) {
      return;
    }
    List<String> pages = new ArrayList<>();
    check(
        pages,
        () ->
            new PageVerifier(store, RestoreConfig.defaults(), RestoreObserver.NONE).verify(index));
    if (pages.isEmpty()) {
      return;
    }
    // it ends at the first part that is damaged: find the others, pack by pack
    boolean whole =
        check(
            damage,
            () -> {
              try (IndexReader reader = IndexReader.open(index)) {
                for (PackInfo pack : reader.packs()) {
                  check(
                      damage,
                      () ->
                          new PackFetch(store)
                              .fetch(
                                  new Manifest.Pack(
                                      pack.key(), pack.length(), pack.partLength(), pack.sha256()),
                                  null));
                }
              }
            });
    if (whole && damage.isEmpty()) {
      damage.addAll(pages); // the packs are as they were stored, and do not fit the index
    }
  }

  private void verifyFiles(Set<String> damage, Manifest manifest, Path files)
      throws IOException, InterruptedException {
    for (Manifest.Pack pack : manifest.filePack().packs()) {
      check(damage, () -> new PackFetch(store).fetch(pack, null));
    }
    check(
        damage,
        () -> {
          fetch(Layout.filesManifest(manifest.id()), manifest.files(), files);
          org.lifeboat.files.Manifest.load(files);
        });
  }

  private void fetch(String key, Manifest.Item item, Path file) throws IOException {
    try (Transfer transfer = new Transfer(store, 4)) {
      transfer.get(key, file, item.size(), item.sha256());
    }
  }

  /** Returns whether nothing was found. */
  private static boolean check(java.util.Collection<String> damage, Check check)
      throws IOException, InterruptedException {
    try {
      check.run();
      return true;
    } catch (StoreException e) {
      switch (e.kind()) {
        case NOT_FOUND, CORRUPT, INVALID -> damage.add(e.getMessage());
        default -> throw e;
      }
    } catch (SnapshotException | PageFormatException | FilesException | CriuException e) {
      damage.add(e.getMessage());
    }
    return false;
  }

  @FunctionalInterface
  private interface Check {
    void run() throws IOException, InterruptedException;
  }
}
