package org.lifeboat.protocol;

import org.lifeboat.page.ImageId;
import org.lifeboat.page.PagemapFlags;

/**
 * The rules of a dump's messages, one after the other: images are opened once each, one at a time;
 * the entries of an image ascend and do not overlap; there are no holes, because no dump that we
 * take has a parent; nothing follows the end.
 *
 * <p>It holds no pages and does no I/O, so that it can be tested by the million. Not thread-safe.
 */
public final class DumpDialogue {

  /** More images than a tree has processes and shared memory segments; they take 16 MiB here. */
  private static final int MAX_IMAGES = 1 << 20;

  private final int pageSize;
  private final ImageSet opened = new ImageSet();
  private ImageId current;
  private long end;
  private boolean closed;
  private long entries;
  private long pages;

  /**
   * @param pageSize of the dumped host, in bytes
   */
  public DumpDialogue(int pageSize) {
    this.pageSize = pageSize;
  }

  /**
   * Takes the next message, or refuses it.
   *
   * @throws ProtocolException when it must not come now; the dialogue is over then
   */
  public void accept(PageMessage message) throws ProtocolException {
    if (closed) {
      throw new ProtocolException(message + " after the end");
    }
    switch (message.command()) {
      case OPEN2 -> {
        ImageId image = message.image();
        if (opened.size() == MAX_IMAGES) {
          throw new ProtocolException(message + ": more than " + MAX_IMAGES + " images");
        }
        if (!opened.add(image)) {
          throw new ProtocolException(message + ": " + image + " was opened before");
        }
        current = image;
        end = 0;
      }
      case PARENT -> message.image();
      case ADD_F -> add(message);
      case CLOSE, FORCE_CLOSE -> {
        closed = true;
        if (opened.size() == 0) {
          throw new ProtocolException("CRIU ended the dump before it had opened an image");
        }
      }
    }
  }

  private void add(PageMessage message) throws ProtocolException {
    ImageId image = message.image();
    if (!image.equals(current)) {
      throw new ProtocolException(
          message + ": " + image + " is not the open image, which is " + current);
    }
    int flags = message.flags();
    if ((flags & ~PagemapFlags.KNOWN) != 0) {
      throw new ProtocolException(message + ": unknown flags");
    }
    if ((flags & PagemapFlags.PARENT) != 0) {
      throw new ProtocolException(
          message
              + ": refers to a parent, but no dump here has one (do not pass --prev-images-dir)");
    }
    if ((flags & PagemapFlags.PRESENT) == 0) {
      throw new ProtocolException(
          message + ": comes without its pages (do not pass --lazy-pages to criu dump)");
    }
    if (message.vaddr() < end) {
      throw new ProtocolException(
          message + ": lies before 0x" + Long.toHexString(end) + ", where the last entry ended");
    }
    end = message.vaddr() + message.pages() * pageSize;
    entries++;
    pages = Math.addExact(pages, message.pages());
  }

  /** Whether the end came, and all before it was right. */
  public boolean complete() {
    return closed && opened.size() > 0;
  }

  /** The number of images that were opened. */
  public int images() {
    return opened.size();
  }

  /** The number of entries so far. */
  public long entries() {
    return entries;
  }

  /** The number of pages that the entries so far announced. */
  public long pages() {
    return pages;
  }
}
