package org.lifeboat.files;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Clock;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.sys.FileSystemStat;
import org.lifeboat.sys.Libc;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.sys.Stat;

/**
 * Makes the files of a host what a snapshot says, before its memory is restored.
 *
 * <p>{@link #plan} looks and changes nothing; it fails where content or space is missing. {@link
 * #apply} works in steps, each of which leaves the host such that doing all of them again ends in
 * the same state:
 *
 * <ol>
 *   <li>All content is written into staging directories, each frame checked, with owner, mode,
 *       attributes and time. Until this is done nothing that anybody sees has changed, so a damaged
 *       pack or a full disk does no harm.
 *   <li>What is to go is moved aside: deleted at the snapshot's instant; in the working directory
 *       also what the snapshot does not know and that was changed after its instant. Elsewhere (in
 *       /tmp, say) the unknown may belong to others and stays.
 *   <li>In path order, directories are made and files renamed into place; what is in the way is
 *       moved aside first. Nothing is ever overwritten or removed, but stale socket files. Then
 *       hard links.
 *   <li>Metadata of directories, deepest first. Then everything is looked at once more.
 * </ol>
 *
 * <p>Where things go aside, and the journal that makes a second run quick and tidy: {@link
 * Holdings}. A file is kept as it is if an interrupted run had put it there; if it is the very
 * inode that was captured, untouched since (not by its time of change alone where it was open for
 * writing: writes through a mapping may not move that); or, outside of the scope, if size, mode,
 * owner and modification time agree: it is then what this host has anyhow. Renaming over, rather
 * than moving aside, was rejected because a user whose restore goes wrong must find what he had.
 *
 * <p>For one thread, before any process of the task exists.
 */
public final class RollBack {

  private static final int SAMPLES = 20;
  private static final long PIECE_FRAMES = 32;

  private enum Action {
    KEEP,
    PUT,
    /** A directory: made if absent, then given its metadata. */
    DIRECTORY,
    NONE
  }

  private final Manifest manifest;
  private final ContentSource source;
  private final BytePath prefix;
  private final int threads;
  private final CrashPoints crashPoints;

  /**
   * @param prefix a directory that stands for the root of the host; {@link BytePath#ROOT} but in
   *     tests and when looking into a snapshot
   * @param threads 1 to 64
   */
  public RollBack(Manifest manifest, ContentSource source, BytePath prefix, int threads) {
    this(manifest, source, prefix, threads, CrashPoints.NONE);
  }

  /**
   * @param crashPoints is told of each {@link RollBackPoint}
   */
  public RollBack(
      Manifest manifest,
      ContentSource source,
      BytePath prefix,
      int threads,
      CrashPoints crashPoints) {
    if (threads < 1 || threads > 64) {
      throw new IllegalArgumentException("threads must be 1 to 64: " + threads);
    }
    this.manifest = manifest;
    this.source = source;
    this.prefix = prefix;
    this.threads = threads;
    this.crashPoints = crashPoints;
  }

  /**
   * Looks at the host. Removes only what an interrupted run of the same manifest had staged.
   *
   * @throws FilesException if a pack is missing or too short, or the space does not suffice
   */
  public RollBackPlan plan() throws FilesException {
    try (Holdings holdings = Holdings.find(manifest, prefix)) {
      return new Run(holdings).plan();
    }
  }

  /**
   * Plans and applies.
   *
   * @return what was done, with the warnings of both
   * @throws FilesException if it can't be done; the same call may be made again
   */
  public RollBackPlan apply() throws FilesException {
    try (Holdings holdings = Holdings.find(manifest, prefix)) {
      return new Run(holdings).apply();
    }
  }

