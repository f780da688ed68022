package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import org.lifeboat.init.InitException;
import org.lifeboat.init.WaitStatus;
import org.lifeboat.page.ImageId;
import org.lifeboat.page.PackNames;
import org.lifeboat.page.PartSink;
import org.lifeboat.receive.AdaptiveCodec;
import org.lifeboat.receive.PageReceiver;
import org.lifeboat.receive.ReceiveObserver;
import org.lifeboat.receive.ReceivedPages;
import org.lifeboat.receive.ReceiverConfig;
import org.lifeboat.receive.SpillSink;
import org.lifeboat.receive.UploadSink;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.Transfer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One dump from its beginning to its result: looks whether it can be taken, tells the store, opens
 * what receives the pages, starts CRIU, and waits for it. Everything that CRIU asks meanwhile is
 * {@link DumpHook}'s.
 */
final class DumpJob {

  private static final Logger log = LoggerFactory.getLogger(DumpJob.class);

  /** Uploads under way at a time. */
  private static final int UPLOADS = 8;

  private static final String GIVEN_UP_EARLIER = "it was given up while the store did not answer";

  /** How often, and how long apart in nanoseconds, is looked for strangers before a dump fails. */
  private static final int LOOKS = 20;

  private static final long LOOK_NANOS = 50_000_000;

  private final Context context;
  private final DumpObserver observer;
  private final DumpFate fate;
  private final DumpAttempt dump;
  private final DumpCourse course;
  private final DumpHook hook;
  private final DumpCommit commit;
  private final DumpLog criuLog;
  private final DumpEnd end;
  private final DumpTicker ticker;

  DumpJob(
      Context context,
      DumpObserver observer,
      DumpFate fate,
      DumpAttempt dump,
      DumpCourse course,
      DumpHook hook,
      DumpCommit commit,
      DumpLog criuLog,
      DumpEnd end,
      DumpTicker ticker) {
    this.context = context;
    this.observer = observer;
    this.fate = fate;
    this.dump = dump;
    this.course = course;
    this.hook = hook;
    this.commit = commit;
    this.criuLog = criuLog;
    this.end = end;
    this.ticker = ticker;
  }

  /** Gives it up, if its commit has not begun. */
  void giveUp(String why) {
    course.giveUp(why);
  }

  /** Whether it has got to its commit. */
  boolean committing() {
    DumpStage stage = course.stage();
    return stage == DumpStage.COMMITTING || stage == DumpStage.COMMITTED;
  }

  /** Whether its tree runs on already, and CRIU has ended. */
  boolean thawed() {
    return dump.thawed;
  }

  /** What the answer did not wait for. */
  void tidy(DumpResult result) {
    end.tidy(result);
  }

  DumpResult run() {
    Thread ticking = ticker.start();
    try {
      return attempt();
    } catch (IOException | RuntimeException e) {
      dump.failure = dump.failure == null ? e : dump.failure;
      return end.failed();
    } catch (InterruptedException e) {
      dump.failure = e;
      return end.failed();
    } finally {
      course.idle();
      ticking.interrupt();
    }
  }

  private DumpResult attempt() throws IOException, InterruptedException {
    course.busy();
    takeCensus();
    context.files().prepare();
    context.crashPoints().at(DumpPoint.DUMP_UNKNOWN);
    begin();
    context.crashPoints().at(DumpPoint.DUMP_BEGUN);
    dump.folder = SealedDump.folder(context, dump.id);
    dump.images = dump.folder.resolve("images");
    Folders.createPrivate(dump.images);
    dump.logFile = dump.folder.resolve("dump_" + dump.id + ".log");
    dump.memory = MemoryBudget.now(context.memory());
    dump.transfer = new Transfer(context.store(), dump.memory.transfers());
    if (dump.request.leaveRunning()) {
      CacheDisk.warnOfTmpfs(context.cache(), "dump " + dump.id, dump.expectedBytes);
    }
    Files.deleteIfExists(pageSocket());
    dump.pageSpill = spill("pages");
    dump.fileSpill = spill("files");
    dump.pageSink = sink("pages", dump.pageSpill);
    dump.fileSink = sink("files", dump.fileSpill);
    dump.receiver =
        PageReceiver.open(
            new ReceiverConfig(
                dump.memory.pool(),
                Math.max(1, Runtime.getRuntime().availableProcessors()),
                UPLOADS,
                new AdaptiveCodec(),
                HostFacts.pageSize()),
            dump.pageSink,
            pageSocket(),
            dump.folder.resolve("pages.index"),
            new ReceiveObserver() {
              @Override
              public void imageOpened(ImageId image) {
                context.crashPoints().at(DumpPoint.DUMP_RECEIVING);
              }

              @Override
              public void received(ReceivedPages received) {
                context.crashPoints().at(DumpPoint.DUMP_RECEIVED);
                observer.received(dump.id, received);
              }
            });
    dump.receiver.start();
    dump.phase = "freezing";
    course.checkNotGivenUp();
    course.idle();
    context.hooks().handler(hook::answer);
    String spawnId = (dump.request.leaveRunning() ? "keep-" : "final-") + dump.id;
    context
        .init()
        .spawn(
            spawnId,
            Optional.of(pageSocket()),
            dump.folder.resolve("criu.out"),
            context
                .criu()
                .dump(
                    dump.root,
                    dump.images,
                    dump.logFile,
                    context.hook(),
                    dump.request.leaveRunning()));
    context.crashPoints().at(DumpPoint.DUMP_CRIU_STARTED);
    WaitStatus status = await(spawnId);
    hook.settle(status);
    context.crashPoints().at(DumpPoint.DUMP_CRIU_ENDED);
    criuLog.store();
    if (!status.success() || dump.failure != null) {
      return end.criuFailed(status);
    }
    if (dump.request.leaveRunning()) {
      dump.thawed = true;
      course.busy();
      commit.finish();
      course.idle();
    }
    return end.succeeded();
  }

