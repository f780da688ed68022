package org.lifeboat.serve;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.lifeboat.page.ImageId;

/** Where pages go that were read. Images, entries and ends come on one thread, writes on many. */
interface PageTarget {

  /** An image begins; the one before had its {@link Image#end}. */
  Image image(ImageId image) throws IOException;

  /** One image. */
  interface Image {

    /** A pagemap entry. */
    void entry(long vaddr, long pages, int flags) throws IOException;

    /**
     * Pages that are not zero. All writes of an image are over before {@link #close}, not before
     * {@link #end}.
     *
     * @param offset of the first one among the image's present pages, in bytes
     */
    void write(long offset, ByteBuffer pages) throws IOException;

    /**
     * There are no further entries.
     *
     * @param length of all present pages, in bytes
     */
    void end(long length) throws IOException;

    /** Nothing follows: on any thread, once. */
    void close() throws IOException;
  }
}
