package org.lifeboat.receive;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import org.lifeboat.page.PackInfo;
import org.lifeboat.page.PackNames;
import org.lifeboat.page.PartSink;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore;

/** Sends each part to the object store at once: a part is safe when the store has it. */
public final class UploadSink implements PartSink {

  private final ObjectStore store;
  private final PackNames names;
  private final Map<String, MultipartUpload> uploads = new LinkedHashMap<>();
  private final Map<String, PackInfo> complete = new LinkedHashMap<>();

  public UploadSink(ObjectStore store, PackNames names) {
    this.store = store;
    this.names = names;
  }

  @Override
  public String begin(int number) throws IOException {
    String key = names.key(number);
    MultipartUpload upload = store.upload(key);
    synchronized (this) {
      if (uploads.put(key, upload) != null) {
        throw new IllegalStateException("two packs of the key " + key);
      }
    }
    return key;
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
  public synchronized void seal() {
    complete.clear();
  }

  @Override
  public synchronized void abort() throws IOException {
    IOException failure = null;
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