  /** A process outside the tree would be lost in silence. */
  private void takeCensus() throws IOException {
    Census census = Census.take();
    List<Census.Entry> strangers = strangers(census);
    for (int looks = 1; !strangers.isEmpty() && looks < LOOKS; looks++) {
      LockSupport.parkNanos(LOOK_NANOS); // a hook of a CRIU that was killed, say, ends by itself
      census = Census.take();
      strangers = strangers(census);
    }
    dump.tree = census.tree(dump.root);
    dump.stopped = census.stopped(dump.root);
    if (dump.tree.isEmpty()) {
      throw new SnapshotException(SnapshotException.Kind.FAILED, "the task has ended", "", null);
    }
    if (!strangers.isEmpty()) {
      throw new SnapshotException(
          SnapshotException.Kind.FAILED,
          strangers.getFirst()
              + " runs here but is neither Lifeboat's nor the task's: a snapshot would lose it",
          "end it, or start it from the task",
          null);
    }
    Namespaces.requireShared(dump.root, dump.tree);
    for (long pid : dump.tree) {
      dump.expectedBytes += residentBytes(pid);
    }
  }

  private List<Census.Entry> strangers(Census census) {
    return census.strangers(dump.root, Set.of(ProcessHandle.current().pid()));
  }

  private void begin() throws StoreException, SnapshotException {
    dump.begun = true;
    long now = context.clock().millis();
    long deadline =
        dump.request.deadline().isEmpty()
            ? 0
            : now + (dump.request.deadlineNanos() - System.nanoTime()) / 1_000_000;
    DumpMetadata document =
        context
            .metadata()
            .update(
                context.ownerId(),
                d ->
                    fate.abandoned(d, GIVEN_UP_EARLIER)
                        .adding(
                            new DumpMetadata.Dump(
                                d.nextId(),
                                DumpMetadata.DumpType.FULL,
                                DumpMetadata.DumpState.DUMPING,
                                null,
                                d.task().generation(),
                                context.attempt(),
                                context.epoch(),
                                now,
                                deadline,
                                0,
                                0,
                                0,
                                0,
                                0,
                                null,
                                null,
                                dump.stem)));
    dump.id = document.dumps().getLast().id();
    log.info(
        "dump {} begins ({}): {} processes, {} MiB resident",
        dump.id,
        dump.request.why(),
        dump.tree.size(),
        dump.expectedBytes >> 20);
  }

  private Path pageSocket() {
    return context.runDirectory().resolve("page.sock");
  }

  /**
   * Where packs go: straight to the store, or to the cache disk first where the task must not wait
   * for the link.
   */
  private LateAbort sink(String kind, Optional<SpillSink> spill) {
    return new LateAbort(
        new PointedSink(
            spill
                .<PartSink>map(sink -> sink)
                .orElseGet(() -> new UploadSink(context.store(), names(kind))),
            context.crashPoints()));
  }

  private Optional<SpillSink> spill(String kind) throws IOException {
    return dump.request.leaveRunning()
        ? Optional.of(
            new SpillSink(
                context.store(),
                names(kind),
                dump.folder.resolve(kind),
                dump.memory.transfers() / 2))
        : Optional.empty();
  }

  private PackNames names(String kind) {
    return PackNames.of(Layout.dump(dump.id) + kind, dump.stem);
  }

  private WaitStatus await(String spawnId) throws InterruptedException, IOException {
    Future<WaitStatus> end = context.children().end(spawnId);
    while (true) {
      try {
        return end.get(500, TimeUnit.MILLISECONDS);
      } catch (TimeoutException e) {
        criuLog.ship();
      } catch (ExecutionException e) {
        throw new InitException(
            "wait for " + spawnId, 0, String.valueOf(e.getCause().getMessage()), e);
      }
    }
  }

  private static long residentBytes(long pid) {
    try {
      String[] fields =
          Files.readString(Path.of("/proc", Long.toString(pid), "statm")).split(" ", 3);
      return Long.parseLong(fields[1]) * 4096;
    } catch (IOException e) {
      return 0; // it has ended meanwhile
    }
  }
}
