package org.lifeboat.snapshot;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.stream.Stream;
import org.lifeboat.receive.Spill;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.Transfer;

/**
 * A dump whose every byte is fixed: what is left is to bring it to the store and to commit it.
 *
 * <p>Sealing makes the manifest while the tree is still frozen, with the digest of each image, and
 * keeps it in the dump's folder on the cache disk. So a leave-running dump survives the engine: the
 * next one finds the folder, sends what the store does not have, and commits.
 *
 * <pre>
 *  dump-N/                 0700, on the cache disk
 *    images/               CRIU's images
 *    pages/  files/        parts of packs that may not be in the store yet; none for a final dump
 *    pages.index  files.manifest
 *    manifest.json         written last: the dump is sealed
 * </pre>
 */
final class SealedDump {

  private static final int PARALLEL_IMAGES = 32;
  private static final Set<PosixFilePermission> PRIVATE =
      PosixFilePermissions.fromString("rw-------");
  private static final String MANIFEST = "manifest.json";

  private final Context context;
  private final Path folder;
  private final Manifest manifest;

  private SealedDump(Context context, Path folder, Manifest manifest) {
    this.context = context;
    this.folder = folder;
    this.manifest = manifest;
  }

  /** Seals what stands in the folder. */
  static SealedDump seal(Context context, Path folder, Manifest manifest) throws IOException {
    Path draft = folder.resolve(MANIFEST + ".new");
    Files.deleteIfExists(draft);
    Files.createFile(draft, PosixFilePermissions.asFileAttribute(PRIVATE));
    Files.write(draft, SealedJson.write(manifest));
    Files.move(draft, folder.resolve(MANIFEST));
    return new SealedDump(context, folder, manifest);
  }

  /** A dump that an earlier engine sealed and did not commit. */
  static Optional<SealedDump> find(Context context, int id) throws IOException {
    Path folder = folder(context, id);
    Path file = folder.resolve(MANIFEST);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    Manifest manifest = Manifest.read(Files.readAllBytes(file), file.toString());
    return manifest.id() == id && manifest.epoch() == context.epoch()
        ? Optional.of(new SealedDump(context, folder, manifest))
        : Optional.empty();
  }

  static Path folder(Context context, int id) {
    return context.cache().resolve("dump-" + id);
  }

  Manifest manifest() {
    return manifest;
  }

  /** The images that the store keeps, each with its size and digest. */
  static Map<String, Manifest.Item> images(Path images) throws IOException {
    Map<String, Manifest.Item> items = new LinkedHashMap<>();
    for (Path file : imageFiles(images)) {
      items.put(file.getFileName().toString(), item(file));
    }
    return items;
  }

  /** The files of the images, each made private: CRIU makes them for all, whatever the umask. */
  static List<Path> imageFiles(Path images) throws IOException {
    List<Path> files;
    try (Stream<Path> list = Files.list(images)) {
      files =
          list.filter(Files::isRegularFile)
              .filter(file -> isImage(file.getFileName().toString()))
              .sorted()
              .toList();
    }
    for (Path file : files) {
      Files.setPosixFilePermissions(file, PRIVATE);
    }
    return files;
  }

  /** The pages and their maps are made anew from the index. */
  static boolean isImage(String name) {
    return !name.startsWith("pages-")
        && !name.startsWith("pagemap-")
        && !name.endsWith(".log")
        && !name.equals("stats-dump")
        && !name.equals("stats-restore");
  }

