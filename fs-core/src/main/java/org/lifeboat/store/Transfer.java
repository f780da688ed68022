package org.lifeboat.store;

import static java.nio.file.StandardCopyOption.ATOMIC_MOVE;
import static java.nio.file.StandardOpenOption.CREATE_NEW;
import static java.nio.file.StandardOpenOption.READ;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HexFormat;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import org.lifeboat.store.ObjectStore.ObjectInfo;
import org.lifeboat.store.StoreException.Kind;

/**
 * Moves whole files of any size to and from a store, over several connections, and takes their
 * SHA-256 on the way.
 *
 * <p>A digest needs the bytes in order while the network wants them in parallel. So one thread
 * reads (or writes) the file and digests, in order, and a window of at most {@code parallel}
 * buffers is under way on virtual threads; nothing else is held in memory. The digest (1.7 GB/s)
 * bounds one file; several files go in parallel, sharing the buffers.
 *
 * <p>Thread-safe. The buffers are made when they are first needed, no larger than that, and kept
 * until {@link #close}: memory outside the heap that waited for the garbage collector would pile up
 * from snapshot to snapshot, as a small heap is seldom collected.
 */
public final class Transfer implements AutoCloseable {

  /** Bytes of a part or of a ranged read: larger ones gain nothing, smaller ones cost CPU. */
  public static final int PART = 8 << 20;

  /** The least buffer: most images are smaller. */
  private static final int SMALL = 64 << 10;

  private final ObjectStore store;
  private final BlockingQueue<Slot> buffers;
  private final int partBytes;

  /** A place for a buffer, with none or one that has memory of its own. */
  private static final class Slot {
    private Arena arena;
    private ByteBuffer buffer;

    /** A buffer of at least that much, position 0, with that limit. */
    ByteBuffer fit(int capacity) {
      if (buffer == null || buffer.capacity() < capacity) {
        free();
        Arena larger = Arena.ofShared();
        try {
          buffer = larger.allocate(capacity, 4096).asByteBuffer();
          arena = larger;
        } finally {
          if (arena == null) {
            larger.close();
          }
        }
      }
      return buffer.clear().limit(capacity);
    }

    void free() {
      if (arena != null) {
        arena.close();
      }
      arena = null;
      buffer = null;
    }
  }

  /**
   * @param parallel how many parts are under way, over all files; each takes up to 8 MiB outside
   *     the heap
   */
  public Transfer(ObjectStore store, int parallel) {
    this(store, parallel, PART);
  }

  /**
   * @param partBytes at least 5 MiB; larger parts are used for files of more than 10,000 parts
   */
  public Transfer(ObjectStore store, int parallel, int partBytes) {
    if (parallel < 1 || partBytes < FileUpload.MIN_PART) {
      throw new IllegalArgumentException(parallel + " buffers of " + partBytes + " bytes");
    }
    this.store = store;
    this.partBytes = partBytes;
    this.buffers = new ArrayBlockingQueue<>(parallel);
    for (int i = 0; i < parallel; i++) {
      buffers.add(new Slot());
    }
  }

  /** What was written: the object, and the SHA-256 of its bytes in lower-case hex. */
  public record Stored(ObjectInfo info, String sha256) {}

  /** Stores a file. */
  public Stored put(String key, Path file, Precondition precondition) throws IOException {
    return put(key, file, precondition, Optional.empty());
  }

  /**
   * Stores a file, if it is what it is expected to be.
   *
   * @param sha256 in lower-case hex
   * @throws StoreException of kind {@link Kind#CORRUPT} when the file's digest is another one; then
   *     nothing was stored
   * @throws IOException when the file can't be read
   */
  public Stored put(String key, Path file, Precondition precondition, String sha256)
      throws IOException {
    return put(key, file, precondition, Optional.of(sha256));
  }

  private Stored put(String key, Path file, Precondition precondition, Optional<String> expected)
      throws IOException {
    MessageDigest digest = sha256();
    try (FileChannel in = FileChannel.open(file, READ)) {
      long size = in.size();
      if (size <= partBytes) {
        Slot slot = take(key, "put");
        try {
          ByteBuffer buffer = slot.fit(Math.max(SMALL, (int) size)).limit((int) size);
          fill(in, file, 0, buffer);
          String actual = finish(digest, buffer);
          check("put", key, expected, actual);
          return new Stored(store.put(key, buffer, precondition), actual);
        } finally {
          give(slot);
        }
      }
      MultipartUpload upload = store.upload(key);
      try {
        sendParts(in, file, size, upload, digest);
        String actual = HexFormat.of().formatHex(digest.digest());
        check("put", key, expected, actual);
        return new Stored(upload.complete(precondition), actual);
      } catch (Throwable e) {
        boolean open =
            e instanceof StoreException s && (s.kind() == Kind.UNKNOWN_OUTCOME || isInterrupt(s));
        if (!open) {
          try {
            upload.abort();
          } catch (StoreException again) {
            e.addSuppressed(again);
          }
        }
        throw e;
      }
    }
  }

