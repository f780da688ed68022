package org.lifeboat.receive;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.lifeboat.page.Compression;
import org.lifeboat.page.PackNames;
import org.lifeboat.page.PageFormatException;
import org.lifeboat.serve.PageRestorer;
import org.lifeboat.serve.PageVerifier;
import org.lifeboat.serve.RestoreConfig;
import org.lifeboat.serve.RestoreObserver;
import org.lifeboat.store.FaultStore;
import org.lifeboat.store.FaultStore.Fault;
import org.lifeboat.store.FileStore;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.RetryingStore;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreUrl;

/** The whole path over file://, with a store that fails now and then. */
@Timeout(120)
class StoreFaultTest {

  @TempDir Path directory;
  private FileStore files;

  @BeforeEach
  void open() throws IOException {
    Path root = Files.createDirectory(directory.resolve("store"));
    files = new FileStore(StoreUrl.parse("file://" + root));
  }

  private static ObjectStore retrying(ObjectStore store) {
    return new RetryingStore(
        store,
        new RetryingStore.Limits(Duration.ofMinutes(10), Duration.ZERO, Duration.ZERO),
        () -> 0,
        time -> {},
        new Random(1));
  }

  private PageSet dump(ObjectStore store, MemoryImage image, Random random) throws Exception {
    Path socket = directory.resolve("page.sock");
    try (PageReceiver receiver =
        PageReceiver.open(
            new ReceiverConfig(
                ReceiverConfig.MIN_MEMORY, 2, 4, CodecPolicy.fixed(Compression.LZ4), 4096),
            new UploadSink(store, PackNames.unique("pages", 1, random)),
            socket,
            directory.resolve("pages.index"),
            ReceiveObserver.NONE)) {
      receiver.start();
      try (FakeCriu criu = new FakeCriu(socket, random)) {
        assertEquals(0, criu.dump(image));
      }
      receiver.awaitReceived(Duration.ofSeconds(60));
      return receiver.finish();
    }
  }

  private static PageRestorer restorer(ObjectStore store) {
    return new PageRestorer(store, new RestoreConfig(64 << 20, 4), RestoreObserver.NONE);
  }

  @ParameterizedTest
  @ValueSource(longs = {21, 22, 23})
  void faultsThatPassAreNotNoticed(long seed) throws Exception {
    Random random = new Random(seed);
    MemoryImage image = MemoryImage.random(random, 4096, 12_000);
    List<Fault> faults =
        List.of(
            new Fault.Before(StoreException.Kind.UNREACHABLE),
            new Fault.Before(StoreException.Kind.THROTTLED),
            new Fault.Truncate(1000));
    FaultStore faulty = new FaultStore(files, FaultStore.random(new Random(seed), 0.4, faults));
    PageSet set = dump(retrying(faulty), image, random);
    Path images = Files.createDirectory(directory.resolve("images"));
    restorer(retrying(faulty)).restore(set.indexFile(), images);
    MemoryImage back =
        MemoryImage.read(images, 4096, image.images().stream().map(i -> i.id()).toList());
    assertEquals("", image.difference(back), "seed " + seed);
  }

  @Test
  void aLostReplyToTheCompletionOfAPackIsNoFailure() throws Exception {
    Random random = new Random(61);
    MemoryImage image = MemoryImage.random(random, 4096, 6_000);
    FaultStore faulty =
        new FaultStore(
            files,
            FaultStore.once(1, c -> c.operation() == Operation.COMPLETE, new Fault.ReplyLost()));
    PageSet set = dump(retrying(faulty), image, random);
    assertEquals(1, faulty.faults(Operation.COMPLETE));
    assertEquals(1, faulty.calls(Operation.COMPLETE));
    assertEquals(
        image.pages(),
        new PageVerifier(files, RestoreConfig.defaults(), RestoreObserver.NONE)
            .verify(set.indexFile())
            .pages());
  }

  @Test
  void aBitThatFlipsOnItsWayIsReadAgain() throws Exception {
    Random random = new Random(31);
    MemoryImage image = MemoryImage.random(random, 4096, 6_000);
    PageSet set = dump(files, image, random);
    FaultStore faulty =
        new FaultStore(
            files,
            FaultStore.once(1, c -> c.operation() == Operation.GET, new Fault.FlipBit(77_777)));
    Path images = Files.createDirectory(directory.resolve("images"));
    restorer(faulty).restore(set.indexFile(), images);
    assertEquals(1, faulty.faults(Operation.GET));
    MemoryImage back =
        MemoryImage.read(images, 4096, image.images().stream().map(i -> i.id()).toList());
    assertEquals("", image.difference(back));
  }

  @Test
  void anyFlippedByteOfAPackIsFoundAndNamed() throws Exception {
    Random random = new Random(41);
    MemoryImage image = MemoryImage.random(random, 4096, 8_000);
    PageSet set = dump(files, image, random);
    Path pack = directory.resolve("store").resolve(set.packs().getFirst().key());
    byte[] good = Files.readAllBytes(pack);
    PageVerifier verifier = new PageVerifier(files, RestoreConfig.defaults(), RestoreObserver.NONE);
    assertEquals(image.pages(), verifier.verify(set.indexFile()).pages());
    for (int i = 0; i < 30; i++) {
      byte[] bad = good.clone();
      bad[random.nextInt(bad.length)] ^= (byte) (1 << random.nextInt(8));
      Files.write(pack, bad);
      PageFormatException e =
          assertThrows(PageFormatException.class, () -> verifier.verify(set.indexFile()));
      assertEquals(set.packs().getFirst().key(), e.object());
      Path images = Files.createDirectory(directory.resolve("images" + i));
      assertThrows(
          PageFormatException.class, () -> restorer(files).restore(set.indexFile(), images));
    }
    Files.delete(pack);
    StoreException e = assertThrows(StoreException.class, () -> verifier.verify(set.indexFile()));
    assertTrue(e.getMessage().contains(set.packs().getFirst().key()), e.getMessage());
  }
}
