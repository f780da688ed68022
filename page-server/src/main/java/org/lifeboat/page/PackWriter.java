package org.lifeboat.page;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Puts frames one after the other into packs, and the parts of packs into a {@link PartSink}.
 *
 * <p>A pack is a plain concatenation of frames. It is cut into parts of exactly 8 MiB, the last one
 * excepted, and no frame straddles two parts: what is left at a part's end is filled with zeros. So
 * a part is what is uploaded, retried, digested, fetched and verified, with nothing around it, and
 * part n begins at (n-1) x 8 MiB. A pack that has 8192 parts is followed by the next one.
 *
 * <p>The caller's thread copies frames into the current part; full parts are digested and stored on
 * virtual threads, as many at a time as there are uploads. The memory is fixed: when all part
 * buffers are full, {@link #append} waits. The first failure of a part ends everything: it is
 * thrown by the next call. Parts that were stored concurrently and failed as well are its
 * suppressed ones.
 *
 * <p>{@link #append} and {@link #finish} belong to one thread; {@link #stop}, {@link #close} and
 * the figures may be called from any.
 */
public final class PackWriter implements AutoCloseable {

  private final PartSink sink;
  private final Arena arena = Arena.ofShared();
  private final Semaphore uploads;
  private final int maxBuffers;
  private final int maxParts;
  private final PartObserver observer;

  private final Object lock = new Object();
  private final ArrayDeque<ByteBuffer> free = new ArrayDeque<>();
  private final Set<Thread> threads = new HashSet<>();
  private int buffers;
  private int pending;
  private IOException failure;
  private boolean finished;
  private boolean closed;

  private final List<Pack> packs = new ArrayList<>();
  private Pack pack;
  private ByteBuffer part;

  private final AtomicLong appended = new AtomicLong();
  private final AtomicLong stored = new AtomicLong();

  /** Is told of each part that is safe, on any thread. */
  @FunctionalInterface
  public interface PartObserver {
    void partStored(String key, int number, int bytes);
  }

  private static final class Pack {
    private final String key;
    private final List<String> digests = new ArrayList<>();
    private long length;
    private int parts;

    Pack(String key) {
      this.key = key;
    }
  }

  /**
   * @param memoryBytes for part buffers; at least two are made
   * @param uploads parts that are on their way at the same time, at most
   */
  public PackWriter(PartSink sink, long memoryBytes, int uploads, PartObserver observer) {
    this(sink, memoryBytes, uploads, observer, PageFormat.MAX_PARTS);
  }

  /** As above, with packs of at most that many parts. */
  PackWriter(PartSink sink, long memoryBytes, int uploads, PartObserver observer, int maxParts) {
    if (uploads < 1) {
      throw new IllegalArgumentException("uploads must be at least 1: " + uploads);
    }
    this.sink = sink;
    this.maxParts = maxParts;
    this.uploads = new Semaphore(uploads);
    this.maxBuffers = buffersOf(memoryBytes);
    this.observer = observer;
  }

  /** The number of part buffers that this much memory gives. */
  public static int buffersOf(long memoryBytes) {
    return Math.clamp(memoryBytes / PageFormat.PART_BYTES, 2, 1024);
  }

  /** Has the sink begin the first pack beside what the caller does, which will surely need it. */
  public void prepare() {
    sink.prepare();
  }

  /**
   * Copies a frame into the current part; waits while no part buffer is free.
   *
   * @param frame its remaining bytes, 1 to 8 MiB; its position is left as it was
   * @throws IOException the failure of an earlier part
   */
  public FrameRef append(ByteBuffer frame) throws IOException {
    int length = frame.remaining();
    if (length == 0 || length > PageFormat.PART_BYTES) {
      throw new IllegalArgumentException("a frame of " + length + " bytes");
    }
    if (part != null && part.remaining() < length) {
      pad(part);
      send();
    }
    if (part == null) {
      if (pack != null && pack.parts == maxParts) {
        pack = null;
      }
      if (pack == null) {
        pack = new Pack(sink.begin(packs.size()));
        packs.add(pack);
      }
      part = takeBuffer();
    }
    long offset = (long) pack.parts * PageFormat.PART_BYTES + part.position();
    int at = part.position();
    part.put(at, frame, frame.position(), length).position(at + length);
    appended.addAndGet(length);
    FrameRef ref = new FrameRef(packs.size() - 1, offset, length);
    if (!part.hasRemaining()) {
      send();
    }
    return ref;
  }

  private static void pad(ByteBuffer part) {
    while (part.remaining() >= Long.BYTES) {
      part.putLong(0);
    }
    while (part.hasRemaining()) {
      part.put((byte) 0);
    }
  }

  private ByteBuffer takeBuffer() throws IOException {
    synchronized (lock) {
      while (true) {
        check();
        if (!free.isEmpty()) {
          return free.pop().clear();
        }
        if (buffers < maxBuffers) {
          buffers++;
          return arena.allocate(PageFormat.PART_BYTES, 4096).asByteBuffer();
        }
        await();
      }
    }
  }

  /** Waits once; whoever calls it loops. */
  @SuppressWarnings("WaitNotInLoop")
  private void await() throws IOException {
    try {
      lock.wait();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      InterruptedIOException interrupted =
          new InterruptedIOException("interrupted while waiting for parts to be stored");
      interrupted.initCause(e);
      throw interrupted;
    }
  }

  private void check() throws IOException {
    if (failure != null) {
      throw failure;
    }
    if (closed) {
      throw new IOException("the packs were closed");
    }
  }

  private void send() {
    ByteBuffer body = part.flip();
    part = null;
    Pack of = pack;
    int number = ++of.parts;
    of.length += body.remaining();
    synchronized (lock) {
      of.digests.add("");
      pending++;
      Thread thread =
          Thread.ofVirtual()
              .name("lifeboat-part-" + number)
              .unstarted(() -> store(of, number, body));
      threads.add(thread);
      thread.start();
    }
  }

  private void store(Pack of, int number, ByteBuffer body) {
    int bytes = body.remaining();
    try {
      uploads.acquire();
      try {
        String digest = Digests.sha256(body);
        sink.part(of.key, number, body.duplicate(), digest);
        synchronized (lock) {
          of.digests.set(number - 1, digest);
        }
      } finally {
        uploads.release();
      }
      stored.addAndGet(bytes);
      observer.partStored(of.key, number, bytes);
    } catch (IOException e) {
      fail(e);
    } catch (InterruptedException e) {
      fail(new IOException("interrupted while storing part " + number + " of " + of.key, e));
    } catch (RuntimeException | Error e) {
      fail(new IOException("storing part " + number + " of " + of.key + " failed: " + e, e));
    } finally {
      synchronized (lock) {
        free.push(body);
        pending--;
        threads.remove(Thread.currentThread());
        lock.notifyAll();
      }
    }
  }

  private void fail(IOException e) {
    synchronized (lock) {
      if (failure == null) {
        failure = e;
        for (Thread thread : threads) {
          if (!thread.equals(Thread.currentThread())) {
            thread.interrupt();
          }
        }
      } else if (!failure.equals(e)) {
        failure.addSuppressed(e);
      }
      lock.notifyAll();
    }
  }

  /**
   * Waits until every part is stored, ends the packs and seals the sink.
   *
   * @return the packs in order; none when no frame was appended
   */
  public List<PackInfo> finish() throws IOException {
    if (part != null) {
      send();
    }
    synchronized (lock) {
      while (pending > 0) {
        check();
        await();
      }
      check();
    }
    List<PackInfo> infos = new ArrayList<>();
    for (Pack each : packs) {
      PackInfo info = new PackInfo(each.key, each.length, PageFormat.PART_BYTES, each.digests);
      sink.complete(info);
      infos.add(info);
    }
    sink.seal();
    synchronized (lock) {
      finished = true;
    }
    return infos;
  }

  /** Makes a waiting or a later {@link #append} or {@link #finish} fail with this cause. */
  public void stop(IOException cause) {
    fail(cause);
  }

  /** Bytes of frames that were appended. */
  public long appendedBytes() {
    return appended.get();
  }

  /** Bytes of parts that are safe, padding included. */
  public long storedBytes() {
    return stored.get();
  }

  /** Parts that are full and not yet safe: 0 to {@link #partCapacity()}. */
  public int pendingParts() {
    synchronized (lock) {
      return pending;
    }
  }

  /** The greatest number of part buffers. */
  public int partCapacity() {
    return maxBuffers;
  }

  /** Memory in bytes that is taken now. */
  public long memoryBytes() {
    synchronized (lock) {
      return closed ? 0 : (long) buffers * PageFormat.PART_BYTES;
    }
  }

  /**
   * Gives everything back; if the packs were not finished, what the sink has of them is thrown
   * away.
   *
   * @throws IOException when the sink could not throw away everything
   */
  @Override
  public void close() throws IOException {
    boolean abort;
    List<Thread> running;
    synchronized (lock) {
      if (closed) {
        return;
      }
      closed = true;
      abort = !finished;
      running = new ArrayList<>(threads);
      running.forEach(Thread::interrupt);
      lock.notifyAll();
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
    try {
      if (abort) {
        sink.abort();
      }
    } finally {
      arena.close();
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }
}
