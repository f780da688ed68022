package org.lifeboat.cache;

import java.io.IOException;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.sys.Stat;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A directory of contents on a local disk. Thread-safe.
 *
 * <p><b>Eviction</b> is by age of the last read. A content that nobody uses goes as one, by
 * removing its files: whoever an earlier process passed it through to keeps reading the right
 * bytes, which holes punched into the file would make zeros. Of a content in use spans of {@link
 * Blocks#SPAN} blocks go, so that one file that is larger than the cache can be read through it.
 * Dirty and pinned contents stay, whatever happens. Victims are looked for by sorting all contents
 * by their age, and then enough of them go for some time (a 64th of the cache): a list in order
 * would have to be changed, by all readers under one lock, at each read.
 *
 * <p>What is on the disk is drawn in {@link Layout}. In memory a content that was not used yet
 * takes about 400 bytes.
 */
public final class Cache implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(Cache.class);
  private static final int STRIPES = 64;

  /** Looks for victims, when all that were found were used or locked at that moment. */
  private static final int ATTEMPTS = 50;

  private static final long BUSY_NANOS = 100_000;
  private static final long ROOM_FOR_A_FILE = 1 << 20;

  private final Layout layout;
  private final Tuning tuning;
  private final Clock clock;
  private final CrashPoints points;
  private final Room room;
  private final Fetches fetches;
  private final Buffers buffers;
  private final AtomicLong fetched = new AtomicLong();
  private final ConcurrentMap<Long, Content> contents = new ConcurrentHashMap<>();

  /** Whoever makes or removes the content of an id has the lock of the id. */
  private final ReentrantLock[] stripes = new ReentrantLock[STRIPES];

  private Cache(Layout layout, Limits limits, Clock clock, CrashPoints points, Tuning tuning) {
    this.layout = layout;
    this.tuning = tuning;
    this.clock = clock;
    this.points = points;
    BytePath directory = layout.directory();
    this.room = new Room(directory, limits, () -> free(directory), this::evict);
    this.fetches = new Fetches(tuning.requests(), tuning.fetchBytes());
    this.buffers = new Buffers(tuning.blockSize(), tuning.runBytes());
    for (int i = 0; i < STRIPES; i++) {
      stripes[i] = new ReentrantLock();
    }
  }

  private static long free(BytePath directory) throws CacheException {
    try {
      return Libc.statfs(directory).available();
    } catch (ErrnoException e) {
      throw CacheException.of("ask for free space", e);
    }
  }

  /**
   * Opens a cache, or makes one; takes its lock, and puts in order what a killed engine left.
   *
   * @param directory of its own; it and what is above it are made if need be
   * @param clock for the age of contents, also across openings
   * @throws CacheException EBUSY when another process has it open (which is named), EINVAL when a
   *     newer Lifeboat made it, ENOTEMPTY when it is no cache, EIO when it is damaged
   */
  public static Cache open(BytePath directory, Limits limits, Clock clock) throws CacheException {
    return open(directory, limits, clock, CrashPoints.NONE);
  }

  /** As {@link #open(BytePath, Limits, Clock)}. */
  public static Cache open(BytePath directory, Limits limits, Clock clock, CrashPoints points)
      throws CacheException {
    return open(directory, limits, clock, points, Tuning.usual());
  }

  static Cache open(
      BytePath directory, Limits limits, Clock clock, CrashPoints points, Tuning tuning)
      throws CacheException {
    Layout layout = Layout.open(directory, points);
    Cache cache = new Cache(layout, limits, clock, points, tuning);
    try {
      cache.recover();
      return cache;
    } catch (ErrnoException e) {
      CacheException failure = CacheException.of("open cache", e);
      cache.closeAfter(failure);
      throw failure;
    } catch (CacheException | RuntimeException e) {
      cache.closeAfter(e);
      throw e;
    }
  }

  private void closeAfter(Exception failure) {
    try {
      close();
    } catch (CacheException more) {
      failure.addSuppressed(more);
    }
  }

  // ---- contents

  /**
   * A new content: empty, dirty, whole.
   *
   * @param id never used before
   * @return in use; to be closed
   * @throws CacheException EEXIST when there is a content of this id
   */
  public Content create(long id) throws CacheException {
    ReentrantLock stripe = lock(id);
    try {
      if (contents.containsKey(id)) {
        throw new CacheException(
            Errno.EEXIST, "create", layout.dirty(id), "there is a content of this id", "");
      }
      return make("create", () -> make(id));
    } finally {
      stripe.unlock();
    }
  }

  /**
   * The content of an object: clean, with what is still here of that version; nothing is fetched
   * yet. What is here of another version is dropped.
   *
   * @return in use; to be closed
   * @throws CacheException EEXIST when it is dirty: {@link #find} it; EBUSY when another version of
   *     it is in use, which needs another id
   */
  public Content attach(long id, Origin origin, Source source) throws CacheException {
    ReentrantLock stripe = lock(id);
    try {
      Optional<Content> found = use(id);
      if (found.isPresent()) {
        Content there = found.get();
        boolean keep = false;
        try {
          keep = fits(there, origin);
          if (keep) {
            there.source(source);
            return there;
          }
        } finally {
          if (!keep) {
            there.close();
          }
        }
        remove(there);
      }
      return make("attach", () -> make(id, origin, source));
    } catch (ErrnoException e) {
      throw CacheException.of("attach", e);
    } finally {
      stripe.unlock();
    }
  }

  private Content make(long id) throws ErrnoException {
    OpenFile file = layout.create(layout.dirty(id));
    points.at(CachePoint.CACHE_CREATED);
    Content content = Content.created(this, id, file);
    contents.put(id, content);
    return content;
  }

  private boolean fits(Content there, Origin origin) throws CacheException {
    if (there.isDirty()) {
      throw new CacheException(
          Errno.EEXIST,
          "attach",
          layout.dirty(there.id()),
          "it has changes that are in no store yet",
          "upload them first");
    }
    if (there.origin().equals(Optional.of(origin))) {
      return true;
    }
    if (there.isShared()) {
      throw new CacheException(
          Errno.EBUSY,
          "attach",
          origin.object(),
          "version "
              + there.origin().map(Origin::version).orElse("unknown")
              + " is in use, version "
              + origin.version()
              + " was asked for",
          "give the new version an id of its own");
    }
    return false;
  }

  private interface Making {
    Content make() throws ErrnoException, CacheException;
  }

  /** Evicts for it, when the disk is full. */
  private Content make(String operation, Making making) throws CacheException {
    while (true) {
      try {
        return making.make();
      } catch (ErrnoException e) {
        CacheException failure = CacheException.of(operation, e);
        if (!failure.isNoSpace() || !room.relieve(ROOM_FOR_A_FILE)) {
          throw failure;
        }
      }
    }
  }

  private Content make(long id, Origin origin, Source source)
      throws ErrnoException, CacheException {
    Blocks blocks = new Blocks(origin.size(), tuning.blockSize(origin.size()));
    OpenFile file = null;
    Content content = null;
    try {
      long length = BlockMap.write(layout.create(layout.map(id)), id, origin, blocks);
      points.at(CachePoint.CACHE_MAP);
      file = layout.create(layout.clean(id));
      points.at(CachePoint.CACHE_FILE);
      file.truncate(origin.size());
      content = Content.attached(this, id, file, origin, blocks, length);
      content.source(source);
      contents.put(id, content);
      return content;
    } finally {
      if (content == null) {
        if (file != null) {
          file.close();
        }
        Layout.remove(layout.clean(id));
        Layout.remove(layout.map(id));
      }
    }
  }

  /**
   * The content of an id, if there is one; clean or dirty. A clean one reads what is here; what is
   * not can only be fetched when it was attached.
   *
   * @return in use; to be closed
   */
  public Optional<Content> find(long id) throws CacheException {
    ReentrantLock stripe = lock(id);
    try {
      return use(id);
    } catch (ErrnoException e) {
      throw CacheException.of("find", e);
    } finally {
      stripe.unlock();
    }
  }

  /** One more use of a content that can be believed; another is removed. */
  private Optional<Content> use(long id) throws ErrnoException, CacheException {
    Content there = contents.get(id);
    if (there == null) {
      return Optional.empty();
    }
    try {
      if (!there.use()) {
        contents.remove(id, there);
        return Optional.empty();
      }
    } catch (ErrnoException e) {
      if (!e.isAbsent()) {
        throw e;
      }
      log.warn("{} is gone", layout.clean(id));
      remove(there);
      return Optional.empty();
    }
    boolean keep = false;
    try {
      there.load();
      keep = true;
      return Optional.of(there);
    } catch (BlockMap.DamagedException e) {
      log.warn("{} is dropped: {}", layout.clean(id), e.getMessage());
      return Optional.empty();
    } catch (ErrnoException | CacheException e) {
      throw e;
    } catch (IOException e) {
      throw new CacheException(
          Errno.EIO.number(), "read", layout.map(id).toString(), e.getMessage(), "", e);
    } finally {
      if (!keep) {
        there.close();
        if (!there.isDirty()) {
          remove(there);
        }
      }
    }
  }

  /** The ids of all contents that are the only copy of something, in order. */
  public List<Long> dirty() {
    return contents.values().stream().filter(Content::isDirty).map(Content::id).sorted().toList();
  }

  void discard(Content content) throws CacheException {
    ReentrantLock stripe = lock(content.id());
    try {
      remove(content);
    } finally {
      stripe.unlock();
    }
  }

  /** The stripe of the id is locked. */
  private void remove(Content content) throws CacheException {
    try {
      content.remove();
    } finally {
      if (content.isGone()) {
        contents.remove(content.id(), content);
      }
    }
  }

  private ReentrantLock stripe(long id) {
    return stripes[(int) (id & (STRIPES - 1))];
  }

  private ReentrantLock lock(long id) {
    ReentrantLock stripe = stripe(id);
    stripe.lock();
    return stripe;
  }

  // ---- the whole

  public Usage usage() {
    return new Usage(
        contents.size(), room.used(), room.dirty(), fetches.under(), fetched.get(), room.evicted());
  }

  /**
   * Whether contents can be sealed without a copy; found out by trying it with two small files.
   *
   * @return {@link Seal.Sealed} (of a file that is gone again), or why not
   */
  public Seal canReflink() throws CacheException {
    try {
      return Reflink.probe(layout.directory());
    } catch (ErrnoException e) {
      throw CacheException.of("try to share blocks", e);
    }
  }

  private long evict(long bytes) {
    long freed = 0;
    for (int attempt = 0; attempt < ATTEMPTS && freed == 0; attempt++) {
      if (attempt > 0) {
        LockSupport.parkNanos(BUSY_NANOS);
      }
      List<Content.Victim> victims = new ArrayList<>();
      contents.values().forEach(content -> content.offer(victims));
      if (victims.isEmpty()) {
        break;
      }
      victims.sort(Comparator.comparingLong(Content.Victim::used));
      for (Content.Victim victim : victims) {
        if (freed >= bytes) {
          break;
        }
        freed += evict(victim);
      }
    }
    return freed;
  }

  private long evict(Content.Victim victim) {
    Content content = victim.content();
    try {
      return victim.span() < 0 ? evictIdle(content) : content.evict(victim);
    } catch (CacheException e) {
      log.warn("{}", e.getMessage());
      return 0;
    }
  }

  private long evictIdle(Content content) throws CacheException {
    ReentrantLock stripe = stripe(content.id());
    if (!stripe.tryLock()) {
      return 0; // somebody is about to use it, or one of its neighbours
    }
    try {
      return content.evictIdle();
    } finally {
      if (content.isGone()) {
        contents.remove(content.id(), content);
      }
      stripe.unlock();
    }
  }

  /** What of an id lies on the disk. */
  private static final class Pieces {
    boolean clean;
    boolean dirty;
    boolean map;
  }

  private void recover() throws ErrnoException, CacheException {
    int removed = 0;
    int foreign = 0;
    int dirty = 0;
    removed += Layout.remove(layout.directory().resolve("layout.tmp")) ? 1 : 0;
    removed += Layout.remove(layout.directory().resolve("reflink.tmp")) ? 1 : 0;
    removed += Layout.remove(layout.directory().resolve("reflink-copy.tmp")) ? 1 : 0;
    for (byte[] folder : Libc.list(layout.contents())) {
      BytePath path = layout.contents().resolve(folder);
      if (!Libc.lstat(path).isDirectory()) {
        foreign++;
        continue;
      }
      Map<Long, Pieces> found = new HashMap<>();
      for (byte[] name : Libc.list(path)) {
        Optional<Layout.Name> parsed =
            Layout.Name.parse(name).filter(n -> layout.folder(n.id()).equals(path));
        if (parsed.isEmpty()) {
          foreign++;
          continue;
        }
        long id = parsed.get().id();
        Pieces pieces = found.computeIfAbsent(id, i -> new Pieces());
        switch (parsed.get().suffix()) {
          case "" -> pieces.clean = true;
          case Layout.DIRTY -> pieces.dirty = true;
          case Layout.MAP -> pieces.map = true;
          default -> removed += Layout.remove(layout.temporary(id)) ? 1 : 0;
        }
      }
      for (Map.Entry<Long, Pieces> each : found.entrySet()) {
        removed += recover(each.getKey(), each.getValue());
        dirty += each.getValue().dirty ? 1 : 0;
      }
    }
    if (removed > 0 || foreign > 0 || dirty > 0) {
      log.info(
          "{}: {} contents of which {} are not in the store yet; removed {} leftovers of a killed"
              + " process, {} unknown files are left alone",
          layout.directory(),
          contents.size(),
          dirty,
          removed,
          foreign);
    }
  }

  /** Takes over what is there of an id, or removes it; the number of files removed. */
  private int recover(long id, Pieces pieces) throws ErrnoException, CacheException {
    int removed = 0;
    if (pieces.clean && (pieces.dirty || !pieces.map)) {
      removed += Layout.remove(layout.clean(id)) ? 1 : 0;
      pieces.clean = false;
    }
    if (pieces.map && !pieces.clean && !pieces.dirty) {
      removed += Layout.remove(layout.map(id)) ? 1 : 0;
    }
    if (pieces.clean || pieces.dirty) {
      Stat content = Libc.lstat(pieces.dirty ? layout.dirty(id) : layout.clean(id));
      Optional<Stat> map = pieces.map ? Optional.of(Libc.lstat(layout.map(id))) : Optional.empty();
      contents.put(id, Content.found(this, id, pieces.dirty, content, map));
    }
    return removed;
  }

  /** Interrupts fetches, closes all files, writes down when contents were used, lets others in. */
  @Override
  public void close() throws CacheException {
    fetches.close();
    CacheException failure = null;
    for (Content content : contents.values()) {
      try {
        content.shut();
        if (content.wasUsed()) {
          Libc.setModified(layout.map(content.id()), Instant.ofEpochMilli(content.used()));
        }
      } catch (ErrnoException e) {
        failure = CacheException.of("close", e);
      } catch (CacheException e) {
        failure = e;
      }
    }
    contents.clear();
    buffers.close();
    try {
      layout.close();
    } catch (ErrnoException e) {
      failure = CacheException.of("close", e);
    }
    if (failure != null) {
      throw failure;
    }
  }

  // ---- what contents need

  Layout layout() {
    return layout;
  }

  Tuning tuning() {
    return tuning;
  }

  Room room() {
    return room;
  }

  Fetches fetches() {
    return fetches;
  }

  Buffers buffers() {
    return buffers;
  }

  CrashPoints points() {
    return points;
  }

  long now() {
    return clock.millis();
  }

  void fetched(long bytes) {
    fetched.addAndGet(bytes);
  }
}
