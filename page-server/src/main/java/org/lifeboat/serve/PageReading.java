package org.lifeboat.serve;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import org.lifeboat.page.Compression;
import org.lifeboat.page.Digests;
import org.lifeboat.page.FrameCodec;
import org.lifeboat.page.FrameRef;
import org.lifeboat.page.ImageId;
import org.lifeboat.page.IndexReader;
import org.lifeboat.page.IndexTotals;
import org.lifeboat.page.IndexVisitor;
import org.lifeboat.page.PackFrame;
import org.lifeboat.page.PackReader;
import org.lifeboat.page.PageFormatException;
import org.lifeboat.store.ObjectStore;

/**
 * Reads all pages that an index tells of: the index in one pass on the caller's thread, the parts
 * in parallel behind it. Frames are checked and decompressed where their part was fetched, in runs
 * of pages that lie next to each other, and handed to the target with their place.
 *
 * <p>That every page comes exactly once is the index reader's to prove (each page of each entry has
 * one frame) and the pack reader's (each frame is handed out, or it fails).
 */
final class PageReading implements AutoCloseable {

  /** Room for a run of pages, in bytes. */
  static final int WORK_BYTES = 1 << 20;

  private final IndexReader index;
  private final PackReader<Frame> packs;
  private final PageTarget target;
  private final RestoreObserver observer;
  private final int pageSize;
  private final Arena arena = Arena.ofShared();
  private final AtomicLong fetched = new AtomicLong();

  private final Object lock = new Object();
  private final ArrayDeque<Worker> idle = new ArrayDeque<>();
  private final Set<Open> open = new HashSet<>();

  /** A frame and where its pages go. */
  private record Frame(
      int pack,
      long offset,
      int length,
      Compression.Codec codec,
      int crc32c,
      int present,
      int zero,
      long firstPage,
      Open image)
      implements PackFrame {}

  /** An image, and how many of its frames are still to be written. */
  private static final class Open {
    private final ImageId id;
    private final PageTarget.Image image;
    private long pending = 1;

    Open(ImageId id, PageTarget.Image image) {
      this.id = id;
      this.image = image;
    }
  }

  /** Decompresses on one thread at a time, and collects pages that lie next to each other. */
  private static final class Worker {
    private final FrameCodec codec = new FrameCodec();
    private final ByteBuffer bytes;

    /** What is decompressed and not yet written: from {@code start} to {@code end}. */
    private int start;

    private int end;
    private PageTarget.Image image;
    private long offset;

    Worker(ByteBuffer bytes) {
      this.bytes = bytes;
    }

    void begin() {
      start = 0;
      end = 0;
      image = null;
    }

    /** Where that many bytes can be decompressed to, behind what is waiting. */
    int room(int length) throws IOException {
      if (end + length > bytes.capacity()) {
        flush();
      }
      return end;
    }

    /** The next bytes that were decompressed belong there. */
    void add(PageTarget.Image to, long at, int length) throws IOException {
      if (!to.equals(image) || at != offset + (end - start)) {
        write();
        image = to;
        offset = at;
      }
      end += length;
    }

    /** Writes what is waiting, and begins anew at the buffer's start. */
    void flush() throws IOException {
      write();
      start = 0;
      end = 0;
    }

    private void write() throws IOException {
      if (image != null && end > start) {
        image.write(offset, bytes.slice(start, end - start));
        offset += end - start;
      }
      start = end;
    }
  }

  PageReading(
      ObjectStore store,
      Path indexFile,
      RestoreConfig config,
      PageTarget target,
      RestoreObserver observer)
      throws IOException {
    this.index = IndexReader.open(indexFile);
    this.pageSize = index.pageSize();
    this.target = target;
    this.observer = observer;
    this.packs = new PackReader<>(store, index.packs(), config.parts(), this::part);
  }

