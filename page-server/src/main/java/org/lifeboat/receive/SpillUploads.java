package org.lifeboat.receive;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.lifeboat.page.Digests;
import org.lifeboat.page.PageFormat;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore;

/**
 * Sends the parts of spilled packs to the store, several at a time, each from the file through a
 * buffer of 8 MiB. The first failure stops the rest; what was sent stays sent.
 */
final class SpillUploads implements AutoCloseable {

  private final ObjectStore store;
  private final Path directory;
  private final SpillJournal journal;
  private final int workers;
  private final Arena arena = Arena.ofShared();

  private final Object lock = new Object();
  private final ArrayDeque<Job> queue = new ArrayDeque<>();
  private final List<Thread> threads = new ArrayList<>();
  private final Map<Integer, MultipartUpload> uploads = new HashMap<>();
  private int busy;
  private long sentBytes;
  private IOException failure;
  private boolean closed;

  /** A part to be sent; the digest is checked when there is one. */
  private record Job(SpillJournal.Pack pack, int part, int length, String sha256) {}

  SpillUploads(ObjectStore store, Path directory, SpillJournal journal, int workers) {
    this.store = store;
    this.directory = directory;
    this.journal = journal;
    this.workers = workers;
  }

  static Path file(Path directory, int number) {
    return directory.resolve("pack-" + number + ".spill");
  }

  /**
   * Asks for a part to be sent.
   *
   * @param sha256 that the file's bytes must have, or empty when they were written just now
   */
  void add(SpillJournal.Pack pack, int part, int length, String sha256) {
    synchronized (lock) {
      if (closed || failure != null) {
        return;
      }
      queue.add(new Job(pack, part, length, sha256));
      if (threads.size() < workers) {
        Thread thread = Thread.ofVirtual().name("lifeboat-spill").unstarted(this::work);
        threads.add(thread);
        thread.start();
      }
      lock.notifyAll();
    }
  }

  private void work() {
    ByteBuffer buffer = arena.allocate(PageFormat.PART_BYTES, 4096).asByteBuffer();
    while (true) {
      Job job;
      synchronized (lock) {
        while (queue.isEmpty() && !closed && failure == null) {
          try {
            lock.wait();
          } catch (InterruptedException e) {
            return;
          }
        }
        if (closed || failure != null) {
          return;
        }
        job = queue.remove();
        busy++;
      }
      try {
        send(job, buffer);
      } catch (IOException e) {
        fail(e);
      } catch (RuntimeException | Error e) {
        fail(new IOException("uploading a spilled part failed: " + e, e));
      } finally {
        synchronized (lock) {
          busy--;
          lock.notifyAll();
        }
      }
    }
  }

  private void fail(IOException e) {
    synchronized (lock) {
      if (failure == null) {
        failure = e;
        queue.clear();
      } else {
        failure.addSuppressed(e);
      }
      lock.notifyAll();
    }
  }

  private void send(Job job, ByteBuffer buffer) throws IOException {
    Path path = file(directory, job.pack().number());
    long offset = (long) (job.part() - 1) * PageFormat.PART_BYTES;
    buffer.clear().limit(job.length());
    try (FileChannel in = FileChannel.open(path, StandardOpenOption.READ)) {
      while (buffer.hasRemaining()) {
        if (in.read(buffer, offset + buffer.position()) < 0) {
          throw new ReceiveException(path + " is truncated: the spilled snapshot is lost");
        }
      }
    }
    buffer.flip();
    if (!job.sha256().isEmpty() && !Digests.sha256(buffer).equals(job.sha256())) {
      throw new ReceiveException(
          path + " at byte " + offset + " is damaged: the spilled snapshot is lost");
    }
    upload(job.pack()).part(job.part(), buffer);
    synchronized (lock) {
      sentBytes += job.length();
    }
  }

  private MultipartUpload upload(SpillJournal.Pack pack) throws IOException {
    synchronized (pack) {
      synchronized (lock) {
        MultipartUpload known = uploads.get(pack.number());
        if (known != null) {
          return known;
        }
      }
      MultipartUpload begun = store.upload(pack.key());
      journal.upload(pack.number(), begun.id());
      pack.uploading(begun.id());
      remember(pack, begun);
      return begun;
    }
  }

  /** Goes on with an upload of an earlier process. */
  void remember(SpillJournal.Pack pack, MultipartUpload upload) {
    synchronized (lock) {
      uploads.put(pack.number(), upload);
    }
  }

  /** Waits until all parts are sent. */
  void await() throws IOException {
    synchronized (lock) {
      while (failure == null && !closed && (busy > 0 || !queue.isEmpty())) {
        try {
          lock.wait();
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          throw new IOException("interrupted while uploading a spilled snapshot", e);
        }
      }
      if (failure != null) {
        throw failure;
      }
      if (closed) {
        throw new IOException("the spill was closed");
      }
    }
  }

  /** Makes the object of a pack whose parts are all sent. */
  void complete(SpillJournal.Pack pack, long length) throws IOException {
    Completion.complete(store, upload(pack), length);
    synchronized (lock) {
      uploads.remove(pack.number());
    }
    journal.stored(pack.number());
  }

  long sentBytes() {
    synchronized (lock) {
      return sentBytes;
    }
  }

  /** Throws away what was sent of packs that are not complete. */
  void abort() throws IOException {
    close();
    IOException first = null;
    synchronized (lock) {
      for (MultipartUpload upload : uploads.values()) {
        try {
          upload.abort();
        } catch (IOException e) {
          if (first == null) {
            first = e;
          } else {
            first.addSuppressed(e);
          }
        }
      }
      uploads.clear();
    }
    if (first != null) {
      throw first;
    }
  }

  /** Stops what runs. */
  @Override
  public void close() {
    List<Thread> running;
    synchronized (lock) {
      if (closed) {
        return;
      }
      closed = true;
      queue.clear();
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
    arena.close();
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