  static Manifest.Item item(Path file) throws IOException {
    MessageDigest digest = SealedJson.digest();
    byte[] buffer = new byte[1 << 16];
    long size = 0;
    try (InputStream in = Files.newInputStream(file)) {
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        digest.update(buffer, 0, n);
        size += n;
      }
    }
    return new Manifest.Item(size, HexFormat.of().formatHex(digest.digest()));
  }

  /** Finishes the uploads of packs that an earlier engine left on the disk. */
  void resumePacks(int uploads) throws IOException {
    for (String kind : List.of("pages", "files")) {
      Optional<Spill> spill = Spill.find(folder.resolve(kind));
      if (spill.isPresent()) {
        spill.get().upload(context.store(), uploads);
      }
    }
  }

  /**
   * Fails unless the store has every pack whole: a final dump sends its packs beside its other work
   * and leaves nothing of them on the disk.
   */
  void requirePacks() throws StoreException, SnapshotException {
    for (Map.Entry<String, Long> pack : manifest.packs().entrySet()) {
      if (context
          .store()
          .head(pack.getKey())
          .filter(object -> object.size() == pack.getValue())
          .isEmpty()) {
        throw new SnapshotException(
            SnapshotException.Kind.FAILED,
            context.store().url().of(pack.getKey()) + " had not been stored when the engine died",
            "",
            null);
      }
    }
  }

  /** Sends everything but the packs: images, index, file manifest, and the manifest last. */
  void upload(Transfer transfer) throws IOException, InterruptedException {
    upload(transfer, manifest.images());
  }

  /**
   * As above, for a dump whose other images are in the store.
   *
   * @param images that are not
   */
  void upload(Transfer transfer, Map<String, Manifest.Item> images)
      throws IOException, InterruptedException {
    List<Future<Void>> puts = new ArrayList<>();
    try (ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor()) {
      Semaphore places = new Semaphore(PARALLEL_IMAGES);
      for (Map.Entry<String, Manifest.Item> image : images.entrySet()) {
        puts.add(
            executor.submit(
                () -> {
                  places.acquire();
                  try {
                    put(
                        transfer,
                        Layout.image(manifest.id(), image.getKey()),
                        folder.resolve("images").resolve(image.getKey()),
                        image.getValue());
                  } finally {
                    places.release();
                  }
                  return null;
                }));
      }
      puts.add(
          executor.submit(
              () -> {
                put(
                    transfer,
                    Layout.filesManifest(manifest.id()),
                    folder.resolve("files.manifest"),
                    manifest.files());
                return null;
              }));
      try {
        put(transfer, Layout.index(manifest.id()), folder.resolve("pages.index"), manifest.index());
        for (Future<Void> put : puts) {
          put.get();
        }
      } catch (ExecutionException e) {
        executor.shutdownNow();
        if (e.getCause() instanceof IOException cause) {
          throw cause;
        }
        throw new IllegalStateException(e.getCause());
      } catch (IOException | InterruptedException e) {
        executor.shutdownNow();
        throw e;
      }
    }
    context.crashPoints().at(DumpPoint.DUMP_IMAGES_STORED);
    context
        .store()
        .put(
            Layout.manifest(manifest.id()),
            ByteBuffer.wrap(SealedJson.write(manifest)),
            Precondition.NONE);
  }

  private static void put(Transfer transfer, String key, Path file, Manifest.Item item)
      throws IOException {
    transfer.put(key, file, Precondition.NONE, item.sha256());
  }

  /**
   * The commit: one conditional write. When it returns the snapshot exists; when it throws it does
   * not, unless the patience ended before that was known.
   *
   * @param release whether the run ends with it, so that the next one need not wait
   * @return the dump as it is committed
   * @throws SnapshotException also when somebody has removed the dump meanwhile
   */
  DumpMetadata.Dump commit(boolean release, MetadataStore.Pause patience)
      throws StoreException, SnapshotException {
    byte[] bytes = SealedJson.write(manifest);
    String digest = SealedJson.sha256(bytes);
    long now = context.clock().millis();
    DumpMetadata document =
        context
            .metadata()
            .update(
                context.ownerId(),
                d -> {
                  if (d.dump(manifest.id()).filter(SealedDump::wanted).isEmpty()) {
                    return d;
                  }
                  DumpMetadata next =
                      d.changing(
                          manifest.id(),
                          dump -> dump.complete(now, manifest, bytes.length, digest));
                  return release ? next.released() : next;
                },
                patience);
    return document
        .dump(manifest.id())
        .filter(SealedDump::wanted)
        .orElseThrow(
            () ->
                new SnapshotException(
                    SnapshotException.Kind.FAILED,
                    "somebody removed dump " + manifest.id() + " while it was under way",
                    "",
                    null));
  }

  private static boolean wanted(DumpMetadata.Dump dump) {
    return dump.state() != DumpMetadata.DumpState.FAILED;
  }

  /** What a dump that is given up had on the local disk, and began in the store. */
  static void discard(Context context, Path folder) throws IOException {
    discardPacks(context, folder);
    Folders.delete(folder);
  }

  /** Of that, the packs that it had spilled: nothing else holds space in the store. */
  static void discardPacks(Context context, Path folder) throws IOException {
    for (String kind : List.of("pages", "files")) {
      Optional<Spill> spill = Spill.find(folder.resolve(kind));
      if (spill.isPresent()) {
        spill.get().discard(context.store());
      }
    }
  }
}
