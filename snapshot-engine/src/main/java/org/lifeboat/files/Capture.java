package org.lifeboat.files;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.sys.Stat;

/**
 * Captures the files that belong to the instant at which a process tree is frozen.
 *
 * <p>Memory alone does not restore: CRIU opens every file again by its path, refuses one whose size
 * has changed, and takes one whose content has without a word. So the snapshot carries
 *
 * <ul>
 *   <li>what was made or changed in the {@link Scope} since its {@link Baseline}, and the names
 *       that are gone since;
 *   <li>every directory, socket name and special file of the scope: they cost nothing, and an empty
 *       host has none;
 *   <li>wherever they lie, the regular files that the tree has open or mapped, its executables
 *       included, unless they came with the machine image: that is told by their place, and by
 *       neither having been changed since the baseline nor being open for writing.
 * </ul>
 *
 * <p>What is as it was at the start is listed without content, so that a roll-back can tell what it
 * misses. Times of access and birth are not kept, nor are files open but deleted: these CRIU puts
 * into its images.
 *
 * <p>It runs in the freeze, so it is one walk that compares with the baseline as it goes, while a
 * few threads read, compress and hand on content in frames of at most 1 MiB. Memory is bounded: 2
 * MiB a thread, plus about 0.5 KB for each name that is captured and 50 bytes for each name of an
 * unchanged file that has several. Holes are neither read nor stored. Files of a tree that is
 * frozen stand still; one that somebody else changes while it is read is read again; if it does not
 * come to rest it fails the capture by name, unless it lies in a place that is shared with others
 * (/tmp, say) and the tree does not have it open: then it is theirs, and is left out with a
 * warning. A snapshot of mixed instants was rejected: nobody could tell it from a good one.
 */
public final class Capture {

  private static final int ATTEMPTS = 3;
  private static final long PIECE = 32L << 20;
  private static final Comparator<Entry> BY_PATH = Comparator.comparing(Entry::path);

  private final Scope scope;
  private final Baseline baseline;
  private final ContentSink sink;
  private final Clock clock;
  private final int threads;
  private final CrashPoints crashPoints;

  /**
   * @param baseline the scope as it was at the task's start
   * @param threads 1 to 64; 2 to 4 keep up with most links
   */
  public Capture(Scope scope, Baseline baseline, ContentSink sink, Clock clock, int threads) {
    this(scope, baseline, sink, clock, threads, CrashPoints.NONE);
  }

  /**
   * @param crashPoints is told of each {@link CapturePoint}
   */
  public Capture(
      Scope scope,
      Baseline baseline,
      ContentSink sink,
      Clock clock,
      int threads,
      CrashPoints crashPoints) {
    if (threads < 1 || threads > 64) {
      throw new IllegalArgumentException("threads must be 1 to 64: " + threads);
    }
    this.scope = scope;
    this.baseline = baseline;
    this.sink = sink;
    this.clock = clock;
    this.threads = threads;
    this.crashPoints = crashPoints;
  }

  /**
   * Captures. When it fails nothing is left but frames in the sink.
   *
   * @param pids every process of the frozen tree
   * @param manifest replaced if it exists
   */
  public CaptureResult run(Collection<Integer> pids, Path manifest) throws FilesException {
    return new Run(manifest).capture(pids);
  }

  private record Inode(long dev, long ino) {}

  private final class Run {

    private final Path manifest;
    private final Instant instant = clock.instant();
    private final List<String> warnings = Collections.synchronizedList(new ArrayList<>());
    private final ConcurrentLinkedQueue<Entry> contents = new ConcurrentLinkedQueue<>();
    private final List<Entry> entries = new ArrayList<>();
    private final Map<Inode, BytePath> linked = new HashMap<>();
    private final Set<Inode> linkedUnchanged = new HashSet<>();
    private final Set<BytePath> taken = new HashSet<>();
    private final AtomicLong bytes = new AtomicLong();
    private final AtomicLong storedBytes = new AtomicLong();
    private long unchanged;
    private long deleted;
    private Mounts mounts;
    private OpenFiles open;
    private Workers workers;

    Run(Path manifest) {
      this.manifest = manifest;
    }

