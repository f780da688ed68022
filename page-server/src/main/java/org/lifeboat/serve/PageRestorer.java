package org.lifeboat.serve;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;
import org.lifeboat.page.ImageId;
import org.lifeboat.store.ObjectStore;

/**
 * Writes the page images of a dump into a directory, as CRIU reads them: for each address space a
 * {@code pagemap-*.img} with the entries as they were received, and a {@code pages-N.img} with
 * their pages one after the other.
 *
 * <p>Everything is read and verified before CRIU starts: an eager restore keeps the copy-on-write
 * sharing of forked processes, and fails cleanly. Zero pages are holes of the pages file, but are
 * in the pagemap, so that they come back as zeros: left out, a page of a private file mapping would
 * come back as the file's bytes.
 *
 * <p>N counts from 0x10001 on, as CRIU's own page server does, because the dumping side numbers its
 * files from 1 on. Thread-safe.
 */
public final class PageRestorer {

  private static final long FIRST_PAGES_ID = 0x10001;

  private final ObjectStore store;
  private final RestoreConfig config;
  private final RestoreObserver observer;

  public PageRestorer(ObjectStore store, RestoreConfig config, RestoreObserver observer) {
    this.store = store;
    this.config = config;
    this.observer = observer;
  }

  /**
   * Writes the images. When it fails, the directory holds incomplete ones.
   *
   * @param indexFile {@code pages.index}, fetched and compared with the manifest's SHA-256 before
   * @param directory to write to; must exist and have no such files
   * @throws org.lifeboat.page.PageFormatException when the index or a pack is damaged
   * @throws org.lifeboat.store.StoreException when a pack cannot be read
   */
  public RestoredPages restore(Path indexFile, Path directory) throws IOException {
    try (PageReading reading =
        new PageReading(store, indexFile, config, new ImageDirectory(directory), observer)) {
      return reading.run();
    }
  }

  private static final class ImageDirectory implements PageTarget {
    private final Path directory;
    private long nextId = FIRST_PAGES_ID;

    ImageDirectory(Path directory) {
      this.directory = directory;
    }

    @Override
    public Image image(ImageId image) throws IOException {
      long id = nextId++;
      return new ImageFiles(
          new PagemapFile(create(directory.resolve(image.pagemapName())), id),
          create(directory.resolve("pages-" + id + ".img")));
    }

    private static FileChannel create(Path file) throws IOException {
      FileAttribute<Set<PosixFilePermission>> mode =
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"));
      return FileChannel.open(
          file, Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE), mode);
    }
  }

  private static final class ImageFiles implements PageTarget.Image {
    private final PagemapFile pagemap;
    private final FileChannel pages;
    private volatile long length;

    ImageFiles(PagemapFile pagemap, FileChannel pages) {
      this.pagemap = pagemap;
      this.pages = pages;
    }

    @Override
    public void entry(long vaddr, long count, int flags) throws IOException {
      pagemap.entry(vaddr, count, flags);
    }

    @Override
    public void write(long offset, ByteBuffer bytes) throws IOException {
      long at = offset;
      while (bytes.hasRemaining()) {
        at += pages.write(bytes, at);
      }
    }

    @Override
    public void end(long bytes) throws IOException {
      length = bytes;
      pagemap.close();
    }

    @Override
    public void close() throws IOException {
      try (pages;
          pagemap) {
        // a last page that is a hole does not make the file long enough
        if (pages.size() < length) {
          pages.write(ByteBuffer.allocate(1), length - 1);
        }
      }
    }
  }
}