  private static boolean isInterrupt(StoreException e) {
    return e.kind() == Kind.INTERRUPTED;
  }

  private void sendParts(
      FileChannel in, Path file, long size, MultipartUpload upload, MessageDigest digest)
      throws IOException {
    int length = partBytes;
    while (length * (long) FileUpload.MAX_NUMBER < size) {
      length = Math.multiplyExact(length, 2);
    }
    try (Window<Boolean> window = new Window<>(upload.key(), "put", sent -> {})) {
      int number = 0;
      for (long offset = 0; offset < size; offset += length) {
        Slot slot = take(upload.key(), "put");
        ByteBuffer buffer;
        try {
          buffer = slot.fit(length).limit((int) Math.min(length, size - offset));
          fill(in, file, offset, buffer);
          digest.update(buffer.duplicate());
        } catch (Throwable e) {
          give(slot);
          throw e;
        }
        int part = ++number;
        window.submit(
            () -> {
              try {
                upload.part(part, buffer);
                return true;
              } finally {
                give(slot);
              }
            });
        while (window.oldestIsDone()) {
          window.next();
        }
      }
      while (!window.isEmpty()) {
        window.next();
      }
    }
  }

  private static void fill(FileChannel in, Path file, long offset, ByteBuffer buffer)
      throws IOException {
    if (FileStore.read(in, offset, buffer, buffer.remaining()) < buffer.limit()) {
      throw new IOException(file + " shrank while it was stored");
    }
    buffer.flip();
  }

  /** Fetches an object into a new file; see {@link #get(String, Path, String)}. */
  public Stored get(String key, Path file) throws IOException {
    return get(key, file, OptionalLong.empty(), Optional.empty());
  }

  /**
   * Fetches an object into a file. The file appears (0600, replacing what was there) when it is
   * whole and right; it is not synced.
   *
   * @param sha256 in lower-case hex
   * @throws StoreException of kind {@link Kind#CORRUPT} when the digest is another one
   * @throws IOException when the file can't be written
   */
  public Stored get(String key, Path file, String sha256) throws IOException {
    return get(key, file, OptionalLong.empty(), Optional.of(sha256));
  }

  /**
   * As above; of an object of another size nothing is fetched but its first part, however long it
   * has grown.
   *
   * @param size in bytes
   */
  public Stored get(String key, Path file, long size, String sha256) throws IOException {
    return get(key, file, OptionalLong.of(size), Optional.of(sha256));
  }

  private Stored get(String key, Path file, OptionalLong size, Optional<String> expected)
      throws IOException {
    Path temporary = file.resolveSibling(".part-" + UUID.randomUUID());
    try {
      Stored stored;
      try (FileChannel out =
          FileChannel.open(temporary, Set.of(CREATE_NEW, WRITE), FileStore.FILE_MODE)) {
        stored = receive(key, size, out);
      }
      check("get", key, expected, stored.sha256);
      Files.move(temporary, file, ATOMIC_MOVE);
      return stored;
    } catch (Throwable e) {
      FileStore.removeAfter(e, temporary);
      throw e;
    }
  }

  /** A range under way: the object as it was seen, and the bytes between position and limit. */
  private record Range(ObjectInfo info, Slot slot, ByteBuffer buffer) {}