    CaptureResult capture(Collection<Integer> pids) throws FilesException {
      mounts = Mounts.read();
      open = OpenFiles.of(pids, mounts, warnings);
      Manifest.Header header =
          new Manifest.Header(instant, scope.work(), scope.roots(), scope.excluded());
      try (Workers pool = new Workers("capture", threads);
          ManifestWriter out = new ManifestWriter(manifest, header)) {
        workers = pool;
        crashPoints.at(CapturePoint.CAPTURE_BEGUN);
        scanScope(out);
        crashPoints.at(CapturePoint.CAPTURE_WALKED);
        takeOpen();
        takeOtherNames();
        takeAncestors();
        pool.finish();
        crashPoints.at(CapturePoint.CAPTURE_CONTENT);
        // a hard link whose file vanished under way has nothing to lead to
        Set<BytePath> complete = new HashSet<>();
        for (Entry entry : contents) {
          complete.add(entry.path());
        }
        entries.removeIf(e -> e instanceof Entry.HardLink l && !complete.contains(l.target()));
        entries.addAll(contents);
        entries.sort(BY_PATH);
        for (Entry entry : entries) {
          out.add(entry);
        }
        String sum = out.finish();
        return new CaptureResult(
            manifest,
            sum,
            instant,
            entries.size(),
            unchanged,
            deleted,
            bytes.get(),
            storedBytes.get(),
            List.copyOf(warnings));
      }
    }

    private void scanScope(ManifestWriter out) throws FilesException {
      try (Baseline.Cursor cursor = baseline.cursor()) {
        Comparison comparison = new Comparison(cursor, out);
        new Walk(scope, BytePath.ROOT, mounts).run(comparison::visit);
        comparison.finish();
      }
    }

    /** Walks scope and baseline side by side: both are in path order. */
    private final class Comparison {
      private final Baseline.Cursor cursor;
      private final ManifestWriter out;
      private Optional<Baseline.Item> before;

      Comparison(Baseline.Cursor cursor, ManifestWriter out) throws FilesException {
        this.cursor = cursor;
        this.out = out;
        before = cursor.next();
      }

      void visit(BytePath path, Stat stat) throws FilesException {
        while (before.isPresent() && before.get().path().compareTo(path) < 0) {
          gone();
        }
        boolean same = false;
        if (before.isPresent() && before.get().path().equals(path)) {
          same =
              before.get().matches(stat)
                  && (stat.isRegular() || stat.isSymlink())
                  && !open.files().contains(path)
                  && !open.isWritable(stat);
          if (same) {
            out.add(new Entry.Unchanged(path, before.get().was()));
            unchanged++;
            if (stat.isRegular() && stat.nlink() > 1) {
              linkedUnchanged.add(new Inode(stat.dev(), stat.ino()));
            }
          }
          before = cursor.next();
        }
        if (!same) {
          take(path, stat, true);
        }
      }

      void finish() throws FilesException {
        while (before.isPresent()) {
          gone();
        }
      }

      private void gone() throws FilesException {
        Baseline.Item item = before.orElseThrow();
        if (scope.contains(item.path())) {
          entries.add(new Entry.Deleted(item.path(), item.was()));
          deleted++;
        }
        before = cursor.next();
      }
    }

    /** What is open or mapped outside of the scope. */
    private void takeOpen() throws FilesException {
      for (BytePath path : open.files()) {
        if (!scope.contains(path)) {
          Optional<Stat> stat = find(path);
          if (stat.isPresent() && stat.get().isRegular() && !isImage(path, stat.get())) {
            if (scope.excludes(path)) {
              warnings.add(path + " is open or mapped, but it is ours and not captured");
            } else {
              take(path, stat.get(), false);
            }
          }
        }
      }
      for (Set<BytePath> special : List.of(open.nodes(), open.sockets())) {
        for (BytePath path : special) {
          Optional<Stat> stat = scope.contains(path) ? Optional.empty() : find(path);
          if (stat.isPresent() && !scope.excludes(path)) {
            take(path, stat.get(), false);
          }
        }
      }
    }

    /**
     * Names that are as they were, of files that are taken under another one: a file that was taken
     * because a folder above one of its names was renamed must not become two files. Seldom any, so
     * they are looked for again then instead of being remembered by name.
     */
    private void takeOtherNames() throws FilesException {
      linkedUnchanged.retainAll(linked.keySet());
      if (linkedUnchanged.isEmpty()) {
        return;
      }
      new Walk(scope, BytePath.ROOT, mounts)
          .run(
              (path, stat) -> {
                if (stat.isRegular()
                    && linkedUnchanged.contains(new Inode(stat.dev(), stat.ino()))) {
                  take(path, stat, true);
                }
              });
    }

    private boolean isImage(BytePath path, Stat stat) {
      Instant start = baseline.instant();
      return scope.isImage(path)
          && stat.mtime().isBefore(start)
          && stat.ctime().isBefore(start)
          && !open.isWritable(stat)
          && !baseline.sticky().contains(path);
    }

