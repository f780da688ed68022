package org.lifeboat.receive;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.lifeboat.page.PackInfo;
import org.lifeboat.page.PackNames;
import org.lifeboat.page.PageFormat;
import org.lifeboat.page.PartSink;
import org.lifeboat.store.ObjectStore;

/**
 * Keeps each part on the local disk first, and sends it to the object store behind the dump's back:
 * a part is safe when it is in the file, so the tasks thaw without waiting for the link.
 *
 * <p>The directory holds one {@code pack-N.spill} for each pack and a {@link SpillJournal}. If this
 * process dies behind the seal, another one finds them with {@link Spill#find} and finishes the
 * upload. If it dies before, there is no snapshot, and {@link Spill#discard} cleans up.
 *
 * <p>Order of calls: the receiver's {@link PageReceiver#finish} seals the spill; {@link
 * #awaitUploaded} waits for the store; {@link #close}. Memory outside the heap: uploads x 8 MiB, on
 * top of the receiver's.
 */
public final class SpillSink implements PartSink, AutoCloseable {

  private final ObjectStore store;
  private final PackNames names;
  private final Path directory;
  private final SpillJournal journal;
  private final SpillUploads uploads;
  private final Map<String, Spilled> packs = new HashMap<>();
  private boolean sealed;
  private boolean uploaded;
  private boolean gone;

  private record Spilled(SpillJournal.Pack pack, FileChannel file, PackInfo info) {}

  /**
   * @param directory for this dump alone; is created with mode 0700 if it does not exist
   * @param uploads parts that are on their way to the store at the same time
   */
  public SpillSink(ObjectStore store, PackNames names, Path directory, int uploads)
      throws IOException {
    this.store = store;
    this.names = names;
    this.directory = directory;
    Files.createDirectories(
        directory,
        PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    this.journal = SpillJournal.create(directory);
    this.uploads = new SpillUploads(store, directory, journal, uploads);
  }

  private synchronized Spilled spilled(String key) {
    return packs.get(key);
  }

  @Override
  public String begin(int number) throws IOException {
    String key = names.key(number);
    journal.pack(number, key);
    FileChannel file =
        FileChannel.open(
            SpillUploads.file(directory, number),
            Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    synchronized (this) {
      packs.put(key, new Spilled(new SpillJournal.Pack(number, key), file, null));
    }
    return key;
  }

  @Override
  public void part(String key, int number, ByteBuffer body, String sha256) throws IOException {
    Spilled to = spilled(key);
    int length = body.remaining();
    long offset = (long) (number - 1) * PageFormat.PART_BYTES;
    try {
      while (body.hasRemaining()) {
        offset += to.file().write(body, offset);
      }
    } catch (IOException e) {
      throw new ReceiveException(
          "cannot keep pages in "
              + directory
              + ": "
              + e.getMessage()
              + " (make room there, or choose another cache directory)",
          e);
    }
    journal.part(to.pack().number(), number, length, sha256);
    uploads.add(to.pack(), number, length, "");
  }

  @Override
  public void complete(PackInfo pack) throws IOException {
    Spilled of = spilled(pack.key());
    of.file().close();
    journal.complete(of.pack().number(), pack.length());
    synchronized (this) {
      packs.put(pack.key(), new Spilled(of.pack(), of.file(), pack));
    }
  }

  @Override
  public synchronized void seal() throws IOException {
    journal.sealed();
    sealed = true;
  }

  /**
   * Waits until all packs are objects of the store, and removes the files.
   *
   * @throws IOException when the upload failed; the files are still there and {@link Spill} can try
   *     again once this sink is closed
   */
  public void awaitUploaded() throws IOException {
    synchronized (this) {
      if (!sealed) {
        throw new IllegalStateException("the packs are not complete");
      }
    }
    uploads.await();
    synchronized (this) {
      for (Spilled each : packs.values()) {
        uploads.complete(each.pack(), each.info().length());
      }
      uploaded = true;
    }
  }

  /** Bytes of parts that the store has. */
  public long sentBytes() {
    return uploads.sentBytes();
  }

  @Override
  public void abort() throws IOException {
    synchronized (this) {
      if (sealed || gone) {
        return;
      }
      gone = true;
    }
    try (journal) {
      uploads.abort();
    } finally {
      removeFiles();
    }
  }

  private synchronized void removeFiles() throws IOException {
    for (Spilled each : packs.values()) {
      each.file().close();
      Files.deleteIfExists(SpillUploads.file(directory, each.pack().number()));
    }
    Files.deleteIfExists(directory.resolve(SpillJournal.NAME));
    Files.deleteIfExists(directory);
  }

  /** Removes the files if all is uploaded; otherwise leaves them to {@link Spill}. */
  @Override
  public void close() throws IOException {
    uploads.close();
    journal.close();
    synchronized (this) {
      for (Spilled each : packs.values()) {
        each.file().close();
      }
      if (uploaded && !gone) {
        gone = true;
        removeFiles();
      }
    }
  }

  @Override
  public String toString() {
    return "spill in " + directory + " for " + store.url();
  }
}