  private Stored receive(String key, OptionalLong size, FileChannel out) throws IOException {
    MessageDigest digest = sha256();
    int expected = Math.clamp(size.orElse(partBytes), SMALL, partBytes);
    Range first = fetch(key, 0, take(key, "get"), expected);
    ObjectInfo info = first.info;
    long done = 0;
    try {
      if (size.isPresent() && info.size() != size.getAsLong()) {
        throw new StoreException(
            Kind.CORRUPT,
            "get",
            store.url().of(key),
            "it has " + info.size() + " bytes, not " + size.getAsLong(),
            "",
            null);
      }
      digest.update(first.buffer.duplicate());
      done = first.buffer.remaining();
      FileStore.write(out, 0, first.buffer);
    } finally {
      give(first.slot);
    }
    try (Window<Range> window = new Window<>(key, "get", range -> give(range.slot))) {
      long asked = done;
      while (done < info.size()) {
        // buffers are taken here, in order: so the oldest range always has one, and files that
        // share them can't wait for each other in a circle
        while (asked < info.size()) {
          Slot free = window.isEmpty() ? take(key, "get") : buffers.poll();
          if (free == null) {
            break;
          }
          int length = (int) Math.min(partBytes, info.size() - asked);
          long from = asked;
          window.submit(() -> fetch(key, from, free, length));
          asked += length;
        }
        Range range = window.next();
        try {
          if (!range.info.version().equals(info.version())) {
            throw new StoreException(
                Kind.CONFLICT,
                "get",
                store.url().of(key),
                "the object was replaced while it was read",
                "",
                null);
          }
          digest.update(range.buffer.duplicate());
          int length = range.buffer.remaining();
          FileStore.write(out, done, range.buffer);
          done += length;
        } finally {
          give(range.slot);
        }
      }
    }
    return new Stored(info, HexFormat.of().formatHex(digest.digest()));
  }

  /** When it fails it gives the buffer back itself. */
  private Range fetch(String key, long offset, Slot slot, int length) throws StoreException {
    try {
      ByteBuffer buffer = slot.fit(length);
      ObjectInfo info = store.get(key, offset, buffer);
      return new Range(info, slot, buffer.flip());
    } catch (Throwable e) {
      give(slot);
      throw e;
    }
  }

  private String finish(MessageDigest digest, ByteBuffer buffer) {
    digest.update(buffer.duplicate());
    return HexFormat.of().formatHex(digest.digest());
  }

  private void check(String operation, String key, Optional<String> expected, String actual)
      throws StoreException {
    if (expected.isPresent() && !expected.get().equals(actual)) {
      throw new StoreException(
          Kind.CORRUPT,
          operation,
          store.url().of(key),
          "its SHA-256 is " + actual + ", not " + expected.get(),
          "",
          null);
    }
  }

  private Slot take(String key, String operation) throws StoreException {
    try {
      return buffers.take();
    } catch (InterruptedException e) {
      throw interrupted(key, operation, e);
    }
  }

  private void give(Slot slot) {
    buffers.add(slot);
  }

  /** Gives the memory back; nothing may be under way, and nothing is possible afterwards. */
  @Override
  public void close() {
    for (Slot slot = buffers.poll(); slot != null; slot = buffers.poll()) {
      slot.free();
    }
  }

  private StoreException interrupted(String key, String operation, InterruptedException e) {
    Thread.currentThread().interrupt();
    return new StoreException(
        Kind.INTERRUPTED, operation, store.url().of(key), "the thread was interrupted", "", e);
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }

  /**
   * Tasks on virtual threads, their results taken in order. Closing ends those that are left, waits
   * for them, and discards their results.
   */
  private final class Window<T> implements AutoCloseable {

    private final String key;
    private final String operation;
    private final Consumer<T> discard;
    private final ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor();
    private final Deque<Future<T>> futures = new ArrayDeque<>();

    Window(String key, String operation, Consumer<T> discard) {
      this.key = key;
      this.operation = operation;
      this.discard = discard;
    }

    void submit(Callable<T> task) {
      futures.add(executor.submit(task));
    }

    boolean isEmpty() {
      return futures.isEmpty();
    }

    boolean oldestIsDone() {
      return !futures.isEmpty() && futures.element().isDone();
    }

    T next() throws IOException {
      try {
        T result = futures.element().get();
        futures.remove();
        return result;
      } catch (InterruptedException e) {
        throw interrupted(key, operation, e);
      } catch (ExecutionException e) {
        switch (e.getCause()) {
          case IOException failure -> throw failure;
          case RuntimeException failure -> throw failure;
          case Error failure -> throw failure;
          case Throwable failure -> throw new IllegalStateException(failure);
        }
      }
    }

    @Override
    public void close() {
      executor.shutdownNow(); // interrupts; a task that has not begun begins, and sees that
      executor.close();
      for (Future<T> future : futures) {
        if (future.state() == Future.State.SUCCESS) {
          discard.accept(future.resultNow());
        }
      }
    }
  }
}