    /** Directories outside of the scope that something needs. */
    private void takeAncestors() throws FilesException {
      Set<BytePath> needed = new HashSet<>();
      for (BytePath directory : open.directories()) {
        need(directory, needed);
      }
      for (BytePath path : taken) {
        need(path.parent(), needed);
      }
      for (BytePath root : scope.roots()) {
        need(root.parent(), needed);
      }
      for (BytePath path : needed) {
        Optional<Stat> stat = scope.contains(path) ? Optional.empty() : find(path);
        if (stat.isPresent() && stat.get().isDirectory()) {
          take(path, stat.get(), false);
        }
      }
    }

    private void need(BytePath directory, Set<BytePath> needed) {
      for (BytePath at = directory; at.length() > 1 && needed.add(at); ) {
        at = at.parent();
      }
    }

    private Optional<Stat> find(BytePath path) throws FilesException {
      try {
        return Libc.find(path);
      } catch (ErrnoException e) {
        throw FilesException.of("look at", path, "", e);
      }
    }

    private void take(BytePath path, Stat stat, boolean scoped) throws FilesException {
      if (!taken.add(path)) {
        return;
      }
      if (stat.isRegular()) {
        if (stat.nlink() > 1) {
          BytePath first = linked.putIfAbsent(new Inode(stat.dev(), stat.ino()), path);
          if (first != null) {
            entries.add(new Entry.HardLink(path, first));
            return;
          }
        }
        workers.add(new Content(path, stat, scoped, open.isWritable(stat)));
        return;
      }
      try {
        Entry.Meta meta = meta(path, stat);
        entries.add(
            switch (stat.type()) {
              case Stat.S_IFDIR -> new Entry.Directory(path, meta, scoped);
              case Stat.S_IFLNK -> new Entry.Symlink(path, meta, Bytes.of(Libc.readlink(path)));
              case Stat.S_IFSOCK -> new Entry.Socket(path, meta);
              case Stat.S_IFIFO -> new Entry.Node(path, meta, 0);
              default -> new Entry.Node(path, meta, stat.rdev());
            });
      } catch (ErrnoException e) {
        if (!e.isAbsent()) {
          throw FilesException.of("capture", path, "", e);
        }
        vanished(path);
      }
    }

    private void vanished(BytePath path) {
      warnings.add(
          path + " vanished while it was captured: a process outside of the tree did that");
    }

    private Entry.Meta meta(BytePath path, Stat stat) throws ErrnoException {
      List<Entry.Xattr> xattrs = new ArrayList<>();
      for (byte[] name : Libc.listXattrs(path)) {
        try {
          xattrs.add(new Entry.Xattr(Bytes.of(name), Bytes.of(Libc.getXattr(path, name))));
        } catch (ErrnoException e) {
          switch (e.errno()) {
            case ENODATA -> {} // removed, or listed to those only who may read it
            case EPERM, EACCES, EOPNOTSUPP ->
                warnings.add(
                    path
                        + " has the attribute "
                        + BytePath.printable(name, 0)
                        + ", unreadable: "
                        + e.errno());
            default -> throw e;
          }
        }
      }
      return new Entry.Meta(stat.mode(), stat.uid(), stat.gid(), stat.mtime(), xattrs);
    }

    /** The content of one file: a job whose pieces may be read by several threads. */
    private final class Content implements Workers.Job {

      private final BytePath path;
      private final boolean scoped;
      private final boolean writable;
      private final AtomicInteger pieces = new AtomicInteger();
      private final ConcurrentLinkedQueue<Frame> frames = new ConcurrentLinkedQueue<>();
      private volatile Stat before;
      private volatile boolean changed;
      private int attempt;

      Content(BytePath path, Stat found, boolean scoped, boolean writable) {
        this.path = path;
        this.before = found;
        this.scoped = scoped;
        this.writable = writable;
      }

      @Override
      public void run(FrameCoder coder) throws FilesException {
        List<long[]> extents = new ArrayList<>();
        try (OpenFile file = OpenFile.read(path)) {
          before = file.stat();
          if (!before.isRegular()) {
            throw unrest("it is no regular file any more");
          }
          extents(file, extents);
        } catch (ErrnoException e) {
          if (e.isAbsent()) {
            vanished(path);
            workers.done();
            return;
          }
          throw unreadable(e);
        }
        List<List<long[]>> parts = parts(extents);
        pieces.set(parts.size());
        for (List<long[]> part : parts.subList(1, parts.size())) {
          workers.addPiece(c -> read(part, c));
        }
        read(parts.getFirst(), coder);
      }