  /**
   * After {@link #apply}: the baseline for the next capture on this host. What the snapshot carried
   * is not in it, so it will be carried on; what was deleted stays deleted; what was unchanged
   * counts as unchanged if this host has the same, and as changed if it has something else; what
   * this host lacks is forgotten; what else it has is as at the start.
   *
   * @param file replaced if it exists
   */
  public Baseline carryBaseline(Scope scope, Path file, Clock clock) throws FilesException {
    crashPoints.at(RollBackPoint.ROLL_BACK_DONE);
    Set<BytePath> captured = new HashSet<>();
    Set<BytePath> sticky = new HashSet<>();
    TreeMap<BytePath, Entry.Was> deleted = new TreeMap<>();
    for (Entry entry : manifest.entries()) {
      if (entry instanceof Entry.Deleted d) {
        deleted.put(d.path(), d.was());
      } else {
        captured.add(entry.path());
        if (entry instanceof Entry.RegularFile && !scope.contains(entry.path())) {
          sticky.add(entry.path());
        }
      }
    }
    try (Baseline.Writer writer = new Baseline.Writer(file, clock.instant(), sticky);
        Manifest.UnchangedCursor unchanged = manifest.unchanged()) {
      new Walk(scope, prefix, Mounts.read())
          .run(
              (path, stat) -> {
                while (!deleted.isEmpty() && deleted.firstKey().compareTo(path) <= 0) {
                  Map.Entry<BytePath, Entry.Was> gone = deleted.pollFirstEntry();
                  writer.add(gone.getKey(), 0, gone.getValue(), gone.getValue().mtime());
                  if (gone.getKey().equals(path)) {
                    return;
                  }
                }
                Optional<Entry.Unchanged> known = unchanged.seek(path);
                if (captured.contains(path)) {
                  return;
                }
                if (known.isPresent() && !isSame(known.get().was(), stat)) {
                  Entry.Was was = known.get().was();
                  writer.add(path, 0, was, was.mtime());
                } else {
                  writer.add(path, stat);
                }
              });
      for (Map.Entry<BytePath, Entry.Was> gone : deleted.entrySet()) {
        writer.add(gone.getKey(), 0, gone.getValue(), gone.getValue().mtime());
      }
      return writer.finish();
    }
  }

  private static boolean isSame(Entry.Was was, Stat stat) {
    return (was.mode() & Stat.S_IFMT) == stat.type()
        && was.size() == stat.size()
        && was.mtime().equals(stat.mtime());
  }

  /** What a {@link #verify} has read. */
  public record Verified(long entries, long frames, long bytes) {}

  /**
   * Reads every frame of a snapshot's files and checks it; writes nothing.
   *
   * @throws FilesException that names the first file that could not be restored
   */
  public static Verified verify(Manifest manifest, ContentSource source, int threads)
      throws FilesException {
    checkPacks(manifest, source);
    AtomicLong frames = new AtomicLong();
    AtomicLong bytes = new AtomicLong();
    try (Workers workers = new Workers("verify", threads)) {
      for (Entry entry : manifest.entries()) {
        if (entry instanceof Entry.RegularFile f) {
          workers.add(
              coder -> {
                for (Frame frame : f.frames()) {
                  bytes.addAndGet(coder.decode(f.path(), frame, source).remaining());
                  frames.incrementAndGet();
                }
                workers.done();
              });
        }
      }
      workers.finish();
    }
    return new Verified(
        manifest.entries().size() + manifest.unchangedCount(), frames.get(), bytes.get());
  }

  private static void checkPacks(Manifest manifest, ContentSource source) throws FilesException {
    Map<Integer, Long> lengths = new HashMap<>();
    for (Entry entry : manifest.entries()) {
      if (entry instanceof Entry.RegularFile f) {
        for (Frame frame : f.frames()) {
          int pack = frame.ref().pack();
          Long length = lengths.get(pack);
          if (length == null) {
            try {
              length = source.length(pack);
            } catch (IOException e) {
              throw FilesException.of("look for content of", f.path(), "", e);
            }
            lengths.put(pack, length);
          }
          if (length < frame.ref().offset() + frame.ref().length()) {
            throw new FilesException(
                "look for content of",
                f.path(),
                length < 0
                    ? "pack " + pack + " is missing"
                    : "pack " + pack + " has only " + length + " bytes",
                "fetch the pack again, or restore an older snapshot");
          }
        }
      }
    }
  }

  private final class Run {

    private final Holdings holdings;
    private final List<String> warnings = Collections.synchronizedList(new ArrayList<>());
    private final Metadata metadata = new Metadata(warnings);
    private final List<Entry> entries = manifest.entries();
    private final Action[] actions = new Action[entries.size()];
    private final Map<BytePath, Integer> indexes = new HashMap<>();
    private final Map<BytePath, List<BytePath>> links = new HashMap<>();
    private final Set<BytePath> inTheWay = new LinkedHashSet<>();
    private final boolean[] fresh = new boolean[entries.size()];
    private final TreeMap<BytePath, Boolean> leaving = new TreeMap<>();
    private final Map<Integer, BytePath> staged = Collections.synchronizedMap(new HashMap<>());
    private long missing;
    private long differing;

