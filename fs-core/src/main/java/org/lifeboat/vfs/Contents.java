package org.lifeboat.vfs;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.function.LongPredicate;
import org.lifeboat.sys.FileSystemStat;
import org.lifeboat.sys.Stat;

/**
 * The bytes of regular files, by their nodes' ids: what {@link FileTree} needs of a cache, and no
 * more. Thread-safe. An IOException that carries an error number gives it to the program.
 */
public interface Contents {

  /** Bytes of one version of one object. */
  @FunctionalInterface
  interface Source {
    /** Fills the buffer from that offset on, or fails. */
    void read(long offset, ByteBuffer into) throws IOException;
  }

  /** A new, empty content, which is in no store. Open. */
  Content create(long id) throws IOException;

  /** A content as the store has it, of which nothing need be here yet. Open. */
  Content attach(long id, String object, String version, long size, Source source)
      throws IOException;

  /** A content that was created, or changed, and is here. Open. */
  Optional<Content> find(long id) throws IOException;

  /** Removes the bytes, whether they are anywhere else or not. None must be open. */
  void discard(long id) throws IOException;

  /** Removes what is dirty here and belongs to no node any more. */
  void retain(LongPredicate nodes) throws IOException;

  /** The file system that the contents lie on. */
  FileSystemStat room() throws IOException;

  /** Forces all of them to the disk. */
  void sync() throws IOException;

  /** Reads as one handle does. */
  @FunctionalInterface
  interface Reader {
    /** As {@link Content#read}. */
    int read(long offset, MemorySegment into) throws IOException;
  }

  /** A content that is open, until it is closed: it is not evicted meanwhile. */
  interface Content extends AutoCloseable {

    /** Whether it is not, or may not be, what the store has. */
    boolean isDirty();

    /** Whether all bytes are here. */
    boolean isWhole();

    /** Whether a read of that range waits for nothing but the disk. */
    boolean isLocal(long offset, long length);

    /** Fetches what is not here. It stays here then, until the content is closed. */
    void makeWhole() throws IOException;

    /** Bytes read; less than asked for only at the end. Fetches what is not here. */
    int read(long offset, MemorySegment into) throws IOException;

    /** For one handle: as {@link #read}, and fetches ahead of it. */
    Reader reader();

    /** Writes all of it. The content is whole and dirty. */
    void write(long offset, MemorySegment from) throws IOException;

    /** The content is whole and dirty, or the size is 0. */
    void truncate(long size) throws IOException;

    /** As fallocate(2). */
    void allocate(int mode, long offset, long length) throws IOException;

    /** The next data from there on; -1 if there is none. */
    long nextData(long offset) throws IOException;

    /** The next hole from there on; -1 behind the end. */
    long nextHole(long offset) throws IOException;

    /** A descriptor, for reading and writing, of the file that has the bytes at their offsets. */
    int fd() throws IOException;

    Stat stat() throws IOException;

    /**
     * From now on it is not what the store has, and is never evicted. Must be whole, or is cut
     * next.
     */
    void markDirty() throws IOException;

    /** It turned out that it is what the store has. */
    void markClean(String object, String version, long size, Source source) throws IOException;

    /** Forces it to the disk. */
    void sync() throws IOException;

    @Override
    void close() throws IOException;
  }
}
