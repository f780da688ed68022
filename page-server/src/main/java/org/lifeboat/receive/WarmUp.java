package org.lifeboat.receive;

import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Random;
import org.lifeboat.page.Compression;
import org.lifeboat.page.ImageId;
import org.lifeboat.page.PackNames;
import org.lifeboat.page.PagemapFlags;
import org.lifeboat.protocol.PageMessage;
import org.lifeboat.protocol.PageMessage.Command;
import org.lifeboat.store.DiscardStore;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Receives made-up pages once, long before a dump, for a store that forgets them: so that the code
 * of the dump is compiled when the task is frozen.
 *
 * <p>A JVM compiles what it runs often, and runs it slowly until then. The first dump of an engine,
 * for most the only one, paid for that with the task frozen: 0.8 seconds of CPU, as much as it took
 * to receive 512 MiB. Here it is paid while the task runs, at a pace that leaves it the processors:
 * {@value #MIB} MiB, with a pause after each. Rejected: code compiled ahead of time, which this JVM
 * does not have; a lower nice value, which threads that outlive the warm-up would inherit.
 *
 * <p>It takes {@link ReceiverConfig#MIN_MEMORY} meanwhile, and gives up when there is a dump to
 * take.
 */
public final class WarmUp implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(WarmUp.class);

  private static final int MIB = 192;
  private static final int PAGE = 4096;
  private static final int ENTRY = 1 << 20;
  private static final long ADDRESS = 0x7f0000000000L;

  private final Path folder;
  private final Duration delay;
  private final Duration pause;
  private final Thread thread;
  private volatile boolean done;

  /**
   * Begins, on a thread of its own.
   *
   * @param folder for a socket and an index, which are gone afterwards
   * @param delay what is waited before; a task that is shorter pays nothing
   * @param pause after each MiB
   */
  public static WarmUp begin(Path folder, Duration delay, Duration pause) {
    WarmUp warmUp = new WarmUp(folder, delay, pause);
    warmUp.thread.start();
    return warmUp;
  }

  private WarmUp(Path folder, Duration delay, Duration pause) {
    this.folder = folder;
    this.delay = delay;
    this.pause = pause;
    this.thread = Thread.ofPlatform().daemon().name("lifeboat-warm").unstarted(this::run);
  }

  private void run() {
    try {
      Thread.sleep(delay);
      long start = System.nanoTime();
      receive();
      done = true;
      log.debug("warmed up in {} ms", (System.nanoTime() - start) / 1_000_000);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt(); // there is a dump to take
    } catch (IOException | RuntimeException e) {
      log.debug("the warm-up was given up: {}", e.toString());
    }
  }

  private void receive() throws IOException, InterruptedException {
    Path socket = folder.resolve("warm.sock");
    Path index = folder.resolve("warm.index");
    Files.deleteIfExists(socket);
    Files.deleteIfExists(index);
    ReceiverConfig usual = ReceiverConfig.defaults();
    ReceiverConfig least =
        new ReceiverConfig(
            ReceiverConfig.MIN_MEMORY, usual.compressors(), usual.uploads(), new AllCodecs(), PAGE);
    UploadSink sink =
        new UploadSink(new DiscardStore(), PackNames.unique("warm", 1, new Random(1)));
    try (PageReceiver receiver =
        PageReceiver.open(least, sink, socket, index, ReceiveObserver.NONE)) {
      receiver.start();
      send(socket);
      receiver.finish();
    } finally {
      Files.deleteIfExists(socket); // left behind when it could not even be opened
      Files.deleteIfExists(index);
    }
  }

  /** What CRIU does: a quarter of the pages zero, a quarter text, half noise. */
  private void send(Path socket) throws IOException, InterruptedException {
    ImageId image = new ImageId(ImageId.Kind.TASK, 1);
    ByteBuffer header = ByteBuffer.allocateDirect(PageMessage.HEADER_BYTES);
    ByteBuffer[] kinds = {pages(0), pages(1), pages(2), pages(2)};
    try (SocketChannel criu = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
      message(criu, header, PageMessage.of(Command.OPEN2, image, 0, 0, 0));
      criu.read(ByteBuffer.allocate(1));
      for (int entry = 0; entry < MIB; entry++) {
        long address = ADDRESS + (long) entry * ENTRY;
        message(
            criu,
            header,
            PageMessage.of(Command.ADD_F, image, PagemapFlags.PRESENT, ENTRY / PAGE, address));
        write(criu, kinds[entry % kinds.length].duplicate());
        Thread.sleep(pause);
      }
      message(criu, header, PageMessage.close());
      ByteBuffer status = ByteBuffer.allocate(Integer.BYTES);
      while (status.hasRemaining() && criu.read(status) >= 0) {
        // until it is there
      }
    }
  }

  private static ByteBuffer pages(int kind) {
    Random random = new Random(1);
    ByteBuffer pages = ByteBuffer.allocateDirect(ENTRY);
    for (int at = 0; at < ENTRY; at += Long.BYTES) {
      pages.putLong(
          at,
          switch (kind) {
            case 0 -> 0;
            case 1 -> random.nextInt(1 << 20) * 0x1_0001L;
            default -> random.nextLong();
          });
    }
    return pages;
  }

  private static void message(SocketChannel criu, ByteBuffer header, PageMessage message)
      throws IOException {
    message.encode(header.clear());
    write(criu, header.flip());
  }

  private static void write(SocketChannel criu, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      criu.write(bytes);
    }
  }

  /** Waits until it is over. */
  public void await() throws InterruptedException {
    thread.join();
  }

  /** Whether it came to its end. */
  boolean done() {
    return done;
  }

  /** Gives up what is left, and waits until nothing of it runs any more. */
  @Override
  public void close() {
    thread.interrupt();
    boolean interrupted = false;
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** Each in turn. */
  private static final class AllCodecs implements CodecPolicy {
    private int batches;

    @Override
    public synchronized Compression choose(Load load) {
      Compression[] all = Compression.values();
      return all[batches++ % all.length];
    }
  }
}
