package org.lifeboat.page;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreException;

/**
 * Fetches the parts of packs that frames lie in, several at a time, checks their SHA-256, and hands
 * the frames out.
 *
 * <p>Frames are {@linkplain #add added} in the order in which they lie in the packs, as they come
 * out of an index; all frames of a part become one job, so each part is fetched once, whole, and
 * only if something of it is wanted. A job runs on a virtual thread of its own with a buffer of its
 * own: memory is the number of fetches x 8 MiB. When all are busy {@link #add} waits.
 *
 * <p>A part whose digest is wrong is read once more, in case it was damaged on its way; then it is
 * a {@link PageFormatException}. The first failure stops everything and is thrown by the next call.
 *
 * <p>{@link #add} and {@link #finish} belong to one thread.
 *
 * @param <F> the caller's frames
 */
public final class PackReader<F extends PackFrame> implements AutoCloseable {

  private final ObjectStore store;
  private final List<PackInfo> packs;
  private final PartHandler<F> handler;
  private final int fetches;
  private final Arena arena = Arena.ofShared();

  private final Object lock = new Object();
  private final ArrayDeque<ByteBuffer> free = new ArrayDeque<>();
  private final List<Thread> threads = new ArrayList<>();
  private int buffers;
  private int running;
  private IOException failure;
  private boolean closed;

  private int pack = -1;
  private int part = -1;
  private List<F> frames = new ArrayList<>();

  /**
   * Takes the frames of one part; called on several threads at the same time.
   *
   * @param <F> the caller's frames
   */
  @FunctionalInterface
  public interface PartHandler<F extends PackFrame> {
    /**
     * @param frames in the order in which they were added
     */
    void handle(List<F> frames, Part part) throws IOException;
  }

  /** A part that was fetched and verified. Valid only while it is handled. */
  public static final class Part {
    private final String key;
    private final long start;
    private final ByteBuffer bytes;

    private Part(String key, long start, ByteBuffer bytes) {
      this.key = key;
      this.start = start;
      this.bytes = bytes;
    }

    /** The pack's key. */
    public String key() {
      return key;
    }

    /** The whole part, a direct buffer, from index 0 on. */
    public ByteBuffer bytes() {
      return bytes;
    }

    /** Where in {@link #bytes()} the frame begins. */
    public int indexOf(PackFrame frame) {
      return (int) (frame.offset() - start);
    }

    /** The frame's stored bytes. */
    public ByteBuffer frame(PackFrame frame) {
      return bytes.slice(indexOf(frame), frame.length());
    }
  }

  /**
   * @param packs by their number in the frames
   * @param fetches parts in memory at the same time, 1 to 1024
   */
  public PackReader(ObjectStore store, List<PackInfo> packs, int fetches, PartHandler<F> handler) {
    if (fetches < 1 || fetches > 1024) {
      throw new IllegalArgumentException("fetches must be 1 to 1024: " + fetches);
    }
    this.store = store;
    this.packs = List.copyOf(packs);
    this.fetches = fetches;
    this.handler = handler;
  }

  /**
   * Asks for a frame.
   *
   * @throws PageFormatException when there cannot be such a frame
   * @throws IOException the failure of an earlier part
   */
  public void add(F frame) throws IOException {
    if (frame.pack() < 0 || frame.pack() >= packs.size()) {
      throw new PageFormatException("pack " + frame.pack(), frame.offset(), "there is none");
    }
    PackInfo info = packs.get(frame.pack());
    long end = frame.offset() + frame.length();
    if (frame.offset() < 0
        || frame.length() < 1
        || end > info.length()
        || frame.offset() / info.partLength() != (end - 1) / info.partLength()) {
      throw new PageFormatException(
          info.key(), frame.offset(), "no frame of " + frame.length() + " bytes can be there");
    }
    int of = (int) (frame.offset() / info.partLength());
    if (frame.pack() != pack || of != part) {
      start();
      pack = frame.pack();
      part = of;
    }
    frames.add(frame);
  }

  /** Waits until every frame was handed out. */
  public void finish() throws IOException {
    start();
    synchronized (lock) {
      while (running > 0 && failure == null) {
        await();
      }
      check();
    }
  }

  private void start() throws IOException {
    if (frames.isEmpty()) {
      return;
    }
    List<F> wanted = frames;
    frames = new ArrayList<>();
    PackInfo info = packs.get(pack);
    int number = part;
    synchronized (lock) {
      while (true) {
        check();
        if (!free.isEmpty() || buffers < fetches) {
          break;
        }
        await();
      }
      ByteBuffer buffer = free.poll();
      if (buffer == null) {
        buffers++;
        buffer = arena.allocate(PageFormat.PART_BYTES, 4096).asByteBuffer();
      }
      ByteBuffer into = buffer;
      running++;
      Thread thread =
          Thread.ofVirtual()
              .name("lifeboat-fetch-" + number)
              .unstarted(() -> fetch(info, number, wanted, into));
      threads.add(thread);
      thread.start();
    }
  }

  private void fetch(PackInfo info, int number, List<F> wanted, ByteBuffer buffer) {
    try {
      synchronized (lock) {
        if (failure != null) {
          return;
        }
      }
      long start = (long) number * info.partLength();
      read(info, number, buffer, 1);
      handler.handle(wanted, new Part(info.key(), start, buffer));
    } catch (IOException e) {
      fail(e);
    } catch (RuntimeException | Error e) {
      fail(new IOException(info.key() + ", part " + (number + 1) + ": " + e, e));
    } finally {
      synchronized (lock) {
        free.push(buffer);
        running--;
        threads.remove(Thread.currentThread());
        lock.notifyAll();
      }
    }
  }

  private void read(PackInfo info, int number, ByteBuffer buffer, int retries) throws IOException {
    long start = (long) number * info.partLength();
    buffer.clear().limit(info.partLength(number));
    ObjectStore.ObjectInfo object = store.get(info.key(), start, buffer);
    boolean whole = !buffer.hasRemaining() && object.size() == info.length();
    if (whole && Digests.sha256(buffer.flip()).equals(info.sha256().get(number))) {
      return;
    }
    if (retries > 0) {
      read(info, number, buffer, retries - 1);
      return;
    }
    throw new PageFormatException(
        info.key(),
        start,
        whole
            ? "the SHA-256 of part " + (number + 1) + " is not the recorded one: it is damaged"
            : "the object has " + object.size() + " bytes where " + info.length() + " were stored");
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
      } else if (!failure.equals(e) && !isInterruption(e)) {
        failure.addSuppressed(e);
      }
      lock.notifyAll();
    }
  }

  /** What the other fetches throw because the first failure interrupted them says nothing. */
  private static boolean isInterruption(IOException e) {
    return e instanceof StoreException s && s.kind() == StoreException.Kind.INTERRUPTED;
  }

  /** Waits once; whoever calls it loops. */
  @SuppressWarnings("WaitNotInLoop")
  private void await() throws IOException {
    try {
      lock.wait();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while fetching packs", e);
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

  /** Stops what runs, waits for it and gives the memory back. */
  @Override
  public void close() {
    List<Thread> left;
    synchronized (lock) {
      if (closed) {
        return;
      }
      closed = true;
      left = new ArrayList<>(threads);
      left.forEach(Thread::interrupt);
      lock.notifyAll();
    }
    boolean interrupted = false;
    for (Thread thread : left) {
      while (thread.isAlive()) {
        try {
          thread.join();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    }
    arena.close();
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
