package org.lifeboat.receive;

import static java.util.Objects.requireNonNull;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.nio.file.attribute.UserPrincipal;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;
import jdk.net.ExtendedSocketOptions;
import jdk.net.UnixDomainPrincipal;
import org.lifeboat.page.FrameRef;
import org.lifeboat.page.IndexWriter;
import org.lifeboat.page.PackInfo;
import org.lifeboat.page.PackWriter;
import org.lifeboat.page.PartSink;

/**
 * Receives the pages of one dump from CRIU and keeps them.
 *
 * <p>While CRIU sends, the tasks are frozen. So the path is a line of stages with queues between
 * them, and the first stage does nothing but read:
 *
 * <pre>
 *   CRIU ==socket==&gt; receiver --batches--&gt; compressors (n) --in order--&gt; packer --parts--&gt; sink
 *                    1 thread              zero test, codec,            1 thread,         virtual
 *                    into segments         CRC32C, in place             8 MiB parts,      threads
 *                        ^                                              index             |
 *                        +------- segments, part buffers come back when empty ------------+
 * </pre>
 *
 * All memory outside the heap is announced: three quarters segments of 1 MiB, a quarter parts of 8
 * MiB. When the link is slow, parts fill up, then segments, then the receiver waits, and CRIU with
 * it: a longer freeze, never an OutOfMemoryError. Whoever does not want the freeze to depend on the
 * link gives a {@link SpillSink}.
 *
 * <p>The receiver is a platform thread on a blocking socket: measured 0.05 to 0.13 cpu-s/GB and 7
 * GB/s, where an event loop takes three times that. A batch goes to the compressors' queue and the
 * packer's queue at once; the packer waits for the oldest batch, so order costs nothing.
 *
 * <p>The answer to CRIU's CLOSE says "all pages are received, and they are consistent", not
 * "stored": what commits a snapshot is the decision in CRIU's post-dump hook, where {@link #finish}
 * is called.
 *
 * <p>The first failure anywhere ends everything: the socket is closed at once, which makes CRIU
 * fail cleanly and the tasks go on. {@link #abort}, {@link #figures} and {@link #close} may be
 * called from any thread; the others from one.
 */
public final class PageReceiver implements AutoCloseable {

  private static final Batch END = new Batch(null);

  private final ReceiverConfig config;
  private final Path socket;
  private final Path indexFile;
  private final ReceiveObserver observer;
  private final ServerSocketChannel server;
  private final SegmentPool pool;
  private final PackWriter packs;
  private final IndexWriter index;
  private final BlockingQueue<Batch> toCompress = new LinkedBlockingQueue<>();
  private final BlockingQueue<Batch> toPack = new LinkedBlockingQueue<>();
  private final CompletableFuture<ReceivedPages> received = new CompletableFuture<>();
  private final CompletableFuture<PageSet> finished = new CompletableFuture<>();
  private final List<Thread> threads = new ArrayList<>();
  private final AtomicLong zeroPages = new AtomicLong();

  private final Object lock = new Object();
  private volatile DumpReader reader;
  private SocketChannel connection;
  private ReceiveException failure;
  private boolean closed;

  /**
   * Listens. Nobody is accepted before {@link #start}.
   *
   * @param socketPath where to listen; must not exist; mode 0600
   * @param indexFile where the index is written; must not exist
   */
  public static PageReceiver open(
      ReceiverConfig config,
      PartSink sink,
      Path socketPath,
      Path indexFile,
      ReceiveObserver observer)
      throws ReceiveException {
    ServerSocketChannel server = null;
    IndexWriter index = null;
    try {
      server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
      server.bind(UnixDomainSocketAddress.of(socketPath), 1);
      Files.setPosixFilePermissions(socketPath, PosixFilePermissions.fromString("rw-------"));
      index = new IndexWriter(indexFile, config.pageSize());
      return new PageReceiver(config, sink, socketPath, indexFile, observer, server, index);
    } catch (IOException e) {
      ReceiveException failure =
          new ReceiveException(
              "cannot receive pages at " + socketPath + " with the index " + indexFile + ": " + e,
              e);
      closeQuietly(server, failure);
      throw failure;
    }
  }

