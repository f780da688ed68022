package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.criu.CriuImages;
import org.lifeboat.files.ContentRef;
import org.lifeboat.files.ContentSource;
import org.lifeboat.files.Entry;
import org.lifeboat.files.RollBack;
import org.lifeboat.serve.PageRestorer;
import org.lifeboat.serve.RestoreConfig;
import org.lifeboat.serve.RestoreObserver;
import org.lifeboat.store.FileStore;
import org.lifeboat.sys.BytePath;

/**
 * A snapshot of each version of the formats, as it was written then, is read for ever: `sh -c 'echo
 * "of version 1" >data; exec sleep 1000'`, saved by the Lifeboat of that version. A fixture is
 * never changed; a new version gets a further one.
 */
final class FormatVersionsTest {

  @TempDir private Path folder;

  private FileStore store(String version) throws IOException {
    Path from = Path.of("src/test/resources/org/lifeboat/snapshot", version);
    Path to = folder.resolve("store/.fusion/dump");
    try (Stream<Path> all = Files.walk(from)) {
      for (Path file : all.filter(Files::isRegularFile).toList()) {
        Path copy = to.resolve(from.relativize(file).toString());
        Files.createDirectories(copy.getParent());
        Files.copy(file, copy);
      }
    }
    return Documents.store(folder.resolve("store"));
  }

  private static String digest(Path directory, String pattern) throws Exception {
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    try (Stream<Path> all = Files.list(directory)) {
      for (Path file :
          all.filter(f -> f.getFileName().toString().matches(pattern)).sorted().toList()) {
        digest.update(Files.readAllBytes(file));
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  @Test
  void version1() throws Exception {
    FileStore store = store("version-1");
    assertEquals(List.of(), new Catalog(store).verifyMetadata());
    DumpMetadata document = new Catalog(store).metadata().orElseThrow();
    assertEquals(1, document.format());
    assertEquals(1, document.epoch());
    assertTrue(document.owner().released());
    DumpMetadata.Dump dump = document.restorable().getFirst();
    assertEquals(1, dump.id());
    assertEquals(List.of(), new Verifier(store).verify(dump));
    Manifest manifest = new Catalog(store).manifest(dump);
    assertEquals(1, manifest.processes());
    assertEquals("sh", manifest.command().getFirst());

    Path images = Files.createDirectory(folder.resolve("images"));
    Path index = folder.resolve("pages.index");
    Files.copy(folder.resolve("store").resolve(Layout.index(1)), index);
    assertEquals(
        manifest.rawBytes(),
        new PageRestorer(store, RestoreConfig.defaults(), RestoreObserver.NONE)
            .restore(index, images)
            .rawBytes());
    assertEquals(PAGES, digest(images, "pages-.*"));
    assertEquals(PAGEMAPS, digest(images, "pagemap-.*"));
    Files.copy(
        folder.resolve("store").resolve(Layout.image(1, "pstree.img")),
        images.resolve("pstree.img"));
    assertEquals(manifest.root(), CriuImages.processes(images).getFirst().pid());

    org.lifeboat.files.Manifest files =
        org.lifeboat.files.Manifest.load(folder.resolve("store").resolve(Layout.filesManifest(1)));
    Entry.RegularFile data =
        files.entries().stream()
            .filter(Entry.RegularFile.class::isInstance)
            .map(Entry.RegularFile.class::cast)
            .findFirst()
            .orElseThrow();
    assertEquals(BytePath.of(Path.of("/mnt/work/data")), data.path());
    assertEquals("of version 1\n".length(), data.size());
    Path pack = folder.resolve("store").resolve(manifest.filePack().packs().getFirst().key());
    try (FileChannel in = FileChannel.open(pack, StandardOpenOption.READ)) {
      ContentSource source =
          new ContentSource() {
            @Override
            public long length(int number) throws IOException {
              return in.size();
            }

            @Override
            public void read(ContentRef ref, ByteBuffer into) throws IOException {
              in.read(into, ref.offset());
            }
          };
      assertEquals(data.size(), RollBack.verify(files, source, 1).bytes());
    }
  }

  private static final String PAGES =
      "4b265953fcdcae64a04ef7aae28c4606847a88c11216c9c8802ffa666bebbed0";
  private static final String PAGEMAPS =
      "0d7a08c5c61e00c809f28ef6b29aeb7ea9ebf0c611936d24c48772cc7b7e4083";
}
