package org.lifeboat.deploy;

import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.List;
import java.util.Random;
import org.lifeboat.files.Baseline;
import org.lifeboat.files.Capture;
import org.lifeboat.files.ContentRef;
import org.lifeboat.files.Scope;
import org.lifeboat.page.FrameRef;
import org.lifeboat.page.ImageId;
import org.lifeboat.page.PackNames;
import org.lifeboat.page.PackWriter;
import org.lifeboat.page.PagemapFlags;
import org.lifeboat.protocol.PageMessage;
import org.lifeboat.protocol.PageMessage.Command;
import org.lifeboat.receive.PageReceiver;
import org.lifeboat.receive.PageSet;
import org.lifeboat.receive.ReceiveObserver;
import org.lifeboat.receive.ReceiverConfig;
import org.lifeboat.receive.UploadSink;
import org.lifeboat.serve.PageRestorer;
import org.lifeboat.serve.RestoreConfig;
import org.lifeboat.serve.RestoreObserver;
import org.lifeboat.snapshot.Catalog;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.HostFacts;
import org.lifeboat.snapshot.MetadataStore;
import org.lifeboat.snapshot.Ownership;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.Transfer;
import org.lifeboat.sys.BytePath;

/**
 * A dump and a restore of made-up pages and files with a store: every part of the engine that works
 * while a task is frozen, but CRIU. The task waits for what the JVM does for the first time there,
 * so it is done once here.
 */
final class Rehearsal {

  private static final int PAGE = 4096;
  private static final int ENTRY_PAGES = 256;
  private static final int ENTRIES = 96; // MiB
  private static final long ADDRESS = 0x7f0000000000L;

  private final Path folder;
  private final ObjectStore store;

  /**
   * @param folder empty
   */
  Rehearsal(Path folder, ObjectStore store) {
    this.folder = folder;
    this.store = store;
  }

  void run() throws IOException, InterruptedException {
    own();
    PageSet pages = dump();
    Path index = folder.resolve("index.again");
    try (Transfer transfer = new Transfer(store, 4)) {
      transfer.put("rehearsal/index", pages.indexFile(), Precondition.NONE);
      transfer.get("rehearsal/index", index);
    }
    Path images = Files.createDirectory(folder.resolve("images"));
    new PageRestorer(store, RestoreConfig.defaults(), RestoreObserver.NONE).restore(index, images);
    new Catalog(store).metadata();
    store.list("rehearsal/", "");
  }

  private void own() throws IOException, InterruptedException {
    MetadataStore metadata =
        new MetadataStore(store, () -> "nonce", () -> MetadataStore.Pause.FOR_EVER);
    Clock clock = Clock.systemUTC();
    DumpMetadata.Owner me =
        new DumpMetadata.Owner("rehearsal", HostFacts.name(), 1, 0, clock.millis(), false);
    new Ownership(store, metadata, clock, millis -> {})
        .take(me, List.of("true"), "/", false, d -> d);
    metadata.update("rehearsal", DumpMetadata::released);
  }

  private PageSet dump() throws IOException, InterruptedException {
    Path work = Files.createDirectory(folder.resolve("work"));
    Path socket = folder.resolve("page.sock");
    Scope scope = Scope.of(BytePath.of(work), List.of(), List.of(), List.of());
    Baseline.scan(scope, folder.resolve("baseline"), Clock.systemUTC());
    Files.write(work.resolve("file"), new byte[1 << 20]);
    try (PageReceiver receiver =
        PageReceiver.open(
            ReceiverConfig.defaults(),
            sink("pages"),
            socket,
            folder.resolve("index"),
            ReceiveObserver.NONE)) {
      receiver.start();
      send(socket);
      capture(scope);
      return receiver.finish();
    }
  }

  private UploadSink sink(String kind) {
    return new UploadSink(store, PackNames.unique("rehearsal/" + kind, 1, new Random(1)));
  }

  private void capture(Scope scope) throws IOException {
    try (PackWriter packs =
        new PackWriter(sink("files"), 16 << 20, 2, (key, number, bytes) -> {})) {
      new Capture(
              scope,
              Baseline.load(folder.resolve("baseline")),
              frame -> {
                FrameRef ref = packs.append(frame);
                frame.position(frame.limit());
                return new ContentRef(ref.pack(), ref.offset(), ref.length());
              },
              Clock.systemUTC(),
              1)
          .run(List.of(), folder.resolve("files.manifest"));
      packs.finish();
    }
  }

  /** What CRIU does: a third of the pages zero, a third text, a third noise. */
  private static void send(Path socket) throws IOException {
    ImageId image = new ImageId(ImageId.Kind.TASK, 1);
    Random random = new Random(1);
    ByteBuffer header = ByteBuffer.allocateDirect(PageMessage.HEADER_BYTES);
    ByteBuffer pages = ByteBuffer.allocateDirect(ENTRY_PAGES * PAGE);
    try (SocketChannel criu = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
      message(criu, header, PageMessage.of(Command.OPEN2, image, 0, 0, 0));
      criu.read(ByteBuffer.allocate(1));
      for (int entry = 0; entry < ENTRIES; entry++) {
        long address = ADDRESS + (long) entry * ENTRY_PAGES * PAGE;
        message(
            criu,
            header,
            PageMessage.of(Command.ADD_F, image, PagemapFlags.PRESENT, ENTRY_PAGES, address));
        for (int at = 0; at < pages.capacity(); at += Long.BYTES) {
          pages.putLong(
              at,
              switch (entry % 3) {
                case 0 -> 0;
                case 1 -> at / 64 * 0x2020_6574_6967_6966L;
                default -> random.nextLong();
              });
        }
        for (ByteBuffer body = pages.duplicate(); body.hasRemaining(); ) {
          criu.write(body);
        }
      }
      message(criu, header, PageMessage.close());
      ByteBuffer status = ByteBuffer.allocate(Integer.BYTES);
      while (status.hasRemaining() && criu.read(status) >= 0) {
        // until it is there
      }
    }
  }

  private static void message(SocketChannel criu, ByteBuffer header, PageMessage message)
      throws IOException {
    message.encode(header.clear());
    for (header.flip(); header.hasRemaining(); ) {
      criu.write(header);
    }
  }
}