  private PageReceiver(
      ReceiverConfig config,
      PartSink sink,
      Path socket,
      Path indexFile,
      ReceiveObserver observer,
      ServerSocketChannel server,
      IndexWriter index) {
    this.config = config;
    this.socket = socket;
    this.indexFile = indexFile;
    this.observer = requireNonNull(observer, "observer is null");
    this.server = server;
    this.index = index;
    this.pool = new SegmentPool(config.segments());
    this.packs = new PackWriter(sink, config.partMemory(), config.uploads(), observer);
  }

  /** Starts the threads; returns at once. */
  public void start() {
    synchronized (lock) {
      if (!threads.isEmpty() || closed) {
        throw new IllegalStateException("started before, or closed");
      }
      threads.add(thread("lifeboat-receive", this::receive));
      threads.add(thread("lifeboat-pack", this::pack));
      for (int i = 0; i < config.compressors(); i++) {
        threads.add(thread("lifeboat-compress-" + i, this::compress));
      }
      threads.forEach(Thread::start);
    }
    packs.prepare();
  }

  /** A stage of the line. */
  @FunctionalInterface
  private interface Stage {
    void run() throws IOException, InterruptedException;
  }

  private Thread thread(String name, Stage stage) {
    return Thread.ofPlatform()
        .daemon()
        .name(name)
        .unstarted(
            () -> {
              try {
                stage.run();
              } catch (IOException | InterruptedException | RuntimeException | Error e) {
                fail(e);
              }
            });
  }

  private void receive() throws IOException, InterruptedException {
    SocketChannel peer = server.accept();
    synchronized (lock) {
      connection = peer;
      if (failure != null) {
        peer.close();
        return;
      }
    }
    server.close();
    Files.deleteIfExists(socket);
    checkPeer(peer);
    observer.connected();
    DumpReader dump = new DumpReader(peer, peer, pool, this::enqueue, config.pageSize());
    reader = dump;
    ReceivedPages pages = dump.run(observer, () -> !failed());
    for (int i = 0; i < config.compressors(); i++) {
      toCompress.put(END);
    }
    toPack.put(END);
    observer.received(pages);
    received.complete(pages);
    dump.awaitEnd();
    peer.close();
  }

  private void enqueue(Batch batch) throws InterruptedException {
    toPack.put(batch);
    toCompress.put(batch);
  }

  /** The one who sends memory must be root or who we are. */
  private void checkPeer(SocketChannel peer) throws IOException {
    UnixDomainPrincipal who = peer.getOption(ExtendedSocketOptions.SO_PEERCRED);
    UserPrincipal root =
        FileSystems.getDefault().getUserPrincipalLookupService().lookupPrincipalByName("0");
    if (!who.user().equals(root) && !who.user().equals(Files.getOwner(indexFile))) {
      throw new ReceiveException("refused a connection from the user " + who.user().getName());
    }
  }

  private void compress() throws InterruptedException {
    try (FrameBuilder frames = new FrameBuilder(config.pageSize())) {
      for (Batch batch = toCompress.take(); batch != END; batch = toCompress.take()) {
        CodecPolicy.Load load =
            new CodecPolicy.Load(
                pool.used(), pool.capacity(), packs.pendingParts(), packs.partCapacity());
        zeroPages.addAndGet(frames.build(batch, config.codecPolicy().choose(load)));
        batch.setCompressed();
      }
    }
  }

  private void pack() throws IOException, InterruptedException {
    for (Batch batch = toPack.take(); batch != END; batch = toPack.take()) {
      batch.awaitCompressed();
      for (Batch.Piece piece : batch.pieces()) {
        switch (piece) {
          case Batch.ImagePiece(var image) -> index.image(image);
          case Batch.EntryPiece(long vaddr, long pages, int flags) ->
              index.entry(vaddr, pages, flags);
          case Batch.FramePiece frame -> pack(batch, frame);
        }
      }
      pool.give(batch.segment());
    }
    List<PackInfo> infos = packs.finish();
    IndexWriter.Written written = index.finish(infos);
    finished.complete(
        new PageSet(
            infos,
            indexFile,
            written.size(),
            written.sha256(),
            config.pageSize(),
            written.totals()));
  }

  private void pack(Batch batch, Batch.FramePiece frame) throws IOException {
    FrameRef ref = null;
    if (frame.length() > 0) {
      ref =
          packs.append(
              batch.segment().limit(frame.offset() + frame.length()).position(frame.offset()));
    }
    index.frame(frame.range(), frame.present(), frame.zero(), frame.codec(), frame.crc32c(), ref);
  }

  private boolean failed() {
    synchronized (lock) {
      return failure != null;
    }
  }