    Run(Holdings holdings) {
      this.holdings = holdings;
    }

    private BytePath host(BytePath path) {
      return prefix.rebase(path);
    }

    private Optional<Stat> find(BytePath host) throws FilesException {
      try {
        return Libc.find(host);
      } catch (ErrnoException e) {
        throw FilesException.of("look at", host, "", e);
      }
    }

    RollBackPlan plan() throws FilesException {
      checkPacks(manifest, source);
      for (int i = 0; i < entries.size(); i++) {
        indexes.put(entries.get(i).path(), i);
        if (entries.get(i) instanceof Entry.HardLink l) {
          links.computeIfAbsent(l.target(), target -> new ArrayList<>()).add(l.path());
        }
      }
      decide();
      findUnknown();
      compareUnchanged();
      checkSpace();
      return summary();
    }

    private RollBackPlan summary() {
      long put = 0;
      long kept = 0;
      long bytes = 0;
      for (int i = 0; i < actions.length; i++) {
        if (actions[i] == Action.PUT) {
          put++;
          if (entries.get(i) instanceof Entry.RegularFile f) {
            bytes += contentLength(f);
          }
        } else if (actions[i] == Action.KEEP) {
          kept++;
        }
      }
      List<BytePath> aside = new ArrayList<>(leaving.keySet());
      aside.addAll(inTheWay);
      return new RollBackPlan(put, kept, bytes, aside, missing, differing, List.copyOf(warnings));
    }

    private static long contentLength(Entry.RegularFile file) {
      long bytes = 0;
      for (Frame frame : file.frames()) {
        bytes += frame.length();
      }
      return bytes;
    }

    /**
     * What each entry needs; in path order, so that what is below a new directory counts as absent.
     */
    private void decide() throws FilesException {
      BytePath made = null;
      for (int i = 0; i < entries.size(); i++) {
        Entry entry = entries.get(i);
        boolean below = made != null && entry.path().startsWith(made);
        fresh[i] = below;
        Optional<Stat> now = below ? Optional.empty() : find(host(entry.path()));
        boolean right = now.isPresent() && isRight(i, entry, now.get());
        if (now.isPresent() && !right && !(entry instanceof Entry.Deleted) && !stale(entry, now)) {
          inTheWay.add(entry.path());
        }
        switch (entry) {
          case Entry.Directory d -> {
            actions[i] = Action.DIRECTORY;
            if (!right && !below) {
              made = d.path();
            }
          }
          case Entry.Deleted d -> {
            actions[i] = Action.NONE;
            now.ifPresent(stat -> leaving.put(d.path(), stat.isDirectory()));
          }
          case Entry.Socket s -> actions[i] = Action.NONE;
          case Entry.Unchanged u -> actions[i] = Action.NONE;
          case Entry.RegularFile f -> actions[i] = right ? Action.KEEP : Action.PUT;
          case Entry.Symlink l -> actions[i] = right ? Action.KEEP : Action.PUT;
          case Entry.Node n -> actions[i] = right ? Action.KEEP : Action.PUT;
          case Entry.HardLink l -> actions[i] = Action.PUT;
        }
      }
      for (int i = 0; i < entries.size(); i++) {
        if (entries.get(i) instanceof Entry.HardLink l && !fresh[i]) {
          Optional<Stat> now = find(host(l.path()));
          Optional<Stat> target = find(host(l.target()));
          if (now.isPresent()
              && target.isPresent()
              && actions[indexes.get(l.target())] == Action.KEEP
              && now.get().sameFile(target.get())) {
            actions[i] = Action.KEEP;
            inTheWay.remove(l.path());
          }
        }
      }
    }

    private static boolean stale(Entry entry, Optional<Stat> now) {
      return entry instanceof Entry.Socket && now.orElseThrow().type() == Stat.S_IFSOCK;
    }

    private boolean isRight(int index, Entry entry, Stat now) throws FilesException {
      try {
        return switch (entry) {
          case Entry.RegularFile f -> isRight(index, f, now);
          case Entry.Directory d ->
              now.isDirectory() || (!d.scoped() && Libc.stat(host(d.path())).isDirectory());
          case Entry.Symlink l ->
              now.isSymlink() && Bytes.of(Libc.readlink(host(l.path()))).equals(l.target());
          case Entry.Node n ->
              now.type() == (n.meta().mode() & Stat.S_IFMT)
                  && (now.type() == Stat.S_IFIFO || now.rdev() == n.rdev());
          case Entry.HardLink l -> false;
          case Entry.Socket s -> false;
          case Entry.Deleted d -> false;
          case Entry.Unchanged u -> true;
        };
      } catch (ErrnoException e) {
        if (e.isAbsent()) {
          return false;
        }
        throw FilesException.of("look at", entry.path(), "", e);
      }
    }