      /** Groups extents, cut at frames, into pieces of about the same size; at least one. */
      private List<List<long[]>> parts(List<long[]> extents) {
        List<List<long[]>> parts = new ArrayList<>();
        List<long[]> part = new ArrayList<>();
        long size = 0;
        for (long[] extent : extents) {
          for (long at = extent[0]; at < extent[1]; at += PIECE) {
            long end = Math.min(extent[1], at + PIECE);
            part.add(new long[] {at, end});
            size += end - at;
            if (size >= PIECE) {
              parts.add(part);
              part = new ArrayList<>();
              size = 0;
            }
          }
        }
        if (!part.isEmpty() || parts.isEmpty()) {
          parts.add(part);
        }
        return parts;
      }

      private void extents(OpenFile file, List<long[]> extents) throws ErrnoException {
        long size = before.size();
        if (before.blocks() * 512 >= size) {
          extents.add(new long[] {0, size});
          return;
        }
        long at = 0;
        try {
          while (at < size) {
            long data = file.nextData(at);
            if (data < 0 || data >= size) {
              return;
            }
            long hole = file.nextHole(data);
            long end = hole < 0 ? size : Math.min(hole, size);
            extents.add(new long[] {data, end});
            at = end;
          }
        } catch (ErrnoException e) {
          if (e.errno() != Errno.EINVAL && e.errno() != Errno.EOPNOTSUPP) {
            throw e;
          }
          extents.clear();
          extents.add(new long[] {0, size});
        }
      }

      private void read(List<long[]> part, FrameCoder coder) throws FilesException {
        try (OpenFile file = OpenFile.read(path)) {
          for (long[] extent : part) {
            for (long at = extent[0]; at < extent[1] && !changed; at += Frame.MAX_RAW) {
              int length = (int) Math.min(Frame.MAX_RAW, extent[1] - at);
              if (fill(file, coder.raw(), at, length)) {
                frame(at, length, coder);
              } else {
                changed = true;
              }
            }
          }
          if (!file.stat().sameVersion(before)) {
            changed = true;
          }
        } catch (ErrnoException e) {
          if (!e.isAbsent()) {
            throw unreadable(e);
          }
          changed = true;
        }
        if (pieces.decrementAndGet() == 0) {
          finish(coder);
        }
      }

      private static boolean fill(OpenFile file, ByteBuffer raw, long offset, int length)
          throws ErrnoException {
        MemorySegment into = MemorySegment.ofBuffer(raw);
        int done = 0;
        while (done < length) {
          int n = file.read(into.asSlice(done, length - done), offset + done);
          if (n == 0) {
            return false;
          }
          done += n;
        }
        return true;
      }

      private void frame(long at, int length, FrameCoder coder) throws FilesException {
        try {
          Frame frame = coder.encode(at, length, sink);
          frames.add(frame);
          storedBytes.addAndGet(frame.ref().length());
        } catch (FilesException e) {
          throw e;
        } catch (IOException e) {
          throw FilesException.of("store content of", path, "", e);
        }
      }

      private void finish(FrameCoder coder) throws FilesException {
        Entry.Meta meta;
        try {
          meta = meta(path, before);
          changed |= !Libc.lstat(path).sameVersion(before);
        } catch (ErrnoException e) {
          if (!e.isAbsent()) {
            throw unreadable(e);
          }
          vanished(path);
          workers.done();
          return;
        }
        if (changed) {
          attempt++;
          if (attempt == ATTEMPTS) {
            if (!writable && !open.files().contains(path) && !path.startsWith(scope.work())) {
              warnings.add(
                  path
                      + " is left out: a process outside of the tree changes it while it is read,"
                      + " and the tree does not have it open");
              workers.done();
              return;
            }
            throw unrest("it changes while it is read, by a process outside of the tree");
          }
          frames.clear();
          changed = false;
          run(coder);
          return;
        }
        List<Frame> sorted = new ArrayList<>(frames);
        sorted.sort(Comparator.comparingLong(Frame::offset));
        for (Frame frame : sorted) {
          bytes.addAndGet(frame.length());
        }
        Entry.Origin origin = new Entry.Origin(before.dev(), before.ino(), before.ctime());
        contents.add(
            new Entry.RegularFile(
                path, meta, before.size(), origin, scoped, writable, List.copyOf(sorted)));
        workers.done();
      }

      private FilesException unrest(String detail) {
        return new FilesException(
            "capture",
            path,
            detail,
            "stop that process, or leave its directory out of the preserved paths");
      }

      private FilesException unreadable(ErrnoException e) {
        return FilesException.of("capture", path, "", e);
      }
    }
  }
}
