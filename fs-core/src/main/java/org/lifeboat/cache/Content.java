package org.lifeboat.cache;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.StampedLock;
import java.util.zip.CRC32C;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.sys.Stat;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The bytes of one file. Got from a {@link Cache}, and given back by {@link #close} as often as it
 * was got; all methods may be called by many threads at once in between.
 *
 * <p><b>Clean</b>: a copy of one version of an object, of which any blocks may be here. A block
 * that is missing is fetched when it is read, once, whoever waits for it; one that an earlier
 * process left is compared with its checksum before its first use, and fetched again if it is
 * damaged. When there is no room for a block, not even by eviction, it is read past the cache: a
 * reader never fails for want of room.
 *
 * <p><b>Dirty</b>: the only copy, always whole. Its bytes are a plain file, which the kernel may
 * write to without our knowledge (passthrough), so nothing is known of it but what stat tells, and
 * it has no checksums. Only whole or empty contents become dirty: {@link #pin} and {@link
 * #makeWhole} come before the first write, but for a truncation to nothing. Writing into holes,
 * with a map of what is local, was rejected: it makes every later question (what to upload, what a
 * kill left, whether to pass through) one of parts, to save the fetch of a file that is rewritten
 * in place, which is rare.
 *
 * <p><b>Locks</b>: {@code lock} is shared by who reads and adds, exclusive for who takes blocks
 * away or changes the state; nobody waits for a source while holding it. Inside of it come the
 * monitors {@code use} (users, pins, descriptors) and {@code charge} (accounting), and {@code
 * flights} before {@code use}. Room is asked for while none of them is held, as that may evict from
 * any content.
 */
public final class Content implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(Content.class);

  /** Attempts to read from the file before a reader goes to the source by itself. */
  private static final int ATTEMPTS = 4;

  private static final int FALLOC_FL_PUNCH_HOLE = 2;
  private static final int FALLOC_FL_COLLAPSE_RANGE = 8;
  private static final int SECTOR = 512;
  private static final long PAGE = 4096;
  private static final long UNSETTLED = 8 << 20;
  private static final int RUNS_AT_ONCE = 8;

  private enum State {
    CLEAN,
    DIRTY,
    GONE
  }

  private final Cache cache;
  private final long id;
  private final StampedLock lock = new StampedLock();
  private volatile State state;
  private volatile long used;
  private long foundUsed;
  private volatile Source source;
  private volatile boolean suspect;
  // null: unknown, or there is none
  private volatile Origin origin;
  // null while dirty, and until the map was read
  private volatile Blocks blocks;
  private final AtomicLong writes = new AtomicLong();

  private final Object use = new Object();
  private int users;
  private int flying;
  private int pins;
  private volatile OpenFile file;
  private BlockMap map;

  private final Map<Integer, Flight> flights = new HashMap<>();

  private final Object charge = new Object();
  private long charged;
  private long promised;
  private long mapBytes;

  private Content(Cache cache, long id, State state, long used) {
    this.cache = cache;
    this.id = id;
    this.state = state;
    this.used = used;
  }

  // ---- how the cache makes them; it lets no two threads do so with one id

  /** One that lies on the disk. */
  static Content found(Cache cache, long id, boolean dirty, Stat content, Optional<Stat> map)
      throws CacheException {
    Instant read = map.orElse(content).mtime();
    Content found = new Content(cache, id, dirty ? State.DIRTY : State.CLEAN, read.toEpochMilli());
    found.foundUsed = found.used;
    found.suspect = dirty;
    found.mapBytes = map.map(stat -> pages(stat.size())).orElse(0L);
    found.settle(content, 0);
    return found;
  }

  /** A new one, empty and dirty; used once. */
  static Content created(Cache cache, long id, OpenFile file) {
    Content created = new Content(cache, id, State.DIRTY, cache.now());
    created.file = file;
    created.users = 1;
    return created;
  }

  /** A new one of an object, nothing of which is here; used once. */
  static Content attached(
      Cache cache, long id, OpenFile file, Origin origin, Blocks blocks, long mapLength)
      throws CacheException {
    Content attached = new Content(cache, id, State.CLEAN, cache.now());
    attached.file = file;
    attached.users = 1;
    attached.origin = origin;
    attached.blocks = blocks;
    attached.mapBytes = pages(mapLength);
    attached.settle(null, 0);
    return attached;
  }

  private static long pages(long bytes) {
    return Math.ceilDiv(bytes, PAGE) * PAGE;
  }

  /** Counts one more user; false when it is gone. */
  boolean use() throws ErrnoException {
    synchronized (use) {
      if (state == State.GONE) {
        return false;
      }
      if (users == 0) {
        file = OpenFile.write(path());
      }
      users++;
      return true;
    }
  }

  /** Whether somebody other than the caller, and fetches that are not waited for, uses it. */
  boolean isShared() {
    synchronized (use) {
      return users - flying > 1;
    }
  }

  /**
   * Reads the map, unless that was done. In use by the caller, the cache keeps others away.
   *
   * @throws BlockMap.DamagedException when map or file can't be believed; only of a clean one
   */
  void load() throws IOException {
    if (state == State.CLEAN ? blocks != null : origin != null) {
      return;
    }
    BytePath path = cache.layout().map(id);
    try (OpenFile in = OpenFile.read(path)) {
      BlockMap.Loaded loaded = BlockMap.load(in, id);
      origin = loaded.origin();
      if (state == State.CLEAN) {
        long length = file.stat().size();
        if (length != loaded.origin().size()) {
          throw new BlockMap.DamagedException(
              "the file has " + length + " bytes instead of " + loaded.origin().size());
        }
        blocks = loaded.blocks();
      }
    } catch (BlockMap.DamagedException e) {
      if (state == State.CLEAN) {
        throw e;
      }
      log.warn("{}: {}; the version that the file was made from is unknown", path, e.getMessage());
    } catch (ErrnoException e) {
      if (!e.isAbsent()) {
        throw e;
      }
      if (state == State.CLEAN) {
        throw new BlockMap.DamagedException("the map is gone");
      }
    }
  }

  /** What is here; null while it is dirty or gone. */
  Blocks blocks() {
    return blocks;
  }

  void source(Source newer) {
    source = newer;
  }

  // ---- what anybody may ask

  public long id() {
    return id;
  }

  /** Whether this is the only copy. */
  public boolean isDirty() {
    return state == State.DIRTY;
  }

  /**
   * Whether it was found dirty when the cache was opened, and not made clean since: written by an
   * earlier process, maybe after whatever that one wrote down about it, and by processes that held
   * it by passthrough maybe until now.
   */
  public boolean isSuspect() {
    return suspect;
  }

  /**
   * Of a clean content what it is a copy of; of a dirty one what it was a copy of before. Empty
   * when it is new, or when that is not known any more.
   */
  public Optional<Origin> origin() {
    return Optional.ofNullable(origin);
  }

  /** Bytes. */
  public long size() throws CacheException {
    Origin of = origin;
    return state == State.CLEAN && of != null ? of.size() : stat().size();
  }

  /** The file in the cache: size and times; of a dirty content those that count. */
  public Stat stat() throws CacheException {
    long stamp = lock.readLock();
    try {
      Stat stat = file("stat").stat();
      if (state == State.DIRTY) {
        settle(stat, 0);
      }
      return stat;
    } catch (ErrnoException e) {
      throw CacheException.of("stat", e);
    } finally {
      lock.unlockRead(stamp);
    }
  }

  /**
   * Whether every byte is here and was found good: whether the file may be passed through. Of what
   * an earlier process fetched that is not known before {@link #makeWhole}.
   */
  public boolean isWhole() {
    long stamp = lock.readLock();
    try {
      return wholeNow();
    } finally {
      lock.unlockRead(stamp);
    }
  }

  private boolean wholeNow() {
    Blocks now = blocks;
    return state == State.DIRTY || (state == State.CLEAN && now != null && now.isWhole());
  }

  /** Whether a read of that range needs no bytes from the store: whether it will not wait long. */
  public boolean isLocal(long offset, long length) {
    Blocks now = blocks;
    if (now == null || now.isWhole() || length <= 0 || offset >= now.size()) {
      return true;
    }
    int last = now.blockOf(Math.min(now.size(), offset + length) - 1);
    for (int i = now.blockOf(offset); i <= last; i++) {
      if (now.state(i) == Blocks.ABSENT) {
        return false;
      }
    }
    return true;
  }

  // ---- reading

  /**
   * Reads; waits for what has to be fetched.
   *
   * @param into native memory
   * @return bytes read: the length asked for, less at the end of the file, 0 beyond it
   * @throws CacheException ESTALE when the store has another version now, EINTR when the thread is
   *     interrupted, EIO when the bytes can't be had
   */
  public int read(long offset, MemorySegment into) throws CacheException {
    for (int attempt = 0; ; attempt++) {
      Blocks now;
      int damaged;
      long n;
      long stamp = lock.readLock();
      try {
        OpenFile from = file("read");
        now = blocks;
        touch();
        if (state == State.DIRTY) {
          return fill(from, offset, into);
        }
        n = Math.min(into.byteSize(), now.size() - offset);
        if (n <= 0) {
          return 0;
        }
        int first = now.blockOf(offset);
        int last = now.blockOf(offset + n - 1);
        damaged = firstBad(now, first, last);
        if (damaged < 0 && isLocal(offset, n)) {
          now.touch(first, last, used);
          if (isFilled(from, offset, slice(into, n))) {
            return (int) n;
          }
          damaged = first;
        }
      } catch (ErrnoException e) {
        throw CacheException.of("read", e);
      } finally {
        lock.unlockRead(stamp);
      }
      if (damaged >= 0) {
        drop(now, damaged);
      }
      if (attempt == ATTEMPTS) {
        return past(offset, slice(into, n));
      }
      try {
        fetch(now.blockOf(offset), now.blockOf(offset + n - 1));
      } catch (CacheException e) {
        if (!e.isNoSpace()) {
          throw e;
        }
        return past(offset, slice(into, n));
      }
    }
  }

  private static MemorySegment slice(MemorySegment into, long n) {
    return n == into.byteSize() ? into : into.asSlice(0, n);
  }

  private static int fill(OpenFile from, long offset, MemorySegment into) throws ErrnoException {
    int done = from.read(into, offset);
    while (done > 0 && done < into.byteSize()) {
      int n = from.read(into.asSlice(done), offset + done);
      if (n == 0) {
        break;
      }
      done += n;
    }
    return done;
  }

  private static boolean isFilled(OpenFile from, long offset, MemorySegment into)
      throws ErrnoException {
    try {
      return fill(from, offset, into) == into.byteSize();
    } catch (ErrnoException e) {
      if (e.errno() == Errno.EIO) {
        return false;
      }
      throw e;
    }
  }

  /** Checks what was not checked yet; the first damaged block, or -1. */
  private int firstBad(Blocks now, int first, int last) throws CacheException {
    for (int i = first; i <= last; i++) {
      if (now.state(i) == Blocks.UNVERIFIED) {
        if (!isGood(now, i)) {
          return i;
        }
        now.verified(i);
      }
    }
    return -1;
  }

  private boolean isGood(Blocks now, int block) throws CacheException {
    long bytes = now.length(block, 1);
    try (Buffers.Buffer buffer = cache.buffers().take(bytes)) {
      MemorySegment memory = buffer.first(bytes);
      return isFilled(file, now.offset(block), memory) && checksum(memory) == now.checksum(block);
    } catch (ErrnoException e) {
      throw CacheException.of("read", e);
    }
  }

  private static int checksum(MemorySegment memory) {
    CRC32C sum = new CRC32C();
    sum.update(memory.asByteBuffer());
    return (int) sum.getValue();
  }

  /** Takes a damaged block away, so that it is fetched again. */
  private void drop(Blocks of, int block) throws CacheException {
    long stamp = lock.writeLock();
    try {
      if (blocks != of || of.state(block) == Blocks.ABSENT) {
        return;
      }
      log.warn("{}: block {} is damaged and will be fetched again", path(), block);
      map().erase(block, 1);
      of.absent(block);
    } catch (ErrnoException e) {
      throw CacheException.of("drop a damaged block", e);
    } finally {
      lock.unlockWrite(stamp);
    }
  }

  /** Reads from the source into the reader's memory. */
  private int past(long offset, MemorySegment into) throws CacheException {
    ask(offset, into);
    return (int) into.byteSize();
  }

  private void ask(long offset, MemorySegment memory) throws CacheException {
    Source from = source;
    Origin of = origin;
    if (from == null || of == null) {
      throw new CacheException(
          Errno.EIO, "fetch", path(), "nothing tells where its bytes come from", "attach it first");
    }
    ByteBuffer into = memory.asByteBuffer();
    try {
      from.read(offset, into);
    } catch (VersionChangedException e) {
      throw new CacheException(
          Errno.ESTALE.number(),
          "read",
          of.object(),
          "version " + of.version() + " was opened, the store has " + e.found() + " now",
          "open the file again",
          e);
    } catch (IOException e) {
      throw new CacheException(
          Errno.EIO.number(), "read", of.object(), String.valueOf(e.getMessage()), "", e);
    }
    if (into.hasRemaining()) {
      throw new CacheException(
          Errno.EIO,
          "read",
          of.object(),
          into.remaining() + " bytes are missing of those from " + offset + " on",
          "");
    }
    cache.fetched(memory.byteSize());
  }

  // ---- fetching

  /** Fetches what is missing of blocks first to last, and waits for it. */
  private void fetch(int first, int last) throws CacheException {
    for (boolean again = true; ; again = false) {
      List<Flight> waiting = new ArrayList<>();
      Set<Flight> own = new HashSet<>();
      claim(first, last + 1, 1, false, waiting, own);
      boolean failedBefore = false;
      for (Flight flight : waiting) {
        try {
          flight.await(name());
        } catch (CacheException e) {
          boolean hopeless = e.errno() == Errno.EINTR || e.errno() == Errno.ESTALE;
          if (hopeless || own.contains(flight) || !again) {
            throw e;
          }
          failedBefore = true; // it began before this reader came: nobody has tried for him yet
        }
      }
      if (!failedBefore) {
        return;
      }
    }
  }

  /**
   * Fetches blocks that nobody waits for, as far as there is capacity to spare.
   *
   * @param run most blocks of one request
   * @return the first block that was not looked at
   */
  int fetchAhead(int from, int to, int run) {
    if (cache.room().isTight()) {
      return from;
    }
    return claim(from, to, run, true, new ArrayList<>(), new HashSet<>());
  }

  /**
   * Starts what is absent and not under way.
   *
   * @param under gets all that is under way then
   * @param fresh gets what was started
   * @return the first block that was not looked at
   */
  private int claim(
      int from, int end, int run, boolean ahead, List<Flight> under, Set<Flight> fresh) {
    Blocks now = blocks;
    if (now == null) {
      return end;
    }
    int to = Math.min(end, now.count());
    List<Flight> starting = new ArrayList<>();
    int at = from;
    synchronized (flights) {
      while (at < to) {
        Flight there = flights.get(at);
        if (there != null) {
          under.add(there);
          at = there.first + there.count;
          continue;
        }
        int n = 0;
        while (n < run && at + n < to && isFree(now, at + n)) {
          n++;
        }
        if (n == 0) {
          at++;
          continue;
        }
        if (ahead && !cache.fetches().tryAdmit(now.length(at, n))) {
          break;
        }
        Flight flight = new Flight(now, at, n, ahead);
        takeOff();
        for (int i = at; i < at + n; i++) {
          flights.put(i, flight);
        }
        starting.add(flight);
        under.add(flight);
        at += n;
      }
    }
    fresh.addAll(starting);
    for (Flight flight : starting) {
      start(flight);
    }
    return at;
  }

  private boolean isFree(Blocks now, int block) {
    return now.state(block) == Blocks.ABSENT && !flights.containsKey(block);
  }

  private void takeOff() {
    synchronized (use) {
      if (users == 0) {
        throw new IllegalStateException("content " + id + " was closed");
      }
      users++;
      flying++;
    }
  }

  private void start(Flight flight) {
    Fetches.Request request =
        new Fetches.Request() {
          private CacheException failure;

          @Override
          public void run() {
            failure = fly(flight);
          }

          @Override
          public void interrupted() {
            failure = closing(null);
          }

          @Override
          public void end() {
            land(flight, failure);
          }
        };
    try {
      cache.fetches().start(flight.bytes(), flight.ahead, request);
    } catch (RuntimeException e) {
      land(flight, closing(e));
    }
  }

  private CacheException closing(RuntimeException cause) {
    return new CacheException(
        Errno.EIO.number(), "read", name(), "the cache is being closed", "", cause);
  }

  /** Null when it succeeded. */
  private CacheException fly(Flight flight) {
    try {
      bring(flight);
      return null;
    } catch (CacheException e) {
      return e;
    } catch (RuntimeException | Error e) {
      return new CacheException(Errno.EIO.number(), "read", name(), "unexpected: " + e, "", e);
    }
  }

  private void land(Flight flight, CacheException failure) {
    synchronized (flights) {
      for (int i = flight.first; i < flight.first + flight.count; i++) {
        flights.remove(i, flight);
      }
    }
    CacheException result = failure;
    try {
      synchronized (use) {
        flying--;
      }
      close();
    } catch (CacheException e) {
      if (result == null) {
        result = e;
      } else {
        result.addSuppressed(e);
      }
    }
    flight.land(result);
  }

  private void bring(Flight flight) throws CacheException {
    long bytes = flight.bytes();
    long room = pages(bytes);
    cache.room().reserve(room);
    try (Buffers.Buffer buffer = cache.buffers().take(bytes)) {
      MemorySegment memory = buffer.first(bytes);
      ask(flight.offset(), memory);
      int[] checksums = new int[flight.count];
      for (int i = 0; i < flight.count; i++) {
        long from = flight.blocks.offset(flight.first + i) - flight.offset();
        checksums[i] = checksum(memory.asSlice(from, flight.blocks.length(flight.first + i, 1)));
      }
      while (true) {
        try {
          store(flight, memory, checksums);
          return;
        } catch (ErrnoException e) {
          CacheException failure = CacheException.of("store", e);
          if (!failure.isNoSpace() || !cache.room().relieve(room)) {
            throw failure;
          }
        }
      }
    } finally {
      settle(null, room);
    }
  }

  private void store(Flight flight, MemorySegment memory, int[] checksums) throws ErrnoException {
    long stamp = lock.readLock();
    try {
      if (state != State.CLEAN || blocks != flight.blocks) {
        return; // emptied or discarded meanwhile
      }
      file.write(memory, flight.offset());
      cache.points().at(CachePoint.CACHE_STORED);
      map().record(flight.first, checksums);
      cache.points().at(CachePoint.CACHE_RECORDED);
      for (int i = 0; i < checksums.length; i++) {
        flight.blocks.present(flight.first + i, checksums[i]);
      }
      flight.blocks.touch(flight.first, flight.first + flight.count - 1, cache.now());
    } finally {
      lock.unlockRead(stamp);
    }
  }

  /**
   * Fetches all that is missing, by several requests at once, and checks what an earlier process
   * left. Nothing of it is evicted meanwhile; {@link #pin} before keeps it so.
   *
   * @throws CacheException as {@link #read}; ENOSPC when it does not fit, what was fetched stays
   */
  public void makeWhole() throws CacheException {
    if (isWhole()) {
      return;
    }
    pin();
    try {
      for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        Blocks now = blocks;
        if (now == null) {
          file("fetch").path();
          return; // dirty
        }
        if (now.size() > cache.room().limits().maxBytes()) {
          throw new CacheException(
              Errno.ENOSPC,
              "fetch",
              name(),
              "its " + now.size() + " bytes are more than the cache may hold",
              "give the cache a greater size than " + cache.room().limits().maxBytes());
        }
        fetchAll(now);
        if (isWhole()) {
          return;
        }
      }
      throw new CacheException(
          Errno.EIO,
          "fetch",
          path(),
          "what was fetched is damaged again and again",
          "check the disk");
    } finally {
      unpin();
    }
  }

  private void fetchAll(Blocks now) throws CacheException {
    int run = Math.max(1, cache.tuning().runBytes() / now.blockSize());
    Deque<Flight> under = new ArrayDeque<>();
    Set<Flight> own = new HashSet<>();
    CacheException failure = null;
    int at = 0;
    while (at < now.count() || !under.isEmpty()) {
      Flight oldest = null;
      try {
        if (at < now.count() && failure == null && under.size() < RUNS_AT_ONCE) {
          int to = Math.min(now.count(), at + run);
          check(now, at, to);
          List<Flight> more = new ArrayList<>();
          at = claim(at, to, run, false, more, own);
          under.addAll(more);
        } else if (under.isEmpty()) {
          break;
        } else {
          oldest = under.remove();
          oldest.await(name());
        }
      } catch (CacheException e) {
        if (e.errno() == Errno.EINTR) {
          throw e;
        }
        boolean tried = oldest == null || own.contains(oldest) || e.errno() == Errno.ESTALE;
        if (failure == null && tried) {
          failure = e;
        }
      }
    }
    if (failure != null) {
      throw failure;
    }
  }

  private void check(Blocks now, int from, int to) throws CacheException {
    int at = from;
    while (at < to) {
      int bad;
      long stamp = lock.readLock();
      try {
        if (blocks != now) {
          return;
        }
        bad = firstBad(now, at, to - 1);
      } finally {
        lock.unlockRead(stamp);
      }
      if (bad < 0) {
        return;
      }
      drop(now, bad);
      at = bad + 1;
    }
  }

  // ---- writing

  /**
   * From now on this is the only copy; before the first write, also by passthrough. Nothing happens
   * when it is dirty already.
   *
   * @throws CacheException EINVAL when it is not whole
   */
  public void markDirty() throws CacheException {
    if (state == State.DIRTY) {
      return;
    }
    long stamp = lock.writeLock();
    try {
      file("write");
      if (state == State.DIRTY) {
        return;
      }
      if (!wholeNow()) {
        throw new CacheException(
            Errno.EINVAL,
            "write",
            path(),
            "parts of it are still in the store",
            "make it whole first");
      }
      becomeDirty();
    } catch (ErrnoException e) {
      throw CacheException.of("write", e);
    } finally {
      lock.unlockWrite(stamp);
    }
  }

  /** The lock is held, the file is whole or empty. */
  private void becomeDirty() throws ErrnoException {
    Libc.rename(cache.layout().clean(id), cache.layout().dirty(id));
    blocks = null;
    synchronized (charge) {
      state = State.DIRTY;
      cache.room().addDirty(charged);
    }
    cache.points().at(CachePoint.CACHE_DIRTY);
  }

  private interface Change {
    void on(OpenFile file) throws ErrnoException;
  }

  /**
   * Changes the bytes of a content that is dirty then.
   *
   * @param growth most bytes of disk that it can take
   */
  private void change(String operation, long growth, Change change) throws CacheException {
    promise(growth);
    while (true) {
      markDirty();
      CacheException failure;
      long stamp = lock.readLock();
      try {
        OpenFile to = file(operation);
        if (state != State.DIRTY) {
          continue; // became clean just now
        }
        try {
          change.on(to);
        } finally {
          writes.incrementAndGet();
          touch();
        }
        return;
      } catch (ErrnoException e) {
        failure = CacheException.of(operation, e);
      } finally {
        lock.unlockRead(stamp);
      }
      if (!failure.isNoSpace() || !cache.room().relieve(Math.max(growth, UNSETTLED))) {
        throw failure;
      }
    }
  }

  /**
   * Writes all of it. The content becomes dirty.
   *
   * @param from native memory
   * @return bytes written, all
   * @throws CacheException EINVAL when it is not whole; ENOSPC when the cache or its disk is full,
   *     a part may be written then; EFBIG
   */
  public int write(long offset, MemorySegment from) throws CacheException {
    long bytes = from.byteSize();
    Change writing = to -> to.write(from, offset);
    try {
      change("write", pages(bytes), writing);
    } catch (CacheException e) {
      if (!e.isNoSpace() || !isAllocated(offset, bytes)) {
        throw e;
      }
      change("write", 0, writing); // it needs no room
    }
    return (int) bytes;
  }

  private boolean isAllocated(long offset, long length) throws CacheException {
    long hole = nextHole(offset);
    return hole >= 0 && hole >= offset + length;
  }

  /**
   * Sets the length. The content becomes dirty. It must be whole, but for a length of 0, which
   * takes away what is here and fetches nothing.
   */
  public void truncate(long size) throws CacheException {
    if (size == 0 && empty()) {
      return;
    }
    change("truncate", 0, to -> to.truncate(size));
    settleWrites();
  }

  /** Empties a clean content; false if it is dirty. */
  private boolean empty() throws CacheException {
    long stamp = lock.writeLock();
    try {
      OpenFile all = file("truncate");
      if (state == State.DIRTY) {
        return false;
      }
      // not whole by any length any more, so a kill here leaves a clean content that is dropped
      all.truncate(0);
      cache.points().at(CachePoint.CACHE_EMPTIED);
      becomeDirty();
      writes.incrementAndGet();
    } catch (ErrnoException e) {
      throw CacheException.of("truncate", e);
    } finally {
      lock.unlockWrite(stamp);
    }
    settleWrites();
    return true;
  }

  /**
   * fallocate(2). The content must be whole, and becomes dirty.
   *
   * @param mode its FALLOC_FL bits
   * @throws CacheException also EOPNOTSUPP, where the file system of the cache can't do it
   */
  public void allocate(int mode, long offset, long length) throws CacheException {
    boolean shrinks = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE)) != 0;
    change("fallocate", shrinks ? 0 : pages(length), to -> to.allocate(mode, offset, length));
    settleWrites();
  }

  /** Takes the blocks of a range from the file, which reads as zeros then; its length stays. */
  public void punch(long offset, long length) throws CacheException {
    allocate(FALLOC_FL_PUNCH_HOLE | 1, offset, length);
  }

  /**
   * fsync(2) or fdatasync(2) of the bytes, so that they survive a loss of power.
   *
   * @param dataOnly fdatasync
   */
  public void sync(boolean dataOnly) throws CacheException {
    long stamp = lock.readLock();
    try {
      OpenFile all = file("fsync");
      if (dataOnly) {
        all.syncData();
      } else {
        all.sync();
      }
      settleWrites();
    } catch (ErrnoException e) {
      throw CacheException.of("fsync", e);
    } finally {
      lock.unlockRead(stamp);
    }
  }

  /** The next offset from this one on that holds data; -1 if there is none (ENXIO). */
  public long nextData(long offset) throws CacheException {
    return seek(offset, true);
  }

  /** The next offset from this one on where a hole begins, the end is one; -1 beyond the end. */
  public long nextHole(long offset) throws CacheException {
    return seek(offset, false);
  }

  private long seek(long offset, boolean data) throws CacheException {
    long stamp = lock.readLock();
    try {
      OpenFile all = file("lseek");
      if (wholeNow()) {
        return data ? all.nextData(offset) : all.nextHole(offset);
      }
      long size = blocks.size(); // whose holes are what was not fetched
      return offset >= size ? -1 : data ? offset : size;
    } catch (ErrnoException e) {
      throw CacheException.of("lseek", e);
    } finally {
      lock.unlockRead(stamp);
    }
  }

  // ---- becoming clean, sealing, going

  /**
   * The bytes are in the store. Reads all of them once, for their checksums. Nobody holds the
   * content open for writing by passthrough.
   *
   * @param copy what it is a copy of from now on
   * @param from where evicted blocks of it come from
   * @param uploaded the attributes from before the bytes were read for the upload
   * @return false when it was written to since then: it stays dirty
   */
  public boolean markClean(Origin copy, Source from, Stat uploaded) throws CacheException {
    if (copy.size() != uploaded.size()) {
      throw new IllegalArgumentException(copy + " is no copy of " + uploaded.size() + " bytes");
    }
    long seen = writes.get();
    if (state != State.DIRTY || !stat().sameVersion(uploaded)) {
      return false;
    }
    try {
      Blocks all = checksums(copy.size());
      if (all == null) {
        return false;
      }
      long stamp = lock.writeLock();
      try {
        if (state != State.DIRTY
            || writes.get() != seen
            || !file("mark clean").stat().sameVersion(uploaded)) {
          return false;
        }
        becomeClean(copy, from, all);
      } finally {
        lock.unlockWrite(stamp);
      }
      settleWrites();
      return true;
    } catch (ErrnoException e) {
      throw CacheException.of("mark clean", e);
    }
  }

  /** Null if the file is shorter by now. */
  private Blocks checksums(long size) throws CacheException, ErrnoException {
    Blocks all = new Blocks(size, cache.tuning().blockSize(size));
    try (Buffers.Buffer buffer = cache.buffers().take(Math.min(size, all.blockSize()))) {
      for (int i = 0; i < all.count(); i++) {
        MemorySegment memory = buffer.first(all.length(i, 1));
        long stamp = lock.readLock();
        try {
          if (fill(file("mark clean"), all.offset(i), memory) < memory.byteSize()) {
            return null;
          }
        } finally {
          lock.unlockRead(stamp);
        }
        all.present(i, checksum(memory));
      }
    }
    return all;
  }

  private void becomeClean(Origin copy, Source from, Blocks all) throws ErrnoException {
    Layout layout = cache.layout();
    BytePath temporary = layout.temporary(id);
    Layout.remove(temporary);
    long length = BlockMap.write(layout.create(temporary), id, copy, all);
    cache.points().at(CachePoint.CACHE_CLEAN_TEMPORARY);
    Libc.rename(temporary, layout.map(id));
    synchronized (use) {
      if (map != null) {
        map.close();
        map = null;
      }
    }
    cache.points().at(CachePoint.CACHE_CLEAN_MAP);
    Libc.rename(layout.dirty(id), layout.clean(id));
    origin = copy;
    source = from;
    blocks = all;
    all.touch(0, all.count() - 1, cache.now());
    suspect = false;
    synchronized (charge) {
      state = State.CLEAN;
      cache.room().addDirty(-charged);
      mapBytes = pages(length);
    }
    cache.points().at(CachePoint.CACHE_CLEAN);
  }

  /**
   * Makes a file that keeps the bytes as they are now, by sharing the blocks of the disk. It is not
   * counted as a part of the cache. With mapped writers first {@link #sync}: their stores are in
   * the file only then.
   *
   * @param to a new file of the same file system
   * @throws CacheException EINVAL when the content is not whole, EEXIST, ENOSPC
   */
  public Seal seal(BytePath to) throws CacheException {
    long stamp = lock.readLock();
    try {
      OpenFile from = file("seal");
      if (!wholeNow()) {
        throw new CacheException(
            Errno.EINVAL,
            "seal",
            path(),
            "parts of it are still in the store",
            "make it whole first");
      }
      return Reflink.clone(from, to, cache.points());
    } catch (ErrnoException e) {
      throw CacheException.of("seal", e);
    } finally {
      lock.unlockRead(stamp);
    }
  }

  /**
   * Removes the content, clean or dirty; who has its file open or mapped keeps it until he closes
   * it. Whatever is asked of it after that fails with ESTALE.
   */
  public void discard() throws CacheException {
    cache.discard(this);
  }

  /** Removes it; the cache keeps others from making it anew meanwhile. False if it was gone. */
  boolean remove() throws CacheException {
    long stamp = lock.writeLock();
    try {
      synchronized (use) {
        if (state == State.GONE) {
          return false;
        }
        unlink();
        return true;
      }
    } catch (ErrnoException e) {
      throw CacheException.of("remove", e);
    } finally {
      lock.unlockWrite(stamp);
    }
  }

  /** The monitor use is held, and the lock is, or nobody uses it. */
  private void unlink() throws ErrnoException {
    Layout.remove(path());
    synchronized (charge) {
      cache.room().add(-charged - promised);
      if (state == State.DIRTY) {
        cache.room().addDirty(-charged);
      }
      state = State.GONE;
      charged = 0;
      promised = 0;
    }
    blocks = null;
    cache.points().at(CachePoint.CACHE_REMOVING);
    Layout.remove(cache.layout().map(id));
  }

  // ---- use, pins, descriptors

  /**
   * Keeps everything of it that is here from eviction, until {@link #unpin}; counted. Comes before
   * {@link #makeWhole} and {@link #fd}, and lasts as long as the kernel may use the descriptor.
   */
  public void pin() {
    synchronized (use) {
      if (users == 0) {
        throw new IllegalStateException("content " + id + " was closed");
      }
      users++;
      pins++;
    }
    touch();
  }

  /** Takes one {@link #pin} back. */
  public void unpin() throws CacheException {
    synchronized (use) {
      if (pins == 0) {
        throw new IllegalStateException("content " + id + " is not pinned");
      }
      pins--;
    }
    close();
  }

  /**
   * The descriptor of the file, open for reading and writing, for passthrough. It stays the same
   * and open as long as the content is pinned. Who lets others write by it calls {@link #markDirty}
   * before.
   *
   * @throws IllegalStateException unless the content is pinned and whole
   */
  public int fd() throws CacheException {
    long stamp = lock.readLock();
    try {
      synchronized (use) {
        if (pins == 0 || !wholeNow()) {
          throw new IllegalStateException("content " + id + " is not pinned, or not whole");
        }
      }
      return file("open").fd();
    } finally {
      lock.unlockRead(stamp);
    }
  }

  /** A read-ahead for one handle. */
  public Readahead readahead() {
    return new Readahead(
        this, cache.tuning(), cache.room().limits().maxBytes(), cache.fetches().bytes());
  }

  /** Gives one use back; the last one closes the descriptors. */
  @Override
  public void close() throws CacheException {
    synchronized (use) {
      if (users == 0) {
        throw new IllegalStateException("content " + id + " was closed");
      }
      if (users > 1) {
        users--;
        return;
      }
      try {
        settleWrites();
      } finally {
        users = 0;
        closeFiles();
      }
    }
  }

  /** Closes descriptors, whoever uses them: the cache is being closed. */
  void shut() throws CacheException {
    synchronized (use) {
      closeFiles();
    }
  }

  private void closeFiles() throws CacheException {
    OpenFile closing = file;
    BlockMap more = map;
    file = null;
    map = null;
    try {
      try {
        if (more != null) {
          more.close();
        }
      } finally {
        if (closing != null) {
          closing.close();
        }
      }
    } catch (ErrnoException e) {
      throw CacheException.of("close", e);
    }
  }

  private OpenFile file(String operation) throws CacheException {
    OpenFile open = file;
    if (state == State.GONE || open == null) {
      throw new CacheException(
          Errno.ESTALE, operation, name(), "its content was discarded or closed", "");
    }
    return open;
  }

  private BlockMap map() throws ErrnoException {
    synchronized (use) {
      if (map == null) {
        map = BlockMap.open(cache.layout().map(id), id, origin, blocks.blockSize());
      }
      return map;
    }
  }

  private BytePath path() {
    return state == State.DIRTY ? cache.layout().dirty(id) : cache.layout().clean(id);
  }

  private String name() {
    Origin of = origin;
    return of == null ? path().toString() : of.object();
  }

  // ---- accounting

  private void touch() {
    used = cache.now();
  }

  long used() {
    return used;
  }

  /** Whether it has a map whose time tells an older use. */
  boolean wasUsed() {
    return state == State.CLEAN && used != foundUsed;
  }

  private void promise(long bytes) throws CacheException {
    if (bytes == 0) {
      return;
    }
    Room room = cache.room();
    boolean due;
    synchronized (charge) {
      due = promised + bytes > Math.min(UNSETTLED, room.limits().maxBytes() / 16);
    }
    if (due) {
      settleWrites();
    }
    try {
      room.reserve(bytes);
    } catch (CacheException full) {
      settleWrites();
      room.reserve(bytes);
    }
    synchronized (charge) {
      if (state == State.GONE) {
        room.add(-bytes);
      } else {
        promised += bytes;
      }
    }
  }

  private void settleWrites() throws CacheException {
    settle(null, -1);
  }

  /**
   * Counts what the file takes.
   *
   * @param known its attributes, or null
   * @param kept what was promised to a fetch, which is over; -1: what was promised to writes
   */
  private void settle(Stat known, long kept) throws CacheException {
    synchronized (charge) {
      long over = kept;
      if (kept < 0) {
        over = promised;
        promised = 0;
      }
      long now = charged;
      try {
        OpenFile open = file;
        if (state != State.GONE && (known != null || open != null)) {
          now = (known == null ? open.stat() : known).blocks() * SECTOR + mapBytes;
        }
      } catch (ErrnoException e) {
        throw CacheException.of("stat", e);
      } finally {
        cache.room().add(now - charged - over);
        if (state == State.DIRTY) {
          cache.room().addDirty(now - charged);
        }
        charged = now;
      }
    }
  }

  // ---- eviction

  /**
   * What can be evicted at once.
   *
   * @param span of blocks, or -1 for all
   */
  record Victim(Content content, int span, long used) {}

  /** Tells what of this could be evicted now. */
  void offer(List<Victim> victims) {
    synchronized (use) {
      if (state != State.CLEAN || pins > 0) {
        return;
      }
      if (users == 0) {
        victims.add(new Victim(this, -1, used));
        return;
      }
    }
    Blocks now = blocks;
    if (now != null) {
      for (int span = 0; span < now.spans(); span++) {
        if (anyPresent(now, span)) {
          victims.add(new Victim(this, span, now.used(span)));
        }
      }
    }
  }

  private static boolean anyPresent(Blocks now, int span) {
    int end = Math.min(now.count(), (span + 1) * Blocks.SPAN);
    for (int i = span * Blocks.SPAN; i < end; i++) {
      if (now.state(i) != Blocks.ABSENT) {
        return true;
      }
    }
    return false;
  }

  /** Removes the whole content if nobody uses it; bytes freed. The cache keeps others away. */
  long evictIdle() throws CacheException {
    synchronized (use) {
      if (state != State.CLEAN || users > 0) {
        return 0;
      }
      long freed = charged();
      try {
        unlink();
      } catch (ErrnoException e) {
        throw CacheException.of("evict", e);
      }
      return freed;
    }
  }

  boolean isGone() {
    return state == State.GONE;
  }

  private long charged() {
    synchronized (charge) {
      return charged;
    }
  }

  /** Takes a span of blocks away, unless it was read since; bytes freed. */
  long evict(Victim victim) throws CacheException {
    synchronized (use) {
      if (users == 0) {
        return 0;
      }
      users++;
      flying++; // which, unlike an owner's use, keeps no other version away
    }
    try {
      return evictInUse(victim);
    } finally {
      synchronized (use) {
        flying--;
      }
      close();
    }
  }

  private long evictInUse(Victim victim) throws CacheException {
    long stamp = lock.writeLock();
    try {
      Blocks now = blocks;
      synchronized (use) {
        if (state != State.CLEAN || pins > 0 || now == null) {
          return 0;
        }
      }
      if (victim.span() >= now.spans() || now.used(victim.span()) != victim.used()) {
        return 0;
      }
      long before = charged();
      evictSpan(now, victim.span());
      settle(null, 0);
      return Math.max(0, before - charged());
    } catch (ErrnoException e) {
      throw CacheException.of("evict", e);
    } finally {
      lock.unlockWrite(stamp);
    }
  }

  private void evictSpan(Blocks now, int span) throws ErrnoException {
    int end = Math.min(now.count(), (span + 1) * Blocks.SPAN);
    int at = span * Blocks.SPAN;
    while (at < end) {
      int n = 0;
      while (at + n < end && now.state(at + n) != Blocks.ABSENT) {
        n++;
      }
      if (n > 0) {
        map().erase(at, n);
        for (int i = at; i < at + n; i++) {
          now.absent(i);
        }
        cache.points().at(CachePoint.CACHE_ERASED);
        // beyond the end too: a part of a block of the file system would only be zeroed
        file.punch(now.offset(at), (long) n * now.blockSize());
        cache.points().at(CachePoint.CACHE_PUNCHED);
      }
      at += Math.max(1, n);
    }
  }
}
