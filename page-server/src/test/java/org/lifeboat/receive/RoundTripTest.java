package org.lifeboat.receive;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.lifeboat.page.Compression;
import org.lifeboat.page.IndexFile;
import org.lifeboat.page.MemoryStore;
import org.lifeboat.page.PackNames;
import org.lifeboat.serve.PageRestorer;
import org.lifeboat.serve.PageVerifier;
import org.lifeboat.serve.RestoreConfig;
import org.lifeboat.serve.RestoreObserver;
import org.lifeboat.serve.RestoredPages;

/** Made-up memory goes out over a real socket, into packs, and comes back byte for byte. */
class RoundTripTest {

  private static final Duration LIMIT = Duration.ofSeconds(60);

  @TempDir Path directory;
  private final MemoryStore store = new MemoryStore();

  private static ReceiverConfig config(CodecPolicy policy, int pageSize) {
    return new ReceiverConfig(ReceiverConfig.MIN_MEMORY, 2, 4, policy, pageSize);
  }

  private PageSet dump(MemoryImage image, ReceiverConfig config, Random random) throws Exception {
    Path socket = directory.resolve("page.sock");
    UploadSink sink = new UploadSink(store, PackNames.unique("pages", 7, random));
    PageReceiver receiver =
        PageReceiver.open(
            config, sink, socket, directory.resolve("pages.index"), ReceiveObserver.NONE);
    PageSet set;
    try (receiver) {
      assertEquals(
          "rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)));
      receiver.start();
      try (FakeCriu criu = new FakeCriu(socket, random)) {
        assertEquals(0, criu.dump(image));
      }
      ReceivedPages received = receiver.awaitReceived(LIMIT);
      assertEquals(image.pages(), received.pages());
      assertEquals(image.images().size(), received.images());
      set = receiver.finish();
      assertEquals(0, receiver.figures().segmentsUsed());
      assertEquals(0, receiver.figures().partsPending());
      assertEquals(image.zeroPages(), receiver.figures().zeroPages());
      assertEquals(image.zeroPages(), set.totals().zeroPages());
      assertEquals(0, store.pendingUploads());
    }
    assertEquals(0, receiver.figures().memoryBytes());
    return set;
  }

  private void check(MemoryImage image, PageSet set, int pageSize) throws IOException {
    IndexFile.upload(store, "pages.index", set.indexFile());
    Path fetched = directory.resolve("fetched.index");
    IndexFile.fetch(store, "pages.index", set.indexSize(), set.indexSha256(), fetched);
    Path images = Files.createDirectory(directory.resolve("images"));
    RestoreConfig config = new RestoreConfig(RestoreConfig.MIN_MEMORY * 2, 3);
    RestoredPages restored =
        new PageRestorer(store, config, RestoreObserver.NONE).restore(fetched, images);
    assertEquals(image.pages(), restored.pages());
    MemoryImage back =
        MemoryImage.read(
            images, pageSize, image.images().stream().map(MemoryImage.Image::id).toList());
    assertEquals("", image.difference(back));
    RestoredPages verified = new PageVerifier(store, config, RestoreObserver.NONE).verify(fetched);
    assertEquals(restored.fetchedBytes(), verified.fetchedBytes());
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
  void whatWentOutComesBack(long seed) throws Exception {
    Random random = new Random(seed);
    int pageSize = List.of(4096, 4096, 4096, 16384, 65536).get(random.nextInt(5));
    MemoryImage image = MemoryImage.random(random, pageSize, random.nextInt((64 << 20) / pageSize));
    PageSet set = dump(image, config(new AdaptiveCodec(), pageSize), random);
    check(image, set, pageSize);
  }

  @ParameterizedTest
  @EnumSource(Compression.class)
  void everyCodecComesBack(Compression compression) throws Exception {
    Random random = new Random(99);
    MemoryImage image = MemoryImage.random(random, 4096, 5000);
    PageSet set = dump(image, config(CodecPolicy.fixed(compression), 4096), random);
    check(image, set, 4096);
  }
}