    private boolean isRight(int index, Entry.RegularFile file, Stat now) throws FilesException {
      boolean looksSame =
          now.mode() == file.meta().mode()
              && now.size() == file.size()
              && now.mtime().equals(file.meta().mtime())
              && now.uid() == file.meta().uid()
              && now.gid() == file.meta().gid();
      if (!looksSame) {
        return false;
      }
      if (holdings.wasPut(index, now)) {
        return true;
      }
      if (file.writable()) {
        return false;
      }
      Entry.Origin origin = file.origin();
      boolean settled = origin.ctime().isBefore(manifest.header().instant().minus(Baseline.TICK));
      boolean untouched =
          settled
              && origin.dev() == now.dev()
              && origin.ino() == now.ino()
              && origin.ctime().equals(now.ctime());
      return (untouched && now.nlink() == namesHere(file, now)) || !file.scoped();
    }

    /** How many of the snapshot's names of a file lead to this inode: others must not share it. */
    private int namesHere(Entry.RegularFile file, Stat now) throws FilesException {
      int names = 1;
      for (BytePath link : links.getOrDefault(file.path(), List.of())) {
        if (find(host(link)).map(stat -> stat.sameFile(now)).orElse(false)) {
          names++;
        }
      }
      return names;
    }

    /** In the working directory: what the snapshot doesn't know and is newer than it. */
    private void findUnknown() throws FilesException {
      Manifest.Header header = manifest.header();
      Scope scope = new Scope(header.work(), List.of(header.work()), header.excluded(), List.of());
      try (Manifest.UnchangedCursor unchanged = manifest.unchanged()) {
        new Walk(scope, prefix, Mounts.read())
            .run(
                (path, stat) -> {
                  boolean known = indexes.containsKey(path) || unchanged.seek(path).isPresent();
                  // what came along in a renamed directory keeps its own time of change
                  boolean newer =
                      stat.ctime().isAfter(header.instant()) || leaving.containsKey(path.parent());
                  if (!known && newer && !isInTheWay(path)) {
                    leaving.put(path, stat.isDirectory());
                  }
                });
      }
    }

    private boolean isInTheWay(BytePath path) {
      for (BytePath at = path; at.length() > 1; at = at.parent()) {
        if (inTheWay.contains(at)) {
          return true;
        }
      }
      return false;
    }

    private void compareUnchanged() throws FilesException {
      List<BytePath> lost = new ArrayList<>();
      List<BytePath> other = new ArrayList<>();
      try (Manifest.UnchangedCursor cursor = manifest.unchanged()) {
        while (cursor.head().isPresent()) {
          Entry.Unchanged entry = cursor.head().get();
          cursor.advance();
          if (indexes.containsKey(entry.path())) {
            continue; // a further name of a captured file: it is put back
          }
          Optional<Stat> now = find(host(entry.path()));
          if (now.isEmpty()) {
            missing++;
            sample(lost, entry.path());
          } else if (!isSame(entry.was(), now.get())) {
            differing++;
            sample(other, entry.path());
          }
        }
      }
      if (missing > 0) {
        warnings.add(
            missing
                + " files that were there when the task started, and not changed or open since,"
                + " are not on this host: "
                + list(lost, missing));
      }
      if (differing > 0) {
        warnings.add(
            differing
                + " files that the snapshot knows as unchanged since the task's start are different"
                + " on this host, and are left so: "
                + list(other, differing));
      }
    }

    private static void sample(List<BytePath> some, BytePath path) {
      if (some.size() < SAMPLES) {
        some.add(path);
      }
    }

    private static String list(List<BytePath> some, long count) {
      StringBuilder text = new StringBuilder();
      for (BytePath path : some) {
        text.append(text.isEmpty() ? "" : ", ").append(path);
      }
      return text + (count > some.size() ? ", ..." : "");
    }

