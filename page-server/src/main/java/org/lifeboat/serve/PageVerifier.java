package org.lifeboat.serve;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import org.lifeboat.page.ImageId;
import org.lifeboat.store.ObjectStore;

/**
 * Reads all pages of a dump as a restore would, checks all that a restore checks, and writes
 * nothing. Thread-safe.
 */
public final class PageVerifier {

  private final ObjectStore store;
  private final RestoreConfig config;
  private final RestoreObserver observer;

  public PageVerifier(ObjectStore store, RestoreConfig config, RestoreObserver observer) {
    this.store = store;
    this.config = config;
    this.observer = observer;
  }

  /**
   * Reads everything.
   *
   * @param indexFile {@code pages.index}
   * @throws IOException as {@link PageRestorer#restore}
   */
  public RestoredPages verify(Path indexFile) throws IOException {
    try (PageReading reading = new PageReading(store, indexFile, config, new Nowhere(), observer)) {
      return reading.run();
    }
  }

  private static final class Nowhere implements PageTarget, PageTarget.Image {

    @Override
    public Image image(ImageId image) {
      return this;
    }

    @Override
    public void entry(long vaddr, long pages, int flags) {}

    @Override
    public void write(long offset, ByteBuffer pages) {}

    @Override
    public void end(long length) {}

    @Override
    public void close() {}
  }
}
