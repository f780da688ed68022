package org.lifeboat.receive;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import org.lifeboat.page.PackInfo;
import org.lifeboat.page.PackNames;
import org.lifeboat.page.PartSink;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore;

/**
 * Sends each part to the object store at once: a part is safe when the store has it.
 *
 * <p>An upload must be begun before its first part can be sent. {@link #prepare} does so for the
 * first pack when nobody waits for it yet; otherwise the tasks would, frozen, for a reply of the
 * store.
 */
public final class UploadSink implements PartSink {

  private final ObjectStore store;
  private final PackNames names;
  private final Map<String, MultipartUpload> uploads = new LinkedHashMap<>();
  private final Map<String, PackInfo> complete = new LinkedHashMap<>();
  private FutureTask<MultipartUpload> prepared;

  public UploadSink(ObjectStore store, PackNames names) {
    this.store = store;
    this.names = names;
  }

  @Override
  public void prepare() {
    FutureTask<MultipartUpload> task = new FutureTask<>(() -> store.upload(names.key(0)));
    synchronized (this) {
      if (prepared != null || !uploads.isEmpty() || !complete.isEmpty()) {
        throw new IllegalStateException("prepared or begun before");
      }
      prepared = task;
    }
    Thread.ofVirtual().name("lifeboat-upload").start(task);
  }

  @Override
  public String begin(int number) throws IOException {
    String key = names.key(number);
    Optional<MultipartUpload> ready = number == 0 ? takePrepared() : Optional.empty();
    MultipartUpload upload = ready.isPresent() ? ready.get() : store.upload(key);
    synchronized (this) {
      if (uploads.put(key, upload) != null) {
        throw new IllegalStateException("two packs of the key " + key);
      }
    }
    return key;
  }

  /** The upload that was prepared, whoever asks for it first. */
  private Optional<MultipartUpload> takePrepared() throws IOException {
    FutureTask<MultipartUpload> task;
    synchronized (this) {
      task = prepared;
      prepared = null;
    }
    if (task == null) {
      return Optional.empty();
    }
    try {
      return Optional.of(task.get());
    } catch (InterruptedException e) {
      synchronized (this) {
        prepared = task; // for abort
      }
      Thread.currentThread().interrupt();
      InterruptedIOException interrupted =
          new InterruptedIOException("interrupted while an upload was begun");
      interrupted.initCause(e);
      throw interrupted;
    } catch (ExecutionException e) {
      throw e.getCause() instanceof IOException cause
          ? cause
          : new IOException("beginning an upload failed: " + e.getCause(), e.getCause());
    }
  }

  private synchronized MultipartUpload upload(String key) {
    return uploads.get(key);
  }

  @Override
  public void part(String key, int number, ByteBuffer body, String sha256) throws IOException {
    upload(key).part(number, body);
  }

  @Override
  public void complete(PackInfo pack) throws IOException {
    Completion.complete(store, upload(pack.key()), pack.length());
    synchronized (this) {
      uploads.remove(pack.key());
      complete.put(pack.key(), pack);
    }
  }

  @Override
  public void seal() throws IOException {
    Optional<MultipartUpload> unused = takePrepared();
    if (unused.isPresent()) {
      unused.get().abort();
    }
    synchronized (this) {
      complete.clear();
    }
  }

  @Override
  public void abort() throws IOException {
    IOException failure = null;
    try {
      Optional<MultipartUpload> unused = takePrepared();
      if (unused.isPresent()) {
        unused.get().abort();
      }
    } catch (IOException e) {
      failure = e;
    }
    abortBegun(failure);
  }

  private synchronized void abortBegun(IOException earlier) throws IOException {
    IOException failure = earlier;
    for (MultipartUpload upload : uploads.values()) {
      try {
        upload.abort();
      } catch (IOException e) {
        failure = first(failure, e);
      }
    }
    for (String key : complete.keySet()) {
      try {
        store.delete(key);
      } catch (IOException e) {
        failure = first(failure, e);
      }
    }
    uploads.clear();
    complete.clear();
    if (failure != null) {
      throw failure;
    }
  }

  private static IOException first(IOException failure, IOException e) {
    if (failure == null) {
      return e;
    }
    failure.addSuppressed(e);
    return failure;
  }
}