  private void fail(Throwable cause) {
    ReceiveException mine;
    synchronized (lock) {
      if (finished.isDone() && !finished.isCompletedExceptionally()) {
        return;
      }
      if (failure != null) {
        if (!cause.equals(failure)
            && !cause.equals(failure.getCause())
            && !(cause instanceof InterruptedException)) {
          failure.addSuppressed(cause);
        }
        return;
      }
      failure =
          cause instanceof ReceiveException r
              ? r
              : new ReceiveException("receiving pages failed: " + words(cause), cause);
      mine = failure;
      closeQuietly(server, failure);
      closeQuietly(connection, failure);
    }
    packs.stop(mine);
    observer.failed(mine);
    received.completeExceptionally(mine);
    finished.completeExceptionally(mine);
    synchronized (lock) {
      for (Thread thread : threads) {
        if (!thread.equals(Thread.currentThread())) {
          thread.interrupt();
        }
      }
    }
  }

  private static String words(Throwable cause) {
    return cause instanceof IOException && cause.getMessage() != null
        ? cause.getMessage()
        : cause.toString();
  }

  /**
   * Ends the dump at once: CRIU fails, the tasks go on. After {@link #finish} has returned it does
   * nothing.
   *
   * @param reason for the user
   */
  public void abort(String reason) {
    fail(new ReceiveException("the dump was aborted: " + reason));
  }

  /**
   * Waits until all pages are received and CRIU has its answer.
   *
   * @throws ReceiveException when that failed, or did not come within the limit; then nothing has
   *     been aborted
   */
  public ReceivedPages awaitReceived(Duration limit) throws ReceiveException, InterruptedException {
    try {
      return received.get(limit.toNanos(), TimeUnit.NANOSECONDS);
    } catch (ExecutionException e) {
      throw rethrown(e);
    } catch (TimeoutException e) {
      throw new ReceiveException(
          "CRIU did not send all pages within " + limit.toMillis() / 1000.0 + " s", e);
    }
  }

  /**
   * Waits until every part is safe in the sink and the index is complete.
   *
   * @return what was kept; the index is still to be uploaded
   */
  public PageSet finish() throws ReceiveException, InterruptedException {
    try {
      return finished.get();
    } catch (ExecutionException e) {
      throw rethrown(e);
    }
  }

  private static ReceiveException rethrown(ExecutionException e) {
    return e.getCause() instanceof ReceiveException r
        ? r
        : new ReceiveException("receiving pages failed: " + e.getCause(), e.getCause());
  }

  /** How far it is. */
  public ReceiveFigures figures() {
    DumpReader dump = reader;
    return new ReceiveFigures(
        dump == null ? 0 : dump.rawBytes(),
        zeroPages.get(),
        packs.appendedBytes(),
        packs.storedBytes(),
        pool.used(),
        pool.capacity(),
        packs.pendingParts(),
        packs.partCapacity(),
        pool.memoryBytes() + packs.memoryBytes());
  }

  /** How often CRIU had to wait for memory. */
  public int waits() {
    return pool.waits();
  }

  /**
   * Gives everything back. Unless {@link #finish} has returned, the dump is aborted, what the sink
   * has of it is thrown away, and so is the index file. What cannot be thrown away is added to the
   * failure as a suppressed exception.
   */
  @Override
  public void close() {
    List<Thread> running;
    synchronized (lock) {
      if (closed) {
        return;
      }
      closed = true;
      running = new ArrayList<>(threads);
    }
    fail(new ReceiveException("the receiver was closed before the dump was complete"));
    ReceiveException cause;
    synchronized (lock) {
      cause = failure == null ? new ReceiveException("closing failed") : failure;
      closeQuietly(server, cause);
      closeQuietly(connection, cause);
    }
    boolean interrupted = false;
    for (Thread thread : running) {
      while (thread.isAlive()) {
        try {
          thread.join();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    }
    closeQuietly(packs, cause);
    closeQuietly(index, cause);
    pool.close();
    try {
      Files.deleteIfExists(socket);
      if (failed()) {
        Files.deleteIfExists(indexFile);
      }
    } catch (IOException e) {
      cause.addSuppressed(e);
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private static void closeQuietly(AutoCloseable closeable, Throwable cause) {
    if (closeable == null || (closeable instanceof Channel channel && !channel.isOpen())) {
      return;
    }
    try {
      closeable.close();
    } catch (Exception e) {
      cause.addSuppressed(e);
    }
  }
}
