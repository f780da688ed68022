package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Clock;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.files.Baseline;
import org.lifeboat.files.Capture;
import org.lifeboat.files.CaptureResult;
import org.lifeboat.files.ContentRef;
import org.lifeboat.files.ContentSink;
import org.lifeboat.files.ContentSource;
import org.lifeboat.files.RollBack;
import org.lifeboat.files.RollBackPlan;
import org.lifeboat.files.Scope;
import org.lifeboat.page.FrameRef;
import org.lifeboat.page.PackInfo;
import org.lifeboat.page.PackWriter;
import org.lifeboat.page.PartSink;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.sys.BytePath;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The files that belong to the task's snapshots: what is walked and what is left out, the baseline
 * of this run, and the packs that their content goes to and comes from.
 */
public final class TaskFiles {

  private static final Logger log = LoggerFactory.getLogger(TaskFiles.class);

  private static final int THREADS = 2;
  private static final int UPLOADS = 4;

  private final Path directory;
  private final List<Path> preserved;
  private final List<Path> excluded;
  private final Path baselineFile;
  private final Clock clock;
  private final CrashPoints crashPoints;
  private volatile Baseline baseline;

  /**
   * @param preserve paths that the user added to the usual ones
   * @param ours our own folders: neither captured nor rolled back
   * @param baselineFile where the baseline is kept; survives the engine
   */
  public TaskFiles(
      Path directory,
      List<Path> preserve,
      List<Path> ours,
      StoreUrl store,
      Map<String, String> environment,
      Path baselineFile,
      Clock clock,
      CrashPoints crashPoints) {
    this.directory = directory;
    this.baselineFile = baselineFile;
    this.clock = clock;
    this.crashPoints = crashPoints;
    preserved = new ArrayList<>(Scope.DEFAULT_PRESERVED);
    preserved.addAll(preserve);
    String temporary = environment.get("TMPDIR");
    if (temporary != null && temporary.startsWith("/")) {
      preserved.add(Path.of(temporary));
    }
    excluded = new ArrayList<>(ours);
    if (store.scheme().equals("file")) {
      excluded.add(Path.of(store.path()));
    }
    String home = environment.get("LIFEBOAT_HOME");
    if (home != null) {
      excluded.add(Path.of(home));
    }
  }

  private Scope scope() throws IOException {
    return Scope.of(
        BytePath.of(directory),
        preserved.stream().map(BytePath::of).toList(),
        excluded.stream().map(BytePath::of).toList(),
        List.of());
  }

  /** Remembers how everything was before the task starts; ends early when it is interrupted. */
  public void scanBaseline() throws IOException {
    baseline = Baseline.scan(scope(), baselineFile, clock);
    log.debug("{} names before the start", baseline.count());
  }

  /**
   * Has the baseline ready for a capture, so that no frozen task waits for that: after an engine
   * died, it is read from its file, whose every byte is checked.
   */
  void prepare() throws IOException {
    if (baseline == null) {
      baseline = Baseline.load(baselineFile);
    }
  }

  /**
   * Captures the files of this instant; the tree must be frozen, and all be {@link #prepare}d.
   *
   * @param sink where the packs go; closed with what is returned
   * @param partMemory for the parts of file packs, in bytes
   * @param manifest the file to write
   */
  Captured capture(Set<Long> tree, PartSink sink, long partMemory, Path manifest)
      throws IOException {
    PackWriter packs = new PackWriter(sink, partMemory, UPLOADS, (key, number, bytes) -> {});
    try {
      CaptureResult result =
          new Capture(scope(), baseline, new Appender(packs), clock, THREADS, crashPoints)
              .run(tree.stream().map(Long::intValue).toList(), manifest);
      for (String warning : result.warnings()) {
        log.warn("{}", warning);
      }
      return new Captured(packs, packs.finish(), result);
    } catch (IOException | RuntimeException e) {
      try {
        packs.close();
      } catch (IOException suppressed) {
        e.addSuppressed(suppressed);
      }
      throw e;
    }
  }

  /**
   * Puts the files of a snapshot back.
   *
   * @param manifest the file manifest, verified
   * @param packs the packs' files, verified, in the order of the snapshot's list
   */
  void rollBack(Path manifest, List<Path> packs) throws IOException {
    Scope scope = scope();
    try (PackFiles source = new PackFiles(packs)) {
      RollBack rollBack =
          new RollBack(
              org.lifeboat.files.Manifest.load(manifest),
              source,
              BytePath.ROOT,
              THREADS,
              crashPoints);
      RollBackPlan done = rollBack.apply();
      done.warnings().forEach(log::warn);
      log.debug(
          "{} files put back, {} kept, {} names moved aside",
          done.put(),
          done.kept(),
          done.aside().size());
      baseline = rollBack.carryBaseline(scope, baselineFile, clock);
    }
  }

  /** Frames of files go into packs one after the other, from however many threads they come. */
  private static final class Appender implements ContentSink {
    private final PackWriter packs;

    Appender(PackWriter packs) {
      this.packs = packs;
    }

    @Override
    public synchronized ContentRef append(ByteBuffer stored) throws IOException {
      FrameRef ref = packs.append(stored);
      stored.position(stored.limit());
      return new ContentRef(ref.pack(), ref.offset(), ref.length());
    }
  }

  /** Packs on the local disk. */
  private static final class PackFiles implements ContentSource, AutoCloseable {
    private final List<FileChannel> channels = new ArrayList<>();

    PackFiles(List<Path> files) throws IOException {
      for (Path file : files) {
        channels.add(FileChannel.open(file, StandardOpenOption.READ));
      }
    }

    @Override
    public long length(int pack) throws IOException {
      return pack < 0 || pack >= channels.size() ? -1 : channels.get(pack).size();
    }

    @Override
    public void read(ContentRef ref, ByteBuffer into) throws IOException {
      ByteBuffer window = into.slice(into.position(), ref.length());
      long at = ref.offset();
      while (window.hasRemaining()) {
        int n = channels.get(ref.pack()).read(window, at);
        if (n < 0) {
          throw new IOException("pack " + ref.pack() + " ends at " + at);
        }
        at += n;
      }
      into.position(into.position() + ref.length());
    }

    @Override
    public void close() throws IOException {
      for (FileChannel channel : channels) {
        channel.close();
      }
    }
  }

  /**
   * What was captured: the packs are complete in the sink, and are thrown away with it unless it is
   * sealed.
   */
  static final class Captured implements AutoCloseable {
    private final PackWriter writer;
    private final List<PackInfo> packs;
    private final CaptureResult result;

    Captured(PackWriter writer, List<PackInfo> packs, CaptureResult result) {
      this.writer = writer;
      this.packs = List.copyOf(packs);
      this.result = result;
    }

    List<PackInfo> packs() {
      return packs;
    }

    CaptureResult result() {
      return result;
    }

    long storedBytes() {
      return packs.stream().mapToLong(PackInfo::length).sum();
    }

    @Override
    public void close() throws IOException {
      writer.close();
    }
  }
}