    private void checkSpace() throws FilesException {
      Map<Long, Long> bytes = new HashMap<>();
      Map<Long, Long> names = new HashMap<>();
      Map<Long, BytePath> places = new HashMap<>();
      Map<BytePath, BytePath> nearest = new HashMap<>();
      for (int i = 0; i < actions.length; i++) {
        if (actions[i] == Action.PUT && !(entries.get(i) instanceof Entry.HardLink)) {
          BytePath place = nearest(host(entries.get(i).path()).parent(), nearest);
          long dev = find(place).orElseThrow().dev();
          long need = 0;
          if (entries.get(i) instanceof Entry.RegularFile f) {
            for (Frame frame : f.frames()) {
              need += (frame.length() + 4095L) & -4096L;
            }
          }
          bytes.merge(dev, need, Long::sum);
          names.merge(dev, 1L, Long::sum);
          places.putIfAbsent(dev, place);
        }
      }
      for (Map.Entry<Long, BytePath> place : places.entrySet()) {
        FileSystemStat free;
        try {
          free = Libc.statfs(place.getValue());
        } catch (ErrnoException e) {
          throw FilesException.of("look at", place.getValue(), "", e);
        }
        long need = bytes.get(place.getKey());
        if (need > free.available()) {
          throw noSpace(place.getValue(), need + " bytes", free.available() + " bytes");
        }
        long count = names.get(place.getKey());
        if (free.files() > 0 && count > free.freeFiles()) {
          throw noSpace(place.getValue(), count + " inodes", free.freeFiles() + " inodes");
        }
      }
    }

    private static FilesException noSpace(BytePath place, String needed, String free) {
      return new FilesException(
          "roll back files on",
          place,
          "needs " + needed + ", there are " + free + " free",
          Errno.ENOSPC,
          "free some space there, or restore on a larger disk",
          null);
    }

    private BytePath nearest(BytePath directory, Map<BytePath, BytePath> known)
        throws FilesException {
      BytePath result = known.get(directory);
      if (result == null) {
        Optional<Stat> stat = find(directory);
        boolean there = directory.length() == 1 || (stat.isPresent() && stat.get().isDirectory());
        result = there ? directory : nearest(directory.parent(), known);
        known.put(directory, result);
      }
      return result;
    }

    RollBackPlan apply() throws FilesException {
      plan();
      makeWork();
      holdings.begin(manifest.sha256());
      crashPoints.at(RollBackPoint.ROLL_BACK_BEGUN);
      try {
        stageAll();
      } catch (FilesException e) {
        try {
          holdings.clean();
        } catch (FilesException suppressed) {
          e.addSuppressed(suppressed);
        }
        throw e;
      }
      try {
        moveAside();
        place();
        link();
        holdings.clean();
        directories();
        verify();
      } catch (ErrnoException e) {
        throw FilesException.of("roll back", e.object(), "", e);
      }
      crashPoints.at(RollBackPoint.ROLL_BACK_VERIFIED);
      holdings.end();
      return summary();
    }

    /** The working directory must exist before there can be a journal in it. */
    private void makeWork() throws FilesException {
      BytePath work = manifest.header().work();
      List<BytePath> absent = new ArrayList<>();
      for (BytePath at = work; at.length() > 1 && find(host(at)).isEmpty(); at = at.parent()) {
        absent.add(at);
      }
      for (BytePath path : absent.reversed()) {
        try {
          Libc.mkdir(host(path), 0700);
          Integer index = indexes.get(path);
          if (index != null && entries.get(index) instanceof Entry.Directory d) {
            metadata.apply(host(path), d.meta());
          } else {
            Libc.chmod(host(path), 0755);
          }
        } catch (ErrnoException e) {
          throw FilesException.of("make", host(path), "", e);
        }
      }
      try {
        if (!Libc.stat(host(work)).isDirectory()) {
          throw new FilesException(
              "roll back", host(work), "it is the working directory, but no directory", "move it");
        }
      } catch (ErrnoException e) {
        throw FilesException.of("look at", host(work), "", e);
      }
    }

    private void stageAll() throws FilesException {
      List<Integer> puts = new ArrayList<>();
      for (int i = 0; i < actions.length; i++) {
        if (actions[i] == Action.PUT && entries.get(i) instanceof Entry.RegularFile) {
          puts.add(i);
        }
      }
      // in the packs' order, so that a source that reads ahead can
      puts.sort(
          Comparator.comparingInt((Integer i) -> firstRef(i).pack())
              .thenComparingLong(i -> firstRef(i).offset()));
      try (Workers workers = new Workers("restore", threads)) {
        for (int index : puts) {
          Entry.RegularFile file = (Entry.RegularFile) entries.get(index);
          BytePath stage = holdings.stage(index, host(file.path()));
          staged.put(index, stage);
          workers.add(new Content(file, stage, workers));
        }
        workers.finish();
      }
      crashPoints.at(RollBackPoint.ROLL_BACK_STAGED);
    }

