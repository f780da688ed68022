package org.lifeboat.vfs;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.util.Optional;
import java.util.function.LongPredicate;
import org.lifeboat.cache.Cache;
import org.lifeboat.cache.CacheException;
import org.lifeboat.cache.Readahead;
import org.lifeboat.cache.VersionChangedException;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.FileSystemStat;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.sys.Stat;

/** Contents in a {@link Cache}. */
public final class CacheContents implements Contents {

  private final Cache cache;
  private final BytePath directory;

  /**
   * @param directory the cache's
   */
  public CacheContents(Cache cache, BytePath directory) {
    this.cache = cache;
    this.directory = directory;
  }

  @Override
  public Content create(long id) throws IOException {
    return new Held(cache.create(id));
  }

  @Override
  public Content attach(long id, String object, String version, long size, Source source)
      throws IOException {
    org.lifeboat.cache.Origin origin = new org.lifeboat.cache.Origin(object, version, size);
    try {
      return new Held(cache.attach(id, origin, source(source)));
    } catch (CacheException e) {
      if (e.errno() != Errno.EEXIST) {
        throw e;
      }
      // somebody had it open for writing and died before it could be said that nothing was changed
      return new Held(cache.find(id).orElseThrow(() -> e));
    }
  }

  private static org.lifeboat.cache.Source source(Source source) {
    return (offset, into) -> {
      try {
        source.read(offset, into);
      } catch (VfsException e) {
        if (e.errno() == Errno.ESTALE) {
          throw new VersionChangedException(e.getMessage(), e);
        }
        throw e;
      }
    };
  }

  @Override
  public Optional<Content> find(long id) throws IOException {
    return cache.find(id).map(Held::new);
  }

  @Override
  public void discard(long id) throws IOException {
    Optional<org.lifeboat.cache.Content> found = cache.find(id);
    if (found.isPresent()) {
      try (org.lifeboat.cache.Content content = found.get()) {
        content.discard();
      }
    }
  }

  @Override
  public void retain(LongPredicate nodes) throws IOException {
    for (long id : cache.dirty()) {
      if (!nodes.test(id)) {
        discard(id);
      }
    }
  }

  @Override
  public FileSystemStat room() throws IOException {
    return Libc.statfs(directory);
  }

  @Override
  public void sync() throws IOException {
    try (OpenFile open = OpenFile.directory(directory)) {
      open.syncFileSystem();
    }
  }

  private static final class Held implements Content {

    private final org.lifeboat.cache.Content content;
    private boolean pinned;

    Held(org.lifeboat.cache.Content content) {
      this.content = content;
    }

    private synchronized void pin() {
      if (!pinned) {
        content.pin();
        pinned = true;
      }
    }

    private synchronized void unpin() throws IOException {
      if (pinned) {
        pinned = false;
        content.unpin();
      }
    }

    @Override
    public boolean isDirty() {
      return content.isDirty();
    }

    @Override
    public boolean isWhole() {
      return content.isWhole();
    }

    @Override
    public boolean isLocal(long offset, long length) {
      return content.isLocal(offset, length);
    }

    @Override
    public void makeWhole() throws IOException {
      pin();
      boolean done = false;
      try {
        content.makeWhole();
        done = true;
      } finally {
        if (!done) {
          unpin();
        }
      }
    }

    @Override
    public int read(long offset, MemorySegment into) throws IOException {
      return content.read(offset, into);
    }

    @Override
    public Reader reader() {
      Readahead readahead = content.readahead();
      return readahead::read;
    }

    @Override
    public void write(long offset, MemorySegment from) throws IOException {
      content.write(offset, from);
    }

    @Override
    public void truncate(long size) throws IOException {
      content.truncate(size);
    }

    @Override
    public void allocate(int mode, long offset, long length) throws IOException {
      content.allocate(mode, offset, length);
    }

    @Override
    public long nextData(long offset) throws IOException {
      return content.nextData(offset);
    }

    @Override
    public long nextHole(long offset) throws IOException {
      return content.nextHole(offset);
    }

    @Override
    public int fd() throws IOException {
      pin();
      return content.fd();
    }

    @Override
    public Stat stat() throws IOException {
      return content.stat();
    }

    @Override
    public void markDirty() throws IOException {
      content.markDirty();
    }

    @Override
    public void markClean(String object, String version, long size, Source source)
        throws IOException {
      Stat now = content.stat();
      if (now.size() == size) {
        content.markClean(
            new org.lifeboat.cache.Origin(object, version, size), source(source), now);
      }
    }

    @Override
    public void sync() throws IOException {
      content.sync(false);
    }

    @Override
    public void close() throws IOException {
      try {
        unpin();
      } finally {
        content.close();
      }
    }
  }
}
