package org.lifeboat.snapshot;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.random.RandomGenerator;
import org.lifeboat.criu.CriuImages;
import org.lifeboat.criu.CriuLog;
import org.lifeboat.init.InitException;
import org.lifeboat.init.WaitStatus;
import org.lifeboat.page.ImageId;
import org.lifeboat.page.PackInfo;
import org.lifeboat.page.PackNames;
import org.lifeboat.page.PartSink;
import org.lifeboat.receive.AdaptiveCodec;
import org.lifeboat.receive.PageReceiver;
import org.lifeboat.receive.PageSet;
import org.lifeboat.receive.ReceiveFigures;
import org.lifeboat.receive.ReceiveObserver;
import org.lifeboat.receive.ReceivedPages;
import org.lifeboat.receive.ReceiverConfig;
import org.lifeboat.receive.SpillSink;
import org.lifeboat.receive.UploadSink;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.Transfer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Takes one snapshot: memory and files of one instant, committed or not there at all.
 *
 * <p>CRIU freezes the tree and streams its pages into {@link PageReceiver}, which compresses and
 * uploads them meanwhile. Then CRIU calls the {@code post-dump} hook, with all images complete and
 * the tree still frozen, and this is where it is decided:
 *
 * <ul>
 *   <li>A final dump captures the files, waits until every byte is in the store, and commits; only
 *       then the hook says yes and CRIU kills the tree. Whatever fails before the commit makes the
 *       hook say no, and CRIU lets the task go on unharmed.
 *   <li>A leave-running dump seals pages and files on the cache disk and lets the tree go; upload
 *       and commit follow behind it.
 * </ul>
 *
 * <p>The answer to CRIU's end of pages is no vote: at that moment some images are still empty. The
 * commit itself cannot be interrupted, as nobody may thaw the tree while it is not known whether
 * the snapshot exists; everything before it can, and the deadline does, first by closing the page
 * socket (CRIU then backs out cleanly) and never by killing CRIU, which would leave mappings in the
 * task.
 *
 * <p><b>A store that does not answer</b> may cost the caller his deadline and no more. So whatever
 * waits for the store before the commit can be interrupted, the answer does not wait for anything
 * that only cleans up (aborted uploads, the record of the failure, the log), and none of that is
 * done while the tree stands still. The one wait without an end is that of a final commit whose
 * outcome is not known. Reading that it was not written does not end it, as it may still be on its
 * way: only another write in its place does, which shuts it out.
 *
 * <p>One dump at a time; {@link #cancel} may be called from any thread.
 */
public final class Dumper {

  private static final Logger log = LoggerFactory.getLogger(Dumper.class);

  /** Uploads under way at a time. */
  private static final int UPLOADS = 8;

  /** How often the log of a dump under way is put again, in nanoseconds. */
  private static final long LOG_INTERVAL = 2_000_000_000L;

  private static final String GIVEN_UP_EARLIER = "it was given up while the store did not answer";

  /** How often, and how long apart in nanoseconds, is looked for strangers before a dump fails. */
  private static final int LOOKS = 20;

  private static final long LOOK_NANOS = 50_000_000;

  private static final String ENGINE_DIED = "the engine died during the dump";

  /** How long a leave-running dump waits to know whether its commit took effect. */
  private static final Duration COMMIT_PATIENCE = Duration.ofSeconds(60);

  /** How long a tree stands still for its commit before that is said. */
  private static final Duration LOUD_AFTER = Duration.ofSeconds(5);

  /** How long the answer waits for the log to be stored. */
  private static final Duration LOG_PATIENCE = Duration.ofSeconds(2);

  /** How long is tried to tell the store that a dump has failed. */
  private static final Duration FAIL_PATIENCE = Duration.ofSeconds(10);

  private final Context context;
  private final Retention retention;
  private final DumpObserver observer;
  private final RandomGenerator random = RandomGenerator.getDefault();
  private final AtomicReference<Job> current = new AtomicReference<>();
  private final TreeHold hold;
  private volatile boolean recovering;
  private volatile boolean storeLost;
  private volatile boolean criuKilled;
  private volatile boolean taskHurt;

  public Dumper(Context context, Retention retention, DumpObserver observer) {
    this.context = context;
    this.retention = retention;
    this.observer = observer;
    this.hold = new TreeHold(context.init(), context.runDirectory());
  }

  /**
   * Whether a fault that ends the task may be the work of a CRIU that was killed while it held it.
   */
  public boolean mayHaveHurtTheTask(int signal) {
    return criuKilled && CriuDeath.isFault(signal);
  }

  /** Whether a process of the task has died with a CRIU that was killed. */
  public boolean taskHurt() {
    return taskHurt;
  }

  /** Lets a tree go on that an earlier engine had held for its commit. */
  public void letGo() throws IOException {
    hold.release();
  }

  /**
   * Takes a snapshot and tells how it went; does not throw, for whatever happened the task's fate
   * is in the result. Then it cleans up, which may take as long as a store does not answer.
   *
   * @param root the task's root process
   * @param answer called once, as soon as the fate of the task and of the snapshot is known: at the
   *     latest some seconds after the deadline, unless the tree stands still because the store does
   *     not say whether the snapshot is committed
   */
  public void dump(
      long root,
      DumpRequest request,
      Consumer<DumpProgress> progress,
      Consumer<DumpResult> answer) {
    Job job = new Job(root, request, progress);
    current.set(job);
    DumpResult result;
    try {
      result = job.run();
    } finally {
      current.set(null);
    }
    answer.accept(result);
    job.tidy(result);
  }

  /** Gives up the dump that is under way, if its commit has not begun. */
  public void cancel(String why) {
    Job job = current.get();
    if (job != null) {
      job.giveUp(why);
    }
  }

  /**
   * Ends a dump that an engine which died had begun, with CRIU still there: makes the store say
   * whether it is committed, tells that to the hook, and waits for CRIU.
   *
   * @param isFinal a leave-running dump is not committed before CRIU has ended, and its tree goes
   *     on in any case
   */
  public DumpResult recover(String spawnId, int id, boolean isFinal) {
    long start = System.nanoTime();
    boolean committed;
    recovering = true;
    try {
      committed = isFinal && decide(id, ENGINE_DIED).isPresent();
    } catch (SnapshotException e) {
      // the hook stays unanswered and the tree frozen until it is killed: it lives elsewhere
      return DumpResult.failure(id, !isFinal, e.getMessage(), true, 0);
    }
    log.info(
        "dump {} was under way when the engine died: {}",
        id,
        committed
            ? "it was committed, CRIU may finish"
            : isFinal ? "it is given up" : "CRIU is told to end");
    try {
      if (!committed) {
        hold.release();
      }
    } catch (IOException e) {
      log.error("the task could not be let go on: {}", e.getMessage());
    }
    context.hooks().handler((action, images) -> committed || !action.equals("post-dump") ? 0 : 1);
    try {
      context.children().end(spawnId).get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (ExecutionException e) {
      log.warn("waiting for CRIU failed: {}", e.getCause().getMessage());
    }
    long elapsed = (System.nanoTime() - start) / 1_000_000;
    if (!committed) {
      return resume(id, isFinal, elapsed);
    }
    return new DumpResult(true, 0, id, !isFinal, null, false, 0, 0, 0, 0, 0, elapsed);
  }

  /**
   * Makes the store say whether a final dump is committed: written, not just read, for its commit
   * may still be on its way and is shut out so.
   *
   * @return the dump when it is
   * @throws SnapshotException of kind OWNER_LOST only: everything else is waited out
   */
  private Optional<DumpMetadata.Dump> decide(int id, String why) throws SnapshotException {
    while (true) {
      try {
        return context
            .metadata()
            .update(
                context.ownerId(),
                document ->
                    document.changing(
                        id,
                        dump ->
                            dump.restorable() ? dump : dump.failed(why, context.clock().millis())),
                MetadataStore.Pause.FOR_EVER)
            .dump(id)
            .filter(DumpMetadata.Dump::restorable);
      } catch (StoreException | SnapshotException e) {
        if (e instanceof SnapshotException s && s.kind() == SnapshotException.Kind.OWNER_LOST) {
          throw s;
        }
        log.error(
            "whether dump {} was committed is not known, the task stands still until it is: {}",
            id,
            e.getMessage());
        LockSupport.parkNanos(Duration.ofSeconds(5).toNanos());
      }
    }
  }

  /**
   * Finishes a leave-running dump that an engine which died had sealed, or gives the dump up.
   *
   * @param isFinal a final dump is never taken up: its tree goes on
   */
  public DumpResult resume(int id, boolean isFinal, long elapsed) {
    String why = ENGINE_DIED;
    try {
      Path logFile = SealedDump.folder(context, id).resolve("dump_" + id + ".log");
      if (CriuDeath.wasKilled(logFile)) {
        criuKilled = true;
        CriuDeath.tidy();
        Optional<Long> victim = CriuDeath.victim(logFile);
        if (victim.isPresent()) {
          taskHurt = true;
          why = hurt(victim.get(), "killed").getMessage();
        }
      }
      Optional<SealedDump> sealed =
          isFinal || taskHurt ? Optional.empty() : SealedDump.find(context, id);
      if (sealed.isPresent()) {
        log.info("dump {} was sealed when the engine died: its upload goes on", id);
        MemoryBudget memory = MemoryBudget.now(context.memory());
        sealed.get().resumePacks(memory.transfers());
        sealed.get().requirePacks();
        try (Transfer transfer = new Transfer(context.store(), memory.transfers())) {
          sealed.get().upload(transfer);
        }
        DumpMetadata.Dump done =
            sealed.get().commit(false, MetadataStore.Pause.upTo(COMMIT_PATIENCE));
        Folders.delete(SealedDump.folder(context, id));
        Manifest manifest = sealed.get().manifest();
        return new DumpResult(
            true,
            0,
            id,
            true,
            null,
            false,
            done.rawBytes(),
            done.storedBytes(),
            manifest.fileBytes(),
            manifest.processes(),
            done.frozenMicros(),
            elapsed);
      }
    } catch (SnapshotException e) {
      if (e.kind() == SnapshotException.Kind.OWNER_LOST) {
        return DumpResult.failure(id, !isFinal, e.getMessage(), true, elapsed);
      }
      log.warn("dump {} cannot be finished: {}", id, e.getMessage());
    } catch (IOException e) {
      log.warn("dump {} cannot be finished: {}", id, e.getMessage());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    boolean unreferenced = fail(id, why);
    discard(SealedDump.folder(context, id), unreferenced || storeLost);
    if (unreferenced) {
      retention.tidy();
    }
    return DumpResult.failure(id, !isFinal, why, false, elapsed);
  }

  /**
   * Throws away what a run that was killed had left in the cache, and what it had begun in the
   * store.
   */
  public void clearCache() throws IOException {
    if (Files.isDirectory(context.cache())) {
      try (DirectoryStream<Path> dumps = Files.newDirectoryStream(context.cache(), "dump-*")) {
        for (Path dump : dumps) {
          try {
            SealedDump.discard(context, dump);
          } catch (IOException e) { // the store's fault, or a journal that is damaged
            log.warn("what {} had begun to upload could not be aborted: {}", dump, e.getMessage());
          }
        }
      }
    }
    Folders.delete(context.cache());
  }

  /**
   * Whether the final dump that is under way has got to its commit: then its result tells what
   * became of the task, and nothing else.
   */
  public boolean committing() {
    Job job = current.get();
    return recovering
        || (job != null
            && (job.stage.get() == Stage.COMMITTING || job.stage.get() == Stage.COMMITTED));
  }

  /**
   * Whether a dump is under way whose tree runs on already, and CRIU has ended: what is left is to
   * bring it to the store.
   */
  public boolean thawed() {
    Job job = current.get();
    return job != null && job.thawed;
  }

  /**
   * Records that a dump has failed, and with it every other one of this run that is not under way
   * any more, as their number may not be known: the reply that told it was lost.
   *
   * @return whether the store has it as failed now, so that nobody will read its objects
   */
  private boolean fail(int id, String why) {
    try {
      return context
          .metadata()
          .update(
              context.ownerId(),
              document -> abandoned(document, why),
              MetadataStore.Pause.upTo(FAIL_PATIENCE))
          .dump(id)
          .filter(DumpMetadata.Dump::restorable)
          .isEmpty();
    } catch (StoreException | SnapshotException e) {
      log.warn("that dump {} failed could not be recorded: {}", id, e.getMessage());
      if (e instanceof SnapshotException s && s.kind() == SnapshotException.Kind.OWNER_LOST) {
        storeLost = true;
      }
      return false;
    }
  }

  private DumpMetadata abandoned(DumpMetadata document, String why) {
    DumpMetadata next = document;
    for (DumpMetadata.Dump dump : document.dumps()) {
      if (dump.state() == DumpMetadata.DumpState.DUMPING && dump.epoch() == context.epoch()) {
        next = next.changing(dump.id(), d -> d.failed(why, context.clock().millis()));
      }
    }
    return next;
  }

  /**
   * Throws away what a dump that is over has on the disk, and the uploads that it began and did not
   * finish; that its run may have lost the store does not matter, for their keys are its own.
   */
  private void discard(Path folder, boolean uploadsToo) {
    try {
      try {
        if (uploadsToo) {
          SealedDump.discard(context, folder);
        }
      } finally {
        Folders.delete(folder);
      }
    } catch (IOException | UncheckedIOException e) {
      log.warn("while removing {}: {}", folder, e.getMessage());
    }
  }

  /** Where a dump stands; from COMMITTING on nothing can stop it. */
  private enum Stage {
    RUNNING,
    GIVEN_UP,
    COMMITTING,
    COMMITTED
  }

  private final class Job {
    private final long root;
    private final DumpRequest request;
    private final Consumer<DumpProgress> progress;
    private final long start = System.nanoTime();
    private final AtomicReference<Stage> stage = new AtomicReference<>(Stage.RUNNING);

    private final String stem = PackNames.stem(context.epoch(), random);

    private int id;
    private Path folder;
    private Path images;
    private Path logFile;
    private volatile PageReceiver receiver;
    private MemoryBudget memory;
    private Transfer transfer;
    private Optional<SpillSink> pageSpill = Optional.empty();
    private Optional<SpillSink> fileSpill = Optional.empty();
    private LateAbort pageSink;
    private LateAbort fileSink;
    private PageSet pages;
    private SealedDump sealed;
    private long shippedSize;
    private volatile boolean logIsMissing;
    private long shippedAt = System.nanoTime();
    private volatile String phase = "starting";
    private volatile String givenUp;
    private Thread worker;
    private volatile Exception failure;
    private volatile TaskFiles.Captured captured;
    private Set<Long> tree = Set.of();
    private Set<Long> stopped = Set.of();
    private final Object hookLock = new Object();
    private boolean inHook;
    private boolean criuEnded;
    private long expectedBytes;
    private DumpMetadata.Dump committed;
    private volatile long frozenSince = start;
    private volatile Integer vote;
    private Thread ticker;
    private boolean recorded;
    private boolean begun;
    private volatile boolean thawed;
    private boolean logStored;
    private Thread shipping;
    private volatile boolean waitingForCommit;
    private volatile long committingSince = Long.MAX_VALUE;

    Job(long root, DumpRequest request, Consumer<DumpProgress> progress) {
      this.root = root;
      this.request = request;
      this.progress = progress;
    }

    DumpResult run() {
      ticker = Thread.ofVirtual().name("deadline").start(this::tick);
      try {
        return attempt();
      } catch (IOException | RuntimeException e) {
        failure = failure == null ? e : failure;
        return failed();
      } catch (InterruptedException e) {
        failure = e;
        return failed();
      } finally {
        idle();
        ticker.interrupt();
      }
    }

    /** From now on the calling thread is interrupted when the dump is given up. */
    private synchronized void busy() {
      worker = Thread.currentThread();
    }

    /** The calling thread is not interrupted any more, and what came too late is forgotten. */
    private synchronized void idle() {
      worker = null;
      boolean late = Thread.interrupted();
      if (late) {
        log.debug("interrupted just when it was done");
      }
    }

    private synchronized void interruptWorker() {
      if (worker != null) {
        worker.interrupt();
      }
    }

    private DumpResult attempt() throws IOException, InterruptedException {
      busy();
      takeCensus();
      context.files().prepare();
      context.crashPoints().at(DumpPoint.DUMP_UNKNOWN);
      begin();
      context.crashPoints().at(DumpPoint.DUMP_BEGUN);
      folder = SealedDump.folder(context, id);
      images = folder.resolve("images");
      Folders.createPrivate(images);
      logFile = folder.resolve("dump_" + id + ".log");
      memory = MemoryBudget.now(context.memory());
      transfer = new Transfer(context.store(), memory.transfers());
      if (request.leaveRunning()) {
        CacheDisk.warnOfTmpfs(context.cache(), "dump " + id, expectedBytes);
      }
      Files.deleteIfExists(pageSocket());
      pageSpill = spill("pages");
      fileSpill = spill("files");
      pageSink = sink("pages", pageSpill);
      fileSink = sink("files", fileSpill);
      receiver =
          PageReceiver.open(
              new ReceiverConfig(
                  memory.pool(),
                  Math.max(1, Runtime.getRuntime().availableProcessors()),
                  UPLOADS,
                  new AdaptiveCodec(),
                  HostFacts.pageSize()),
              pageSink,
              pageSocket(),
              folder.resolve("pages.index"),
              new ReceiveObserver() {
                @Override
                public void imageOpened(ImageId image) {
                  context.crashPoints().at(DumpPoint.DUMP_RECEIVING);
                }

                @Override
                public void received(ReceivedPages received) {
                  context.crashPoints().at(DumpPoint.DUMP_RECEIVED);
                  observer.received(id, received);
                }
              });
      receiver.start();
      phase = "freezing";
      checkNotGivenUp();
      idle();
      context.hooks().handler(this::hook);
      String spawnId = (request.leaveRunning() ? "keep-" : "final-") + id;
      context
          .init()
          .spawn(
              spawnId,
              Optional.of(pageSocket()),
              folder.resolve("criu.out"),
              context.criu().dump(root, images, logFile, context.hook(), request.leaveRunning()));
      context.crashPoints().at(DumpPoint.DUMP_CRIU_STARTED);
      WaitStatus status = await(spawnId);
      settleHook(status);
      context.crashPoints().at(DumpPoint.DUMP_CRIU_ENDED);
      storeLog();
      if (!status.success() || failure != null) {
        return criuFailed(status);
      }
      if (request.leaveRunning()) {
        thawed = true;
        busy();
        finish();
        idle();
      }
      return succeeded();
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
      tree = census.tree(root);
      stopped = census.stopped(root);
      if (tree.isEmpty()) {
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
      Namespaces.requireShared(root, tree);
      for (long pid : tree) {
        expectedBytes += residentBytes(pid);
      }
    }

    private List<Census.Entry> strangers(Census census) {
      return census.strangers(root, Set.of(ProcessHandle.current().pid()));
    }

    private void begin() throws StoreException, SnapshotException {
      begun = true;
      long now = context.clock().millis();
      long deadline =
          request.deadline().isEmpty()
              ? 0
              : now + (request.deadlineNanos() - System.nanoTime()) / 1_000_000;
      DumpMetadata document =
          context
              .metadata()
              .update(
                  context.ownerId(),
                  d ->
                      abandoned(d, GIVEN_UP_EARLIER)
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
                                  stem)));
      id = document.dumps().getLast().id();
      log.info(
          "dump {} begins ({}): {} processes, {} MiB resident",
          id,
          request.why(),
          tree.size(),
          expectedBytes >> 20);
    }

    private Path pageSocket() {
      return context.runDirectory().resolve("page.sock");
    }

    /**
     * Where packs go: straight to the store, or to the cache disk first where the task must not
     * wait for the link.
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
      return request.leaveRunning()
          ? Optional.of(
              new SpillSink(
                  context.store(), names(kind), folder.resolve(kind), memory.transfers() / 2))
          : Optional.empty();
    }

    private PackNames names(String kind) {
      return PackNames.of(Layout.dump(id) + kind, stem);
    }

    private WaitStatus await(String spawnId) throws InterruptedException, IOException {
      Future<WaitStatus> end = context.children().end(spawnId);
      while (true) {
        try {
          return end.get(500, TimeUnit.MILLISECONDS);
        } catch (TimeoutException e) {
          shipLog();
        } catch (ExecutionException e) {
          throw new InitException(
              "wait for " + spawnId, 0, String.valueOf(e.getCause().getMessage()), e);
        }
      }
    }

    /**
     * Tells how far it is and looks after the deadline, on a thread of its own: no store that hangs
     * may hold that up.
     */
    private void tick() {
      try {
        while (true) {
          Thread.sleep(500);
          report();
          if (overdue()) {
            giveUpInTime();
          }
          if (stage.get() == Stage.COMMITTING
              && !request.leaveRunning()
              && System.nanoTime() - committingSince > LOUD_AFTER.toNanos()) {
            sayThatItStandsStill();
          }
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt(); // the dump has ended
      }
    }

    private void giveUpInTime() {
      String deadline = "its deadline of " + seconds(request.deadline().orElseThrow()) + " passed";
      giveUp(deadline + " in phase " + phase);
      if (stage.get() == Stage.COMMITTING && request.leaveRunning() && !waitingForCommit) {
        waitingForCommit = true;
        givenUp = deadline + ", and the store does not say whether it is committed";
        interruptWorker();
      }
    }

    private void sayThatItStandsStill() {
      if (!waitingForCommit) {
        waitingForCommit = true;
        phase = "waiting, with the task stopped, for the store to say whether it is committed";
        log.error(
            "the store does not say whether dump {} is committed: the task stands still until it"
                + " does, for it could live twice",
            id);
      }
    }

    private static String seconds(Duration time) {
      return time.toMillis() % 1000 == 0
          ? time.toSeconds() + " s"
          : time.toMillis() / 1000.0 + " s";
    }

    private boolean overdue() {
      return request.deadline().isPresent() && System.nanoTime() - request.deadlineNanos() > 0;
    }

    void giveUp(String why) {
      if (stage.compareAndSet(Stage.RUNNING, Stage.GIVEN_UP)) {
        givenUp = why;
        PageReceiver open = receiver;
        if (open != null) {
          open.abort(why);
        }
        interruptWorker();
      }
    }

    // ---- in the hook, the tree frozen

    private int hook(String action, Path imagesOfHook) {
      if (!action.equals("post-dump")) {
        return beforeFreeze(action);
      }
      synchronized (hookLock) {
        if (criuEnded) {
          return 1; // it asked with its last breath
        }
        inHook = true;
      }
      try {
        return vote();
      } finally {
        synchronized (hookLock) {
          inHook = false;
          hookLock.notifyAll();
        }
      }
    }

    /**
     * CRIU can end while its hook is answered: only if it is killed, and then the tree goes on. So
     * nothing may be committed that is not being committed already, and nobody may go on here
     * before the hook's thread has come to its end.
     */
    private void settleHook(WaitStatus status) {
      boolean interrupted = false;
      synchronized (hookLock) {
        criuEnded = true;
        if (inHook) {
          giveUp("CRIU ended (" + status + ") before it was decided");
        }
        while (inHook) {
          try {
            hookLock.wait();
          } catch (InterruptedException e) {
            interrupted = true;
          }
        }
      }
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }

    private int beforeFreeze(String action) {
      if (action.equals("pre-dump")) {
        frozenSince = System.nanoTime(); // CRIU freezes the tree right behind this
        observer.freezing(id);
        context.crashPoints().at(DumpPoint.DUMP_FREEZING);
      }
      return 0;
    }

    private int vote() {
      if (vote != null) {
        return vote; // asked again, as the answer did not arrive
      }
      busy();
      try {
        postDump();
        vote = 0;
      } catch (IOException | InterruptedException | RuntimeException e) {
        failure = e;
      } catch (Error e) {
        failure = new IllegalStateException(e.toString(), e);
      } finally {
        idle();
      }
      if (ownerLost()) {
        killFrozen();
      } else if (stage.get() != Stage.COMMITTED) {
        goOn();
      }
      if (vote == null) {
        vote = stage.get() == Stage.COMMITTED ? 0 : 1;
      }
      context.crashPoints().at(DumpPoint.DUMP_VOTED);
      return vote;
    }

    private boolean ownerLost() {
      return failure instanceof SnapshotException e
          && e.kind() == SnapshotException.Kind.OWNER_LOST;
    }

    private void goOn() {
      try {
        hold.release();
      } catch (IOException e) {
        failure.addSuppressed(e);
        log.error("the task could not be let go on", e);
      }
    }

    /** Another run has the task: this one must not be thawed, be it for a moment. */
    private void killFrozen() {
      try {
        context.init().killAll();
      } catch (InitException e) {
        failure.addSuppressed(e);
        log.error("the task, which another run has taken over, could not be killed", e);
      }
    }

    private void postDump() throws IOException, InterruptedException {
      checkNotGivenUp();
      context.crashPoints().at(DumpPoint.DUMP_HOOK);
      receiver.awaitReceived(Duration.ofSeconds(60));
      context.init().drain();
      context.crashPoints().at(DumpPoint.DUMP_DRAINED);
      try (EarlyImages early =
          request.leaveRunning() ? null : EarlyImages.begin(transfer, id, images)) {
        decide(early);
      }
    }

    /**
     * @param early the images on their way to the store; null for a leave-running dump
     */
    private void decide(EarlyImages early) throws IOException, InterruptedException {
      phase = "files";
      // the tree has gone on since the census before the freeze: children have ended and begun
      tree = Census.take().living(root);
      Namespaces.requireShared(root, tree);
      captured =
          context
              .files()
              .capture(tree, fileSink, memory.fileParts(), folder.resolve("files.manifest"));
      context.crashPoints().at(DumpPoint.DUMP_FILES_CAPTURED);
      checkNotGivenUp();
      phase = "uploading";
      pages = receiver.finish();
      context.crashPoints().at(DumpPoint.DUMP_PACKED);
      seal(early == null ? SealedDump.images(images) : early.items());
      context.crashPoints().at(DumpPoint.DUMP_SEALED);
      if (!request.leaveRunning()) {
        finish();
      }
    }

    /** Fixes every byte, the tree still frozen. */
    private void seal(Map<String, Manifest.Item> imageItems) throws IOException {
      List<PackInfo> filePacks = captured.packs();
      Map<String, Long> packs = new LinkedHashMap<>();
      pages.packs().forEach(pack -> packs.put(pack.key(), pack.length()));
      filePacks.forEach(pack -> packs.put(pack.key(), pack.length()));
      List<CriuImages.TreeProcess> processes = CriuImages.processes(images);
      long highest =
          processes.stream()
              .flatMap(process -> process.threads().stream())
              .mapToLong(Integer::longValue)
              .max()
              .orElseThrow();
      sealed =
          SealedDump.seal(
              context,
              folder,
              new Manifest(
                  Manifest.FORMAT,
                  id,
                  context.epoch(),
                  context.lifeboatVersion(),
                  context.command(),
                  context.directory().toString(),
                  HostFacts.here(context.criu().version()),
                  root,
                  highest,
                  context.stdoutInode(),
                  context.stderrInode(),
                  processes.size(),
                  pages.rawBytes(),
                  pages.storedBytes() + captured.storedBytes(),
                  captured.result().bytes(),
                  (System.nanoTime() - frozenSince) / 1000,
                  imageItems,
                  new Manifest.Item(pages.indexSize(), pages.indexSha256()),
                  SealedDump.item(folder.resolve("files.manifest")),
                  packs,
                  new Manifest.FilePack(
                      filePacks.stream()
                          .map(
                              pack ->
                                  new Manifest.Pack(
                                      pack.key(), pack.length(), pack.partLength(), pack.sha256()))
                          .toList())));
    }

    /** Brings what is not there yet to the store and commits. */
    private void finish() throws IOException, InterruptedException {
      phase = "uploading";
      if (pageSpill.isPresent()) {
        pageSpill.get().awaitUploaded();
      }
      if (fileSpill.isPresent()) {
        fileSpill.get().awaitUploaded();
      }
      context.crashPoints().at(DumpPoint.DUMP_PACKS_STORED);
      checkNotGivenUp();
      if (request.leaveRunning()) {
        sealed.upload(transfer);
      } else {
        sealed.upload(transfer, Map.of()); // EarlyImages has sent them
      }
      context.crashPoints().at(DumpPoint.DUMP_MANIFEST_STORED);
      checkNotGivenUp();
      commit();
    }

    private void commit() throws IOException {
      if (!stage.compareAndSet(Stage.RUNNING, Stage.COMMITTING)) {
        throw deadline();
      }
      committingSince = System.nanoTime();
      phase = "committing";
      if (!request.leaveRunning()) {
        Set<Long> moving = new LinkedHashSet<>(tree);
        moving.removeAll(stopped);
        hold.hold(moving);
      }
      context.crashPoints().at(DumpPoint.DUMP_COMMITTING);
      boolean wasInterrupted = Thread.interrupted();
      try {
        committed = request.leaveRunning() ? commitBehind() : commitFrozen();
        context.crashPoints().at(DumpPoint.DUMP_COMMITTED);
        stage.set(Stage.COMMITTED);
        observer.committed(id);
      } finally {
        if (wasInterrupted) {
          Thread.currentThread().interrupt();
        }
      }
    }

    /** The task runs: nobody is harmed when it is not known in time. */
    private DumpMetadata.Dump commitBehind() throws StoreException, SnapshotException {
      return sealed.commit(false, MetadataStore.Pause.upTo(COMMIT_PATIENCE));
    }

    /** The tree stands still, and may go on only when the snapshot is certain not to exist. */
    private DumpMetadata.Dump commitFrozen() throws StoreException, SnapshotException {
      AtomicBoolean doubtful = new AtomicBoolean();
      try {
        return sealed.commit(
            true,
            last -> {
              if (last.kind() == StoreException.Kind.UNKNOWN_OUTCOME) {
                doubtful.set(true);
              }
              if (overdue()) {
                throw last;
              }
              MetadataStore.Pause.FOR_EVER.await(last);
            });
      } catch (StoreException e) {
        if (e.kind() != StoreException.Kind.UNKNOWN_OUTCOME && !doubtful.get()) {
          throw e; // it was refused each time: nothing is on its way
        }
        log.warn(
            "whether dump {} is committed is not known, it is given up by a write in its place: {}",
            id,
            e.getMessage());
        Optional<DumpMetadata.Dump> now =
            Dumper.this.decide(id, "its commit was given up: " + e.getMessage());
        return now.orElseThrow(() -> e);
      }
    }

    private void checkNotGivenUp() throws SnapshotException {
      if (stage.get() == Stage.GIVEN_UP) {
        throw deadline();
      }
    }

    private SnapshotException deadline() {
      return new SnapshotException(
          SnapshotException.Kind.DEADLINE, String.valueOf(givenUp), "", null);
    }

    // ---- afterwards

    /** A host that is taken in the middle of a dump leaves its log behind as far as it had come. */
    private void shipLog() {
      try {
        long size = Files.exists(logFile) ? Files.size(logFile) : 0;
        long now = System.nanoTime();
        if (size != shippedSize && now - shippedAt > LOG_INTERVAL) {
          shippedSize = size;
          shippedAt = now;
          if (shipping == null || !shipping.isAlive()) {
            shipping = Thread.ofVirtual().name("log").start(this::putLog);
          }
        }
      } catch (IOException e) {
        log.debug("the size of {} is not known: {}", logFile, e.getMessage());
      }
    }

    /** The whole log, if the store takes it soon; otherwise when the answer is given. */
    private void storeLog() {
      if (shipping != null) {
        shipping.interrupt();
      }
      logStored = Bounded.run(LOG_PATIENCE, this::putLog);
    }

    private void putLog() {
      try {
        if (Files.exists(logFile)) {
          transfer.put(Layout.dump(id) + "dump_" + id + ".log", logFile, Precondition.NONE);
        }
        logIsMissing = false;
      } catch (IOException e) {
        logIsMissing = true;
        log.warn("the log of dump {} could not be stored: {}", id, e.getMessage());
      }
    }

    private DumpResult criuFailed(WaitStatus status) throws IOException {
      if (stage.get() == Stage.COMMITTED) {
        if (!request.leaveRunning()) {
          log.warn(
              "CRIU ended with {} after the commit: ending the task here, it lives on in the store",
              status);
          context.init().killAll();
        }
        return succeeded();
      }
      if (status.signalled()) {
        criuKilled = true;
        CriuDeath.tidy();
        Optional<Long> victim = CriuDeath.victim(logFile);
        if (victim.isPresent()) {
          failure = hurt(victim.get(), status.toString());
          givenUp = null;
        }
      }
      if (failure == null && givenUp == null && CacheDisk.isFull(context.cache())) {
        failure = CacheDisk.full(context.cache(), "dump " + id, null);
      }
      if (failure == null) {
        Optional<CriuLog.Failure> explained = CriuLog.explain(logFile);
        String out =
            Files.exists(folder.resolve("criu.out"))
                ? Files.readString(folder.resolve("criu.out")).strip()
                : "";
        failure =
            new SnapshotException(
                SnapshotException.Kind.CRIU,
                givenUp != null
                    ? givenUp
                    : explained
                        .map(f -> "CRIU: " + f)
                        .orElse("CRIU ended with " + status + (out.isEmpty() ? "" : ": " + out)),
                givenUp != null
                    ? ""
                    : "log: " + context.store().url().of(Layout.dump(id) + "dump_" + id + ".log"),
                null);
      }
      return failed();
    }

    private DumpResult succeeded() throws IOException {
      phase = "done";
      return new DumpResult(
          true,
          0,
          id,
          request.leaveRunning(),
          null,
          false,
          committed.rawBytes(),
          committed.storedBytes(),
          captured.result().bytes(),
          sealed.manifest().processes(),
          committed.frozenMicros(),
          (System.nanoTime() - start) / 1_000_000);
    }

    private DumpResult failed() {
      failure = CacheDisk.explained(context.cache(), "dump " + id, failure);
      Exception cause = failure;
      boolean ownerLost = ownerLost();
      taskHurt |=
          failure instanceof SnapshotException e && e.kind() == SnapshotException.Kind.TASK_HURT;
      String why =
          givenUp != null
              ? givenUp
              : cause.getMessage() == null ? cause.toString() : cause.getMessage();
      log.debug("dump {} failed", id, cause);
      return DumpResult.failure(
          id, request.leaveRunning(), why, ownerLost, (System.nanoTime() - start) / 1_000_000);
    }

    private static boolean storeIsFull(Throwable failure) {
      for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
        if (cause instanceof StoreException e && e.kind() == StoreException.Kind.NO_SPACE) {
          return true;
        }
      }
      return false;
    }

    /** Its commit was never tried, so nobody will read its objects, recorded or not. */
    private void removeWhatFillsTheStore() {
      try {
        if (pageSpill.isPresent()) {
          pageSpill.get().close();
        }
        if (fileSpill.isPresent()) {
          fileSpill.get().close();
        }
        SealedDump.discardPacks(context, folder);
        new Catalog(context.store()).removeObjects(id);
      } catch (IOException e) {
        log.warn("the remains of dump {} could not be removed: {}", id, e.getMessage());
      }
    }

    /** Throws away what the sinks have, where they were told to. */
    private void finishSinks() throws IOException {
      if (pageSink != null) {
        pageSink.finish();
      }
      if (fileSink != null) {
        fileSink.finish();
      }
    }

    private void recordFailure(String why) {
      context.crashPoints().at(DumpPoint.DUMP_FAILING);
      boolean full = storeIsFull(failure);
      if (full) { // of what was begun: its space is free when it is aborted
        try {
          if (captured != null) {
            captured.close();
          }
          finishSinks();
        } catch (IOException e) {
          log.warn("while giving up dump {}: {}", id, e.getMessage());
        }
      }
      recorded = fail(id, why);
      if (!recorded && full && id > 0 && stage.get() != Stage.COMMITTING) {
        removeWhatFillsTheStore();
        recorded = fail(id, why);
      }
      if (recorded) {
        context.crashPoints().at(DumpPoint.DUMP_FAILED);
      }
    }

    /** What the answer did not wait for. */
    void tidy(DumpResult result) {
      if (receiver != null) {
        receiver.close();
      }
      if (begun && !result.ok() && !result.ownerLost()) {
        recordFailure(result.error());
      }
      if (logFile != null && (!logStored || logIsMissing)) {
        putLog();
      }
      cleanUp();
      if (recorded || (result.ok() && request.leaveRunning())) {
        retention.tidy(); // what it had brought to the store, and older snapshots
      }
    }

    private void cleanUp() {
      context.hooks().handler((action, path) -> action.equals("post-dump") ? 1 : 0);
      try {
        if (captured != null) {
          captured.close();
        }
        if (recorded || ownerLost() || storeLost) {
          // a store that does not even take a record does not take aborts: the next sweep makes
          // them
          finishSinks();
        }
        if (transfer != null) {
          transfer.close();
        }
        if (pageSpill.isPresent()) {
          pageSpill.get().close();
        }
        if (fileSpill.isPresent()) {
          fileSpill.get().close();
        }
      } catch (IOException | UncheckedIOException e) {
        log.warn("while cleaning up after dump {}: {}", id, e.getMessage());
      }
      if (folder != null) {
        discard(folder, recorded || ownerLost() || storeLost);
      }
    }

    private void report() {
      PageReceiver open = receiver;
      if (open == null) {
        progress.accept(
            new DumpProgress(
                id, phase, 0, expectedBytes, 0, 0, (System.nanoTime() - start) / 1_000_000));
        return;
      }
      ReceiveFigures figures = open.figures();
      long raw = figures.rawBytes();
      if (raw > 0 && phase.equals("freezing")) {
        phase = "receiving";
      }
      progress.accept(
          new DumpProgress(
              id,
              phase,
              raw,
              expectedBytes,
              figures.storedBytes(),
              Math.max(0, figures.packedBytes() - figures.storedBytes()),
              (System.nanoTime() - start) / 1_000_000));
    }
  }

  private static SnapshotException hurt(long pid, String how) {
    return new SnapshotException(
        SnapshotException.Kind.TASK_HURT,
        "CRIU was ended in the middle of its work ("
            + how
            + "), and process "
            + pid
            + " of the task died of it",
        "the next run goes on from the newest committed snapshot",
        null);
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