    private ContentRef firstRef(int index) {
      List<Frame> frames = ((Entry.RegularFile) entries.get(index)).frames();
      return frames.isEmpty() ? new ContentRef(0, 0, 0) : frames.getFirst().ref();
    }

    /** One file's content on its way to the stage. */
    private final class Content implements Workers.Job {
      private final Entry.RegularFile file;
      private final BytePath stage;
      private final Workers workers;
      private final AtomicInteger pieces = new AtomicInteger();

      Content(Entry.RegularFile file, BytePath stage, Workers workers) {
        this.file = file;
        this.stage = stage;
        this.workers = workers;
      }

      @Override
      public void run(FrameCoder coder) throws FilesException {
        try (OpenFile out = OpenFile.create(stage)) {
          out.truncate(file.size());
        } catch (ErrnoException e) {
          throw failed(e);
        }
        List<List<Frame>> parts = new ArrayList<>();
        for (int from = 0; from < file.frames().size(); from += (int) PIECE_FRAMES) {
          int to = (int) Math.min(file.frames().size(), from + PIECE_FRAMES);
          parts.add(file.frames().subList(from, to));
        }
        if (parts.isEmpty()) {
          parts.add(List.of());
        }
        pieces.set(parts.size());
        for (List<Frame> part : parts.subList(1, parts.size())) {
          workers.addPiece(c -> write(part, c));
        }
        write(parts.getFirst(), coder);
      }

      private void write(List<Frame> part, FrameCoder coder) throws FilesException {
        try (OpenFile out = OpenFile.write(stage)) {
          for (Frame frame : part) {
            ByteBuffer content = coder.decode(file.path(), frame, source);
            out.write(MemorySegment.ofBuffer(content), frame.offset());
          }
        } catch (ErrnoException e) {
          throw failed(e);
        }
        if (pieces.decrementAndGet() == 0) {
          try {
            metadata.apply(stage, file.meta());
          } catch (ErrnoException e) {
            throw failed(e);
          }
          workers.done();
        }
      }

      private FilesException failed(ErrnoException e) {
        String remedy =
            e.errno() == Errno.ENOSPC || e.errno() == Errno.EDQUOT
                ? "needs " + file.size() + " bytes: free some space on " + stage.parent()
                : "";
        return FilesException.of("restore", host(file.path()), remedy, e);
      }
    }

    /** Deepest first, so that directories are empty when their turn comes. */
    private void moveAside() throws FilesException {
      for (Map.Entry<BytePath, Boolean> leaver : leaving.descendingMap().entrySet()) {
        BytePath host = host(leaver.getKey());
        if (!leaver.getValue()) {
          holdings.moveAside(host);
        } else if (!holdings.moveDirectoryAside(host)) {
          warnings.add(host + " stays: there is something in it that the snapshot doesn't know");
        }
        crashPoints.at(RollBackPoint.ROLL_BACK_MOVED_ASIDE);
      }
    }

    private void place() throws FilesException, ErrnoException {
      for (int i = 0; i < entries.size(); i++) {
        Entry entry = entries.get(i);
        BytePath host = host(entry.path());
        if (inTheWay.contains(entry.path())) {
          holdings.moveAside(host);
          crashPoints.at(RollBackPoint.ROLL_BACK_MOVED_ASIDE);
        }
        switch (entry) {
          case Entry.Directory d -> {
            if (find(host).isEmpty()) {
              holdings.logMade(i);
              Libc.mkdir(host, 0700);
            }
          }
          case Entry.RegularFile f -> {
            if (actions[i] == Action.PUT) {
              put(i, staged.get(i), host);
            }
          }
          case Entry.Symlink l -> {
            if (actions[i] == Action.PUT) {
              BytePath stage = holdings.stage(i, host);
              Libc.symlink(l.target().toArray(), stage);
              metadata.apply(stage, l.meta());
              put(i, stage, host);
            } else {
              metadata.apply(host, l.meta());
            }
          }
          case Entry.Node n -> placeNode(i, n, host);
          case Entry.Socket s -> {
            if (find(host).isPresent()) {
              Libc.unlink(host);
            }
          }
          case Entry.HardLink l -> {}
          case Entry.Deleted d -> {}
          case Entry.Unchanged u -> {}
        }
      }
    }