  /** Reads everything. May be called once. */
  RestoredPages run() throws IOException {
    long start = System.nanoTime();
    Images images = new Images();
    index.read(images);
    images.endImage();
    packs.finish();
    IndexTotals totals = index.totals();
    return new RestoredPages(
        totals.images(),
        totals.pages(),
        totals.zeroPages(),
        totals.pages() * pageSize,
        fetched.get(),
        (System.nanoTime() - start) / 1e9);
  }

  private final class Images implements IndexVisitor {
    private Open current;
    private long pages;

    @Override
    public void image(ImageId image) throws IOException {
      endImage();
      current = new Open(image, target.image(image));
      synchronized (lock) {
        open.add(current);
      }
      pages = 0;
    }

    @Override
    public void entry(long vaddr, long count, int flags) throws IOException {
      current.image.entry(vaddr, count, flags);
    }

    @Override
    public void frame(
        long firstPage, int present, int zero, Compression.Codec codec, int crc32c, FrameRef ref)
        throws IOException {
      pages = firstPage + present;
      if (ref != null) {
        synchronized (lock) {
          current.pending++;
        }
        packs.add(
            new Frame(
                ref.pack(),
                ref.offset(),
                ref.length(),
                codec,
                crc32c,
                present,
                zero,
                firstPage,
                current));
      }
    }

    void endImage() throws IOException {
      if (current != null) {
        current.image.end(pages * pageSize);
        Open ended = current;
        current = null;
        done(ended, 1);
      }
    }
  }

  private void done(Open image, long frames) throws IOException {
    boolean last;
    synchronized (lock) {
      image.pending -= frames;
      last = image.pending == 0;
      if (last) {
        open.remove(image);
      }
    }
    if (last) {
      image.image.close();
    }
  }

  private Worker worker() {
    synchronized (lock) {
      Worker worker = idle.poll();
      return worker != null ? worker : new Worker(arena.allocate(WORK_BYTES, 4096).asByteBuffer());
    }
  }

  private void part(List<Frame> frames, PackReader.Part part) throws IOException {
    Worker worker = worker();
    try {
      long raw = 0;
      worker.begin();
      for (Frame frame : frames) {
        raw += frame(worker, frame, part);
      }
      worker.flush();
      for (Frame frame : frames) {
        done(frame.image(), 1);
      }
      fetched.addAndGet(part.bytes().limit());
      observer.partDone(part.bytes().limit(), raw);
    } finally {
      synchronized (lock) {
        idle.push(worker);
      }
    }
  }

  private long frame(Worker worker, Frame frame, PackReader.Part part) throws IOException {
    int at = part.indexOf(frame);
    if (Digests.crc32c(part.bytes(), at, frame.length()) != frame.crc32c()) {
      throw new PageFormatException(
          part.key(), frame.offset(), "the checksum of a frame is wrong, " + frame.image().id);
    }
    int raw = (frame.present() - Integer.bitCount(frame.zero())) * pageSize;
    int from = worker.room(raw);
    try {
      worker.codec.decompress(
          frame.codec(), part.bytes(), at, frame.length(), worker.bytes, from, raw);
    } catch (IllegalArgumentException e) {
      throw new PageFormatException(
          part.key(), frame.offset(), e.getMessage() + ", " + frame.image().id, e);
    }
    int page = 0;
    while (page < frame.present()) {
      if ((frame.zero() >>> page & 1) != 0) {
        page++;
        continue;
      }
      int first = page;
      while (page < frame.present() && (frame.zero() >>> page & 1) == 0) {
        page++;
      }
      worker.add(
          frame.image().image, (frame.firstPage() + first) * pageSize, (page - first) * pageSize);
    }
    return raw;
  }

  /** Stops what runs, and gives everything back, the images too that were not ended. */
  @Override
  public void close() throws IOException {
    packs.close();
    IOException failure = null;
    for (Open image : open) {
      try {
        image.image.close();
      } catch (IOException e) {
        if (failure == null) {
          failure = e;
        } else {
          failure.addSuppressed(e);
        }
      }
    }
    open.clear();
    idle.forEach(worker -> worker.codec.close());
    arena.close();
    index.close();
    if (failure != null) {
      throw failure;
    }
  }
}
