package org.lifeboat.store;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;

/**
 * A folder of another store as a store of its own, over the other's connections; closing it closes
 * nothing. Not for {@code file://}, where uploads are kept per store: there open the folder itself.
 */
public final class SubStore implements ObjectStore {

  private final ObjectStore whole;
  private final String prefix;
  private final StoreUrl url;

  /**
   * @param folder a key, without slashes at its ends
   */
  public SubStore(ObjectStore whole, String folder) {
    StoreUrl outer = whole.url();
    if (outer.scheme().equals("file")) {
      throw new IllegalArgumentException("open " + outer + "/" + folder + " itself");
    }
    this.whole = whole;
    this.prefix = Keys.check(folder) + "/";
    this.url =
        new StoreUrl(
            outer.scheme(),
            outer.bucket(),
            outer.path().isEmpty() ? folder : outer.path() + "/" + folder);
  }

  @Override
  public StoreUrl url() {
    return url;
  }

  private String outer(String key) {
    return prefix + Keys.check(key);
  }

  private ObjectInfo inner(ObjectInfo info) {
    return new ObjectInfo(
        info.key().substring(prefix.length()),
        info.size(),
        info.version(),
        info.lastModifiedMillis());
  }

  @Override
  public Optional<ObjectInfo> head(String key) throws StoreException {
    return whole.head(outer(key)).map(this::inner);
  }

  @Override
  public ObjectInfo get(String key, long offset, ByteBuffer into) throws StoreException {
    return inner(whole.get(outer(key), offset, into));
  }

  @Override
  public ObjectInfo put(String key, ByteBuffer body, Precondition precondition)
      throws StoreException {
    return inner(whole.put(outer(key), body, precondition));
  }

  @Override
  public ListPage list(String prefixHere, String after) throws StoreException {
    ListPage page = whole.list(prefix + prefixHere, after.isEmpty() ? "" : prefix + after);
    return new ListPage(page.objects().stream().map(this::inner).toList(), page.more());
  }

  @Override
  public DirectoryPage listDirectory(String directory, String after) throws StoreException {
    DirectoryPage page =
        whole.listDirectory(
            prefix + Keys.checkDirectory(directory), after.isEmpty() ? "" : prefix + after);
    return new DirectoryPage(
        page.entries().stream()
            .<DirectoryEntry>map(
                entry ->
                    switch (entry) {
                      case ObjectInfo object -> inner(object);
                      case Directory(String key) -> new Directory(key.substring(prefix.length()));
                    })
            .toList(),
        page.more());
  }

  @Override
  public void delete(String key) throws StoreException {
    whole.delete(outer(key));
  }

  @Override
  public ObjectInfo copy(String from, String to, Precondition precondition) throws StoreException {
    return inner(whole.copy(outer(from), outer(to), precondition));
  }

  @Override
  public MultipartUpload upload(String key) throws StoreException {
    return new Upload(whole.upload(outer(key)));
  }

  @Override
  public MultipartUpload resume(String key, String uploadId) throws StoreException {
    return new Upload(whole.resume(outer(key), uploadId));
  }

  @Override
  public List<PendingUpload> uploads(String prefixHere) throws StoreException {
    return whole.uploads(prefix + prefixHere).stream()
        .map(
            upload ->
                new PendingUpload(
                    upload.key().substring(prefix.length()),
                    upload.uploadId(),
                    upload.startedMillis()))
        .toList();
  }

  @Override
  public void close() {
    // the connections are the whole store's
  }

  private final class Upload implements MultipartUpload {

    private final MultipartUpload upload;

    Upload(MultipartUpload upload) {
      this.upload = upload;
    }

    @Override
    public String key() {
      return upload.key().substring(prefix.length());
    }

    @Override
    public String id() {
      return upload.id();
    }

    @Override
    public Part part(int number, ByteBuffer body) throws StoreException {
      return upload.part(number, body);
    }

    @Override
    public List<Part> parts() throws StoreException {
      return upload.parts();
    }

    @Override
    public ObjectInfo complete(Precondition precondition) throws StoreException {
      return inner(upload.complete(precondition));
    }

    @Override
    public void abort() throws StoreException {
      upload.abort();
    }
  }
}