    private void placeNode(int index, Entry.Node node, BytePath host)
        throws FilesException, ErrnoException {
      if (actions[index] != Action.PUT) {
        metadata.apply(host, node.meta());
        return;
      }
      BytePath stage = holdings.stage(index, host);
      try {
        Libc.mknod(stage, node.meta().mode(), node.rdev());
      } catch (ErrnoException e) {
        if (e.errno() != Errno.EPERM) {
          throw e;
        }
        warnings.add(host + " is missing: a device node can't be made without CAP_MKNOD");
        actions[index] = Action.NONE;
        return;
      }
      metadata.apply(stage, node.meta());
      put(index, stage, host);
    }

    private void put(int index, BytePath stage, BytePath host)
        throws FilesException, ErrnoException {
      holdings.logPut(index, Libc.lstat(stage));
      for (int attempt = 0; ; attempt++) {
        try {
          Holdings.rename(stage, host);
          break;
        } catch (ErrnoException e) {
          if (e.errno() != Errno.EEXIST || attempt == 3) {
            throw e;
          }
          holdings.moveAside(host);
        }
      }
      crashPoints.at(RollBackPoint.ROLL_BACK_PLACED);
    }

    private void link() throws FilesException, ErrnoException {
      for (int i = 0; i < entries.size(); i++) {
        if (entries.get(i) instanceof Entry.HardLink l && actions[i] == Action.PUT) {
          BytePath host = host(l.path());
          Optional<Stat> now = find(host);
          Stat target = Libc.lstat(host(l.target()));
          if (now.isPresent() && now.get().sameFile(target)) {
            continue;
          }
          if (now.isPresent()) {
            holdings.moveAside(host);
          }
          Libc.link(host(l.target()), host);
          crashPoints.at(RollBackPoint.ROLL_BACK_LINKED);
        }
      }
    }

    private void directories() throws FilesException, ErrnoException {
      for (int i = entries.size() - 1; i >= 0; i--) {
        if (entries.get(i) instanceof Entry.Directory d && (d.scoped() || holdings.wasMade(i))) {
          metadata.apply(host(d.path()), d.meta());
          crashPoints.at(RollBackPoint.ROLL_BACK_DIRECTORY);
        }
      }
    }

    /** What was done is looked at once more: CRIU would only say that a size is wrong. */
    private void verify() throws FilesException {
      boolean root = Libc.geteuid() == 0;
      for (int i = 0; i < entries.size(); i++) {
        Entry entry = entries.get(i);
        BytePath host = host(entry.path());
        Optional<Stat> now = find(host);
        boolean good =
            switch (entry) {
              case Entry.RegularFile f ->
                  now.isPresent()
                      && now.get().isRegular()
                      && now.get().size() == f.size()
                      && now.get().permissions() == (f.meta().mode() & 07777)
                      && (!root || now.get().uid() == f.meta().uid());
              case Entry.HardLink l ->
                  now.isPresent()
                      && find(host(l.target())).map(t -> t.sameFile(now.get())).orElse(false);
              case Entry.Directory d ->
                  now.isPresent()
                      && (now.get().isDirectory() || (!d.scoped() && isDirectory(host)));
              case Entry.Symlink l -> now.isPresent() && now.get().isSymlink();
              case Entry.Node n ->
                  actions[i] == Action.NONE
                      || (now.isPresent() && now.get().type() == (n.meta().mode() & Stat.S_IFMT));
              case Entry.Socket s -> now.isEmpty();
              case Entry.Deleted d -> now.isEmpty() || now.get().isDirectory();
              case Entry.Unchanged u -> true;
            };
        if (!good && !entry.path().startsWith(manifest.header().work())) {
          // a place that is shared with others: CRIU checks what the task has open there
          warnings.add(host + " was changed by another process as soon as it was put back");
        } else if (!good) {
          throw new FilesException(
              "verify",
              host,
              "it is not what the snapshot says, though it was just made so",
              "another process works in there: stop it and restore again");
        }
      }
    }

    private static boolean isDirectory(BytePath host) throws FilesException {
      try {
        return Libc.stat(host).isDirectory();
      } catch (ErrnoException e) {
        throw FilesException.of("look at", host, "", e);
      }
    }
  }
}
