package org.lifeboat.task;

import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.criu.Criu;
import org.lifeboat.criu.CriuException;
import org.lifeboat.criu.HookServer;
import org.lifeboat.init.Children;
import org.lifeboat.init.Frames;
import org.lifeboat.init.InitClient;
import org.lifeboat.init.InitEvent;
import org.lifeboat.init.InitException;
import org.lifeboat.init.WaitStatus;
import org.lifeboat.receive.WarmUp;
import org.lifeboat.snapshot.Bounded;
import org.lifeboat.snapshot.Census;
import org.lifeboat.snapshot.Context;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.DumpObserver;
import org.lifeboat.snapshot.DumpRequest;
import org.lifeboat.snapshot.DumpResult;
import org.lifeboat.snapshot.Dumper;
import org.lifeboat.snapshot.Folders;
import org.lifeboat.snapshot.HostFacts;
import org.lifeboat.snapshot.MetadataCopies;
import org.lifeboat.snapshot.MetadataStore;
import org.lifeboat.snapshot.Ownership;
import org.lifeboat.snapshot.Restorer;
import org.lifeboat.snapshot.Retention;
import org.lifeboat.snapshot.SnapshotException;
import org.lifeboat.snapshot.TaskFiles;
import org.lifeboat.store.HurriedStore;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.ObservedStore;
import org.lifeboat.store.RetryingStore;
import org.lifeboat.store.StoreException;
import org.lifeboat.sys.Libc;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One run of a task, from {@code lifeboat run} to its exit code.
 *
 * <p>A single loop decides; it takes events from one queue and never waits for anything else. What
 * takes time (starting or restoring, a snapshot, the commit of the task's end) runs on one worker
 * thread, in order, and reports back as an event. So there is no lock in here, and two snapshots
 * can never be under way at once.
 *
 * <p>The engine may die at any instant: lifeboat-init starts it again, and {@link #begin} finds out
 * where it stood from three witnesses: init (is there a task, does CRIU run), the store (whose is
 * it, what is committed), and the owner's id in the run directory (was it us). Nothing else of it
 * is remembered.
 */
public final class Engine {

  private static final Logger log = LoggerFactory.getLogger(Engine.class);

  /** How long a run waits for a store that cannot be reached, while no task runs. */
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  /** How long a store that does not answer is asked again before a request fails. */
  private static final RetryingStore.Limits RETRIES =
      new RetryingStore.Limits(
          Duration.ofSeconds(20), Duration.ofMillis(200), Duration.ofSeconds(5));

  /** How long the end waits for a copy of dump_metadata. */
  private static final Duration COPY_PATIENCE = Duration.ofSeconds(3);

  /** How long each request of the heartbeat may take: a fresh one is quicker than a stalled one. */
  private static final Duration HASTE = Duration.ofMillis(1500);

  private static final RetryingStore.Limits BEAT_RETRIES =
      new RetryingStore.Limits(
          Duration.ofSeconds(4), Duration.ofMillis(100), Duration.ofMillis(500), true);

  /** How long is tried to record the task's end, and then to remove what it does not need. */
  private static final Duration END_PATIENCE = Duration.ofSeconds(60);

  /** How long the run's own end waits for the store, and for what a dump still cleans up. */
  private static final Duration LEAVE_PATIENCE = Duration.ofSeconds(10);

  /** How long the end waits for who asked for a checkpoint, in nanoseconds. */
  private static final long CALLERS_PATIENCE = 3_000_000_000L;

  /** How long after a start or a dump its memory is given back. */
  private static final Duration TIDY_AFTER = Duration.ofSeconds(3);

  /** How old the list of files may be when the task starts, in nanoseconds. */
  private static final long BASELINE_AGE = 1_000_000_000L;

  /**
   * How long after the start the code of dumps is compiled, while nobody waits for it; shorter
   * tasks are spared that. LIFEBOAT_WARM_UP is another time, or {@code off}.
   */
  private static final Duration WARM_UP_DELAY = Duration.ofSeconds(10);

  /** A fifth of a processor, for some seconds. */
  private static final Duration WARM_UP_PAUSE = Duration.ofMillis(20);

  private final RunOptions options;
  private final Map<String, String> environment;
  private final Path runDirectory;
  private final CrashPoints crashPoints;
  private final Clock clock = Clock.systemUTC();
  private final SecureRandom random = new SecureRandom();
  private final BlockingQueue<Event> events = new LinkedBlockingQueue<>();
  private final ExecutorService worker =
      Executors.newSingleThreadExecutor(Thread.ofPlatform().daemon().name("snapshots").factory());

  private InitClient init;
  private Children children;
  private RunRegistry registry;
  private ControlServer control;
  private Optional<RequestLog> requests = Optional.empty();
  private ObjectStore store;
  private ObjectStore hurried;
  private MetadataStore metadata;
  private Ownership ownership;
  private HookServer hooks;
  private Context context;
  private Retention retention;
  private Dumper dumper;
  private OwnerWatch watch;
  private TaskFiles files;
  private Ahead<Long> baseline;
  private boolean anew;
  private Optional<WarmUp> warmUp = Optional.empty();
  private Optional<String> ownedAs = Optional.empty();
  private Standstill standstill;
  private Hold hold;
  private boolean doubt;
  private final List<Checkpoint> postponed = new ArrayList<>();
  private long taskPid;
  private boolean resuming;
  private boolean busy;
  private boolean finalDump;
  private Future<?> dumping = CompletableFuture.completedFuture(null);
  private volatile long lastAnswer = System.nanoTime();
  private boolean recovering;
  private boolean ending;
  private boolean saved;
  private Optional<InitEvent.TaskExited> pendingEnd = Optional.empty();
  private Optional<String> fenced = Optional.empty();
  private long nextSnapshot = Long.MAX_VALUE;

  private Engine(
      RunOptions options,
      Map<String, String> environment,
      Path runDirectory,
      CrashPoints crashPoints) {
    this.crashPoints = crashPoints;
    this.options = options;
    this.environment = environment;
    this.runDirectory = runDirectory;
  }

  /**
   * Runs to the end; the exit code goes to lifeboat-init, which then ends this process too.
   *
   * @return only when lifeboat-init could not be told, with the exit code
   */
  public static int run(RunOptions options, Map<String, String> environment) {
    String directory = environment.get("LIFEBOAT_RUN_DIR");
    if (directory == null) {
      log.error(
          "lifeboat run is started by its launcher bin/lifeboat, which makes LIFEBOAT_RUN_DIR");
      return ExitCodes.FAILURE;
    }
    CrashPoints crashPoints;
    try {
      crashPoints = CrashPoints.of(environment);
    } catch (IllegalArgumentException e) {
      log.error("{}", e.getMessage());
      return ExitCodes.USAGE;
    }
    Engine engine = new Engine(options, environment, Path.of(directory), crashPoints);
    int code;
    boolean decided = false;
    try {
      code = engine.loop();
      decided = true;
    } catch (End end) {
      decided = true;
      code = end.code;
      if (end.getMessage() != null) {
        log.error("{}", end.getMessage());
      }
    } catch (CriuException e) {
      log.error("{}", e.getMessage());
      code = ExitCodes.HOST;
    } catch (StoreException e) {
      log.error("{}", e.getMessage());
      code = ExitCodes.RESTORE;
    } catch (SnapshotException e) {
      log.error("{}", e.getMessage());
      code = codeOf(e);
    } catch (IOException e) {
      log.error("{}", describe(e));
      code = ExitCodes.RESTORE;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      code = ExitCodes.FAILURE;
    } catch (RuntimeException e) {
      log.error("lifeboat failed: {}", e, e);
      code = ExitCodes.FAILURE;
    }
    if (engine.resuming && !decided) {
      log.error("the task runs on; lifeboat-init starts the engine again");
      return code;
    }
    return engine.leave(code);
  }

  private static String describe(Throwable e) {
    return e instanceof FileSystemException f
        ? f.getFile() + ": " + Preflight.reason(f)
        : e.getMessage() == null ? e.toString() : e.getMessage();
  }

  private static int codeOf(SnapshotException e) {
    return switch (e.kind()) {
      case OTHER_COMMAND -> ExitCodes.USAGE;
      case OWNER_LOST, DEADLINE, UNKNOWN_OUTCOME -> ExitCodes.DUMP;
      default -> ExitCodes.RESTORE;
    };
  }

  // ---- beginning

  private int loop() throws IOException, InterruptedException {
    Ahead.start("json", DumpMetadata::prepare);
    children = new Children(event -> events.add(new FromInit(event)));
    init = InitClient.connect(runDirectory.resolve("init.sock"), children);
    InitClient.State state = init.hello();
    resuming = state.task() != InitClient.TaskState.NONE;
    if (!resuming) {
      Preflight.problem(environment)
          .ifPresent(
              problem -> {
                throw new End(problem.code(), problem.message());
              });
    }
    registry = claim();
    Optional<Duration> warmUpDelay = warmUpDelay();
    Ahead<Criu> criu = Ahead.start("criu-version", () -> Criu.find(environment));
    ObjectStore opened;
    try {
      requests = RequestLog.of(environment);
      opened = Stores.open(options.store(), environment, requests);
    } catch (StoreException e) {
      throw new End(ExitCodes.USAGE, e.getMessage()); // nothing was asked yet: a setting is wrong
    }
    files = files();
    if (!Files.exists(ownerFile())) {
      baseline = Ahead.start("baseline", this::scanBaseline);
    }
    ObjectStore observed = new ObservedStore(opened, this::observe);
    store = new RetryingStore(observed, RETRIES);
    hurried = new RetryingStore(new HurriedStore(observed, HASTE), BEAT_RETRIES);
    metadata =
        new MetadataStore(
            store,
            this::word,
            () -> MetadataStore.Pause.upTo(PATIENCE),
            Optional.of(new MetadataCopies(store)));
    ownership = new Ownership(store, metadata, clock, Thread::sleep);
    hooks = HookServer.listen(runDirectory.resolve("hook.sock"));
    control =
        ControlServer.listen(
            runDirectory.resolve("control.sock"), new ControlRequests(events::add));
    begin(criu.get(), state);
    warmUp = warmUpDelay.map(delay -> WarmUp.begin(runDirectory, delay, WARM_UP_PAUSE));
    while (true) {
      Event event = events.poll(untilNextSnapshot(), TimeUnit.MILLISECONDS);
      if (event == null) {
        snapshotByTimer();
        continue;
      }
      Optional<Integer> code = handle(event);
      if (code.isPresent()) {
        return code.get();
      }
    }
  }

  /** Holds this run's id in the store; an engine that finds it was preceded by another. */
  private Path ownerFile() {
    return runDirectory.resolve("owner");
  }

  private TaskFiles files() {
    List<Path> ours =
        new ArrayList<>(
            List.of(Stores.cache(environment), RunRegistry.base(environment), runDirectory));
    requests.map(RequestLog::file).ifPresent(ours::add);
    return new TaskFiles(
        options.directory(),
        options.preserve(),
        ours,
        options.store(),
        environment,
        runDirectory.resolve("baseline"),
        clock,
        crashPoints);
  }

  /**
   * Lists the files as they are before the task starts. That may begin before it is known whose the
   * store is, and whether the task is started or restored: it only reads.
   *
   * @return when it was over
   */
  private long scanBaseline() throws IOException {
    files.scanBaseline();
    return System.nanoTime();
  }

  private Optional<Duration> warmUpDelay() {
    String value = environment.getOrDefault("LIFEBOAT_WARM_UP", "");
    try {
      return switch (value) {
        case "off" -> Optional.empty();
        case "" -> Optional.of(WARM_UP_DELAY);
        default -> Optional.of(Durations.parse(value));
      };
    } catch (IllegalArgumentException e) {
      throw new End(ExitCodes.USAGE, "LIFEBOAT_WARM_UP: " + e.getMessage());
    }
  }

  private RunRegistry claim() throws IOException {
    Path base = RunRegistry.base(environment);
    Optional<RunRegistry> claimed;
    try {
      claimed = RunRegistry.claim(base, options.store(), runDirectory);
    } catch (IOException e) {
      if (resuming) {
        throw e;
      }
      throw new End(
          ExitCodes.HOST,
          "the folder "
              + base
              + " of this host's runs cannot be used: "
              + Preflight.reason(e)
              + " (LIFEBOAT_RUN_BASE names another)");
    }
    return claimed.orElseThrow(
        () ->
            new End(
                ExitCodes.USAGE,
                "another run of "
                    + options.store()
                    + " is under way on this host (stop it first, or use another --store)"));
  }

  private String word() {
    byte[] bytes = new byte[16];
    random.nextBytes(bytes);
    return HexFormat.of().formatHex(bytes);
  }

  private void observe(ObservedStore.Done call) {
    boolean answered =
        call.failure()
            .map(
                e ->
                    e instanceof StoreException s
                        && !s.retryable()
                        && s.kind() != StoreException.Kind.INTERRUPTED
                        && s.kind() != StoreException.Kind.UNKNOWN_OUTCOME)
            .orElse(true);
    if (answered) {
      lastAnswer = call.endNanos();
    }
  }

  /**
   * Does something with the store before the task is there, as long as the store answers now and
   * then; a signal ends the run meanwhile.
   */
  private <T> T whileAnswering(Callable<T> step) throws IOException, InterruptedException {
    FutureTask<T> future =
        new FutureTask<>(step) {
          @Override
          protected void done() {
            events.add(new Woken());
          }
        };
    lastAnswer = System.nanoTime();
    Thread.ofVirtual().name("store").start(future);
    try {
      while (!future.isDone()) {
        waitForSignal(1000);
        if (System.nanoTime() - lastAnswer > PATIENCE.toNanos() && !future.isDone()) {
          throw new StoreException(
              StoreException.Kind.UNREACHABLE,
              "use",
              options.store().toString(),
              "no answer for " + PATIENCE.toSeconds() + " s",
              "is the network up?",
              null);
        }
      }
      return future.get();
    } catch (ExecutionException e) {
      switch (e.getCause()) {
        case IOException cause -> throw cause;
        case InterruptedException cause -> throw cause;
        case RuntimeException cause -> throw cause;
        case Throwable cause -> throw new IllegalStateException(cause);
      }
    } finally {
      future.cancel(true);
    }
  }

  /** Waits before the task is there; a signal ends the run then, everything else is kept. */
  private void waitForSignal(long millis) throws InterruptedException {
    long end = System.nanoTime() + millis * 1_000_000;
    List<Event> kept = new ArrayList<>();
    try {
      for (long left = end - System.nanoTime(); left > 0; left = end - System.nanoTime()) {
        Event event = events.poll(left, TimeUnit.NANOSECONDS);
        switch (event) {
          case null -> {}
          case FromInit(InitEvent.Signalled(String name)) ->
              throw new End(128 + Signals.number(name), name + " before the task ran: ending");
          case FromInit(InitEvent.Lost(String why)) -> throw new End(ExitCodes.FAILURE, why);
          case Woken() -> {
            return;
          }
          default -> kept.add(event);
        }
      }
    } finally {
      events.addAll(kept);
    }
  }

  private void begin(Criu criu, InitClient.State state) throws IOException, InterruptedException {
    Path ownerFile = ownerFile();
    boolean again = Files.exists(ownerFile);
    Optional<String> written = OwnerFile.read(ownerFile);
    Optional<Integer> outcome = OutcomeFile.read(runDirectory);
    if (outcome.isPresent()) {
      log.info("a new engine takes over at the end of the run");
      over(outcome.get());
      return;
    }
    if (again && state.task() == InitClient.TaskState.RESTORING) {
      resumeRestore(criu, state, written);
      resuming = false;
      return;
    }
    if (again && state.task() != InitClient.TaskState.NONE) {
      resumeTask(criu, state, written);
      resuming = false;
      return;
    }
    if (again) {
      log.warn("an earlier engine died before the task ran: starting over");
      init.killAll(); // CRIU, or a tree that it had just restored
      for (String id : state.spawned().keySet()) {
        children.end(id).join();
      }
      baseline = Ahead.start("baseline", this::scanBaseline);
    }
    String ownerId = written.orElseGet(this::word);
    DumpMetadata.Owner me =
        new DumpMetadata.Owner(
            ownerId, HostFacts.name(), state.outerPid(), attempt(), clock.millis(), false);
    List<String> command = options.command().stream().map(Frames::text).toList();
    String directory = options.directory().toString();
    OwnerFile.write(ownerFile, ownerId); // before the store knows it: the next engine must
    crashPoints.at(RunPoint.RUN_BEGUN);
    Ownership.Taken taken =
        take(me, command, directory, document -> opened(document, command, directory));
    ownedAs = Optional.of(ownerId);
    crashPoints.at(RunPoint.RUN_TAKEN);
    prepare(criu, state, ownerId, taken.now().epoch());
    hooks.handler(HookServer.REFUSING);
    dumper.clearCache();
    Folders.createPrivate(context.cache());
    busy = true;
    worker.execute(() -> start(taken.now()));
  }

  /** Takes the store; one that cannot be reached is tried again for {@link #PATIENCE}. */
  private Ownership.Taken take(
      DumpMetadata.Owner me, List<String> command, String directory, Ownership.Opening opening)
      throws IOException, InterruptedException {
    long giveUp = System.nanoTime() + PATIENCE.toNanos();
    for (long wait = 500; ; wait = Math.min(2 * wait, 8000)) {
      try {
        return whileAnswering(
            () ->
                ownership.take(
                    me, command, directory, options.takeover(), options.fresh(), opening));
      } catch (StoreException e) {
        boolean again = e.retryable() || e.kind() == StoreException.Kind.UNKNOWN_OUTCOME;
        if (!again || System.nanoTime() > giveUp) {
          throw e;
        }
        log.warn(
            "the store does not answer, trying for {} s more: {}",
            Math.max(1, (giveUp - System.nanoTime()) / 1_000_000_000L),
            e.getMessage());
        waitForSignal(wait);
      }
    }
  }

  /** Ends a run whose outcome stands, or stays until the host is gone. */
  private void over(int code) throws IOException {
    init.killAll(); // a tree that lives on in the store
    Folders.delete(cache());
    if (code != ExitCodes.CHECKPOINTED || options.afterDump() != RunOptions.AfterDump.PARK) {
      throw new End(code, null);
    }
    park();
  }

  private void park() {
    log.info("the task is saved in {}; staying until this host is gone", options.store());
    ending = true;
    saved = true;
    taskPid = 0;
    nextSnapshot = Long.MAX_VALUE;
  }

  private Path cache() {
    return Stores.cache(environment).resolve(RunRegistry.hash(options.store()));
  }

  private int attempt() {
    for (String name :
        List.of("AWS_BATCH_JOB_ATTEMPT", "BATCH_TASK_RETRY_ATTEMPT", "SLURM_RESTART_COUNT")) {
      String value = environment.get(name);
      if (value != null && value.matches("\\d{1,6}")) {
        return Integer.parseInt(value);
      }
    }
    return 0;
  }

  private void prepare(Criu criu, InitClient.State state, String ownerId, long epoch)
      throws IOException {
    context =
        new Context(
            store,
            metadata,
            init,
            children,
            criu,
            hooks,
            files,
            ownerId,
            epoch,
            attempt(),
            options.command().stream().map(Frames::text).toList(),
            options.directory(),
            runDirectory,
            cache(),
            Path.of(
                environment.getOrDefault("LIFEBOAT_HOME", "/usr/lib/lifeboat"),
                "libexec",
                "lifeboat-hook"),
            Stores.memory(environment),
            state.stdoutInode(),
            state.stderrInode(),
            Version.current(),
            clock,
            crashPoints);
    retention = new Retention(store, metadata, ownerId, options.keep(), crashPoints);
    dumper =
        new Dumper(
            context, retention, requests.<DumpObserver>map(log -> log).orElse(DumpObserver.NONE));
    MetadataStore glance =
        new MetadataStore(hurried, this::word, () -> MetadataStore.Pause.upTo(HASTE));
    watch =
        new OwnerWatch(
            new Ownership(hurried, glance, clock, Thread::sleep),
            glance,
            ownerId,
            Thread::sleep,
            why -> events.add(new Fenced(why)));
    watch.start();
    hold = new Hold(init::signal, runDirectory.resolve("held"));
    standstill =
        new Standstill(
            glance,
            ownerId,
            () -> System.nanoTime() / 1_000_000,
            clock,
            Thread::sleep,
            new Standstill.Listener() {
              @Override
              public void stoodStill(Duration howLong) {
                events.add(new StoodStill(howLong));
              }

              @Override
              public void cleared() {
                events.add(new Cleared());
              }

              @Override
              public void lost(String why) {
                events.add(new Fenced(why));
              }
            });
    standstill.start();
  }

  /** An engine died in the last moment of a restore, with the task ready or just resumed. */
  private void resumeRestore(Criu criu, InitClient.State state, Optional<String> written)
      throws IOException, InterruptedException {
    DumpMetadata document = mine(state, written);
    ownedAs = Optional.of(document.owner().id());
    prepare(criu, state, document.owner().id(), document.epoch());
    log.info("a new engine takes over, in the middle of a restore");
    String restore =
        state.spawned().keySet().stream()
            .filter(id -> id.startsWith("restore-"))
            .findFirst()
            .orElse("");
    long pid = state.taskPid();
    busy = true;
    worker.execute(
        () -> {
          try {
            if (new Restorer(context).resume(restore, document)) {
              events.add(new Running(pid));
              tidyAfterRestore(document);
              return;
            }
          } catch (IOException e) {
            events.add(new StartFailed(ExitCodes.RESTORE, describe(e)));
            return;
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            events.add(new StartFailed(ExitCodes.FAILURE, "interrupted"));
            return;
          }
          baseline = Ahead.start("baseline", this::scanBaseline);
          start(document);
        });
  }

  /**
   * The store's document, if it is still ours. It is written, not just read: whatever a dead engine
   * had on its way, a commit say, is shut out so, or is in what is returned.
   */
  private DumpMetadata mine(InitClient.State state, Optional<String> written)
      throws IOException, InterruptedException {
    while (true) {
      try {
        MetadataStore.Current current =
            metadata
                .read()
                .orElseThrow(
                    () -> new End(ExitCodes.DUMP, options.store() + " has lost its dump_metadata"));
        DumpMetadata.Owner owner = current.document().owner();
        boolean ours =
            written.isPresent()
                ? written.get().equals(owner.id())
                : owner.host().equals(HostFacts.name()) && owner.pid() == state.outerPid();
        if (ours) {
          return metadata.update(owner.id(), document -> document);
        }
        init.killAll();
        throw new End(
            ExitCodes.DUMP,
            "another run has taken over " + options.store() + ": on " + owner.host());
      } catch (StoreException e) {
        log.warn("the task runs, but its store does not answer, trying again: {}", e.getMessage());
        Thread.sleep(5000);
      } catch (SnapshotException e) {
        if (e.kind() != SnapshotException.Kind.OWNER_LOST) {
          throw e;
        }
        log.warn("{}", e.getMessage()); // between read and write: it is looked again
      }
    }
  }

  /** An engine died; its task did not. */
  private void resumeTask(Criu criu, InitClient.State state, Optional<String> written)
      throws IOException, InterruptedException {
    DumpMetadata document = mine(state, written);
    ownedAs = Optional.of(document.owner().id());
    prepare(criu, state, document.owner().id(), document.epoch());
    taskPid = state.taskPid();
    Optional<String> dump =
        state.spawned().keySet().stream()
            .filter(id -> id.startsWith("final-") || id.startsWith("keep-"))
            .findFirst();
    Optional<DumpMetadata.Dump> committed =
        document.dumps().stream()
            .filter(d -> d.epoch() == document.epoch() && d.restorable())
            .reduce((a, b) -> b);
    if (dump.isEmpty() && document.task().state() == DumpMetadata.TaskState.ENDED) {
      return; // init has told it already
    }
    if (dump.isEmpty() && document.owner().released()) {
      // a final dump is committed, or the run was ending: from the release on others may have it
      log.info("a new engine takes over at the end of the run");
      over(committed.isPresent() ? ExitCodes.CHECKPOINTED : ExitCodes.FAILURE);
      return;
    }
    hold.release(); // the document was written just now
    log.info("a new engine takes over; the task (process {}) was not disturbed", taskPid);
    if (dump.isPresent()) {
      boolean isFinal = dump.get().startsWith("final-");
      int id = Integer.parseInt(dump.get().substring(dump.get().indexOf('-') + 1));
      finalDump = isFinal;
      recovering = true;
      busy = true;
      worker.execute(
          () -> {
            DumpResult result = dumper.recover(dump.get(), id, isFinal);
            events.add(new SnapshotDone(result, Optional.empty()));
          });
    } else {
      dumper.letGo();
      hooks.handler(HookServer.REFUSING);
      worker.execute(() -> tidyAfterRestore(document));
      Optional<DumpMetadata.Dump> unfinished =
          document.dumps().stream()
              .filter(d -> d.state() == DumpMetadata.DumpState.DUMPING)
              .reduce((a, b) -> b);
      if (unfinished.isPresent()) {
        busy = true;
        worker.execute(
            () ->
                events.add(
                    new SnapshotDone(
                        dumper.resume(unfinished.get().id(), false, 0), Optional.empty())));
      }
    }
    scheduleNext();
  }

  private void tidyAfterRestore(DumpMetadata document) {
    try {
      new Restorer(context).tidy(document);
    } catch (IOException e) {
      log.warn("what is left of the restore could not be removed: {}", describe(e));
    }
  }

  // ---- the worker's jobs

  /** What the take-over makes of the document that is there. */
  private DumpMetadata opened(DumpMetadata document, List<String> command, String directory)
      throws SnapshotException {
    anew = startsAnew(document, command);
    if (!anew) {
      return document;
    }
    int generation = document.task().generation() + (document.dumps().isEmpty() ? 0 : 1);
    return document.withTask(
        new DumpMetadata.Task(DumpMetadata.TaskState.ACTIVE, null, clock.millis(), generation),
        command,
        directory);
  }

  private void start(DumpMetadata document) {
    try {
      if (!anew && !document.restorable().isEmpty()) {
        baseline.cancel(); // a restore brings the list of its snapshot
      }
      Optional<Long> restored =
          anew ? Optional.empty() : new Restorer(context).restoreNewest(document);
      if (restored.isPresent()) {
        events.add(new Running(restored.get()));
        return;
      }
      if (System.nanoTime() - baseline.get() > BASELINE_AGE) { // another run was waited for
        files.scanBaseline();
      }
      init.lastPid(1000);
      crashPoints.at(RunPoint.RUN_BASELINE);
      startCommand();
    } catch (InitException e) {
      events.add(new StartFailed(ExitCodes.RESTORE, e.getMessage()));
    } catch (SnapshotException e) {
      events.add(new StartFailed(codeOf(e), e.getMessage()));
    } catch (IOException e) {
      events.add(new StartFailed(ExitCodes.RESTORE, describe(e)));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      events.add(new StartFailed(ExitCodes.FAILURE, "interrupted"));
    } catch (RuntimeException e) {
      log.error("starting the task failed", e);
      events.add(new StartFailed(ExitCodes.FAILURE, e.toString()));
    }
  }

  private void startCommand() {
    try {
      long pid = init.startTask(options.directory(), taskEnvironment(), options.command());
      crashPoints.at(RunPoint.RUN_STARTED);
      events.add(new Running(pid));
    } catch (InitException e) {
      StartFailure failure =
          StartFailure.of(
              Frames.text(options.command().getFirst()),
              options.directory(),
              e.errno(),
              e.getMessage());
      events.add(new StartFailed(failure.code(), failure.message()));
    }
  }

  private boolean startsAnew(DumpMetadata document, List<String> command) throws SnapshotException {
    if (document.task().state() == DumpMetadata.TaskState.ENDED) {
      log.info(
          "the task of {} had ended with exit code {}: starting it anew",
          options.store(),
          document.task().exitCode());
      return true;
    }
    if (options.fresh()) {
      if (!document.dumps().isEmpty()) {
        log.info(
            "--fresh: starting the command anew, {} dumps are passed over",
            document.dumps().size());
      }
      return true;
    }
    if (!document.command().equals(command) && !document.restorable().isEmpty()) {
      throw new SnapshotException(
          SnapshotException.Kind.OTHER_COMMAND,
          "the snapshots of "
              + options.store()
              + " are of another command: "
              + String.join(" ", document.command())
              + "; this one is: "
              + String.join(" ", command),
          "give the same command, use another --store, or add --fresh to start this one",
          null);
    }
    if (document.dumps().isEmpty() || !document.command().equals(command)) {
      if (document.epoch() > 1) {
        log.info("{} holds no snapshot of this command: starting it", options.store());
      }
      return true;
    }
    return false;
  }

  private Map<String, String> taskEnvironment() {
    return TaskEnvironment.of(options.environment());
  }

  // ---- the loop's decisions

  private Optional<Integer> handle(Event event) throws IOException, InterruptedException {
    return switch (event) {
      case FromInit(InitEvent.TaskExited exited) -> taskExited(exited);
      case FromInit(InitEvent.Signalled signalled) -> signalled(signalled.name());
      case FromInit(InitEvent.Lost lost) -> throw new End(ExitCodes.FAILURE, lost.why());
      case FromInit(InitEvent.Exited exited) -> Optional.empty();
      case Running(long pid) -> {
        taskPid = pid;
        busy = false;
        holdInDoubt();
        scheduleNext();
        worker.execute(Libc::prepareReading); // so that no frozen task has to wait for it
        tidyLater();
        Thread.ofVirtual().name("tidy").start(retention::tidy); // what runs before this one left
        yield pendingEnd.isPresent() ? taskExited(pendingEnd.get()) : Optional.empty();
      }
      case StartFailed(int code, String why) -> throw new End(code, why);
      case Fenced(String why) -> {
        // a run that has saved its task or recorded its end is rightly followed by another
        if (!ending && finalDump && dumper.committing()) {
          fenced = Optional.of(why);
        } else if (!ending) {
          fence(why);
        }
        yield Optional.empty();
      }
      case StoodStill(Duration howLong) -> {
        log.warn(
            "this run stood still for {}: the task waits until it is known that no other run has it",
            Durations.show(howLong));
        doubt = true;
        holdInDoubt();
        yield Optional.empty();
      }
      case Cleared() -> {
        doubt = false;
        hold.release();
        log.info("no other run has taken the task: it goes on");
        events.addAll(postponed);
        postponed.clear();
        yield Optional.empty();
      }
      case Checkpoint request -> {
        checkpoint(request);
        yield Optional.empty();
      }
      case SnapshotDone done -> snapshotDone(done);
      case NotBegun() -> notBegun();
      case Woken() -> Optional.empty();
      case EndCommitted(int code) -> Optional.of(code);
    };
  }

  /**
   * Stops the task while it is not known whose it is. Not beside CRIU: it has the tree frozen, or
   * would save it as stopped; then it is done as soon as CRIU has ended.
   */
  private void holdInDoubt() throws IOException {
    if (doubt && taskPid != 0 && !ending && (!busy || dumper.thawed()) && !hold.held()) {
      log.debug("{} processes are stopped", hold.stop(taskPid));
    }
  }

  private void fence(String why) throws InitException {
    log.error("{}: ending the task here", why);
    init.killAll();
    dumper.cancel(why); // what it has begun to upload is taken back while this run ends
    throw new End(ExitCodes.DUMP, null);
  }

  private long untilNextSnapshot() {
    if (nextSnapshot == Long.MAX_VALUE || busy || ending || doubt) {
      return 3_600_000;
    }
    return Math.max(0, nextSnapshot - System.nanoTime() / 1_000_000);
  }

  private void scheduleNext() {
    options
        .every()
        .ifPresent(every -> nextSnapshot = System.nanoTime() / 1_000_000 + every.toMillis());
  }

  private void snapshotByTimer() {
    if (busy || ending || doubt || taskPid == 0 || nextSnapshot > System.nanoTime() / 1_000_000) {
      return;
    }
    take(new DumpRequest(true, Optional.empty(), "--every"), Optional.empty());
  }

  private void checkpoint(Checkpoint request) {
    if (request.begun().get()) {
      return; // it was answered when its deadline passed
    }
    request.watchDeadline();
    if ((finalDump && !recovering) || saved) {
      refuse(
          request,
          "the task of "
              + options.store()
              + (saved ? " is saved already" : " is being saved for good already")
              + " (lifeboat list --store "
              + options.store()
              + " shows it)");
      return;
    }
    if (ending || (taskPid == 0 && !busy)) {
      refuse(request, "the task of " + options.store() + " has ended (there is nothing to save)");
      return;
    }
    if (doubt) {
      postponed.add(request);
      return;
    }
    if (taskPid == 0) {
      worker.execute(() -> events.add(request)); // when it has been started or restored
      return;
    }
    if (busy) {
      worker.execute(() -> events.add(request)); // in its turn, when what is under way has ended
      return;
    }
    take(request.dump(), Optional.of(request));
  }

  private static void refuse(Checkpoint request, String why) {
    if (request.begun().compareAndSet(false, true)) {
      request.reply().send(new ControlServer.Failed(true, ExitCodes.USAGE, why));
    }
  }

  private void take(DumpRequest request, Optional<Checkpoint> asked) {
    busy = true;
    finalDump = !request.leaveRunning();
    long root = taskPid;
    Optional<ControlServer.Reply> reply = asked.map(Checkpoint::reply);
    dumping =
        worker.submit(
            () -> {
              if (asked.isPresent() && !asked.get().begun().compareAndSet(false, true)) {
                events.add(new NotBegun());
                return;
              }
              warmUp.ifPresent(WarmUp::close);
              dumper.dump(
                  root,
                  request,
                  progress -> reply.ifPresent(r -> r.send(progress)),
                  result -> events.add(new SnapshotDone(result, reply)));
            });
  }

  /** Its deadline passed while the worker was busy with something else. */
  private Optional<Integer> notBegun() {
    busy = false;
    finalDump = false;
    return pendingEnd.isPresent() ? taskExited(pendingEnd.get()) : Optional.empty();
  }

  /**
   * Gives back the memory that a start, a restore or a dump took, as hours may pass before the next
   * one: the heap's by a collection (of some 10 MiB, in 30 ms; it also frees direct buffers), then
   * what the C library keeps. Not at once, when the task is beginning or a host is being emptied.
   */
  private void tidyLater() {
    Thread.ofPlatform()
        .daemon()
        .name("tidy")
        .start(
            () -> {
              try {
                Thread.sleep(TIDY_AFTER);
                worker.execute(
                    () -> {
                      System.gc();
                      Libc.trimMemory();
                    });
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            });
  }

  private Optional<Integer> snapshotDone(SnapshotDone done)
      throws IOException, InterruptedException {
    busy = false;
    boolean wasFinal = finalDump;
    finalDump = false;
    recovering = false;
    if (wasFinal && done.result().ok()) {
      OutcomeFile.write(runDirectory, ExitCodes.CHECKPOINTED);
    }
    boolean tooLate = !done.result().ok() && pendingEnd.isPresent() && !done.result().ownerLost();
    done.reply()
        .ifPresent(
            reply -> {
              if (tooLate) {
                reply.send(
                    new ControlServer.Failed(
                        true,
                        ExitCodes.USAGE,
                        "the task of "
                            + options.store()
                            + " ended while it was being saved (there is nothing to save)"));
              } else {
                reply.send(done.result());
              }
            });
    scheduleNext();
    tidyLater();
    if (done.result().ok()) {
      log.info("{}", done.result().summary());
      if (wasFinal) {
        ending = true;
        saved = true;
        if (options.afterDump() == RunOptions.AfterDump.PARK) {
          park();
          return Optional.empty();
        }
        return Optional.of(ExitCodes.CHECKPOINTED);
      }
    } else {
      if (tooLate) {
        log.info("dump {} is given up: {}", done.result().dump(), done.result().error());
      } else {
        log.error("{}", done.result().summary());
      }
      if (done.result().ownerLost() || dumper.taskHurt()) {
        init.killAll();
        throw new End(ExitCodes.DUMP, null);
      }
    }
    if (fenced.isPresent()) {
      fence(fenced.get());
    }
    if (pendingEnd.isPresent()) {
      return taskExited(pendingEnd.get());
    }
    holdInDoubt();
    return Optional.empty();
  }

  private Optional<Integer> taskExited(InitEvent.TaskExited exited) {
    if (busy && taskPid != 0) {
      pendingEnd =
          Optional.of(exited); // either the dump ended it, or it ended the dump: its result tells
      if (!finalDump) {
        dumper.cancel("the task has ended");
      }
      return Optional.empty();
    }
    if (ending || (taskPid == 0 && !busy)) {
      return Optional.empty();
    }
    WaitStatus status = exited.status();
    if (dumper.mayHaveHurtTheTask(status.signal())) {
      throw new End(
          ExitCodes.DUMP,
          "the task was "
              + status
              + " after CRIU had been killed in the middle of its work: that is not taken for its end, the next run goes on from the newest committed snapshot");
    }
    ending = true;
    nextSnapshot = Long.MAX_VALUE;
    worker.execute(() -> events.add(new EndCommitted(commitEnd(status.exitCode()))));
    return Optional.empty();
  }

  private int commitEnd(int code) {
    crashPoints.at(RunPoint.RUN_TASK_ENDED);
    AtomicReference<DumpMetadata> recorded = new AtomicReference<>();
    AtomicReference<String> failure =
        new AtomicReference<>("no answer for " + END_PATIENCE.toSeconds() + " s");
    boolean inTime =
        Bounded.run(
            END_PATIENCE,
            () -> {
              try {
                recorded.set(recordEnd(code));
              } catch (StoreException | SnapshotException | RuntimeException e) {
                failure.set(describe(e));
              }
            });
    DumpMetadata last = recorded.get();
    if (last == null) {
      log.error(
          "the task ended with exit code {}, but that could not be recorded in {}; another run of"
              + " it would go on from its newest snapshot: {}",
          code,
          options.store(),
          inTime ? failure.get() : "no answer for " + END_PATIENCE.toSeconds() + " s");
      return code;
    }
    OutcomeFile.write(runDirectory, code);
    crashPoints.at(RunPoint.RUN_END_RECORDED);
    if (!Bounded.run(END_PATIENCE, () -> retention.end(last))) {
      log.warn(
          "the store is slow: not all snapshots of the task, which has ended, were removed within {} s; lifeboat gc {} removes the rest",
          END_PATIENCE.toSeconds(),
          options.store());
    }
    crashPoints.at(RunPoint.RUN_IMAGES_REMOVED);
    return code;
  }

  private DumpMetadata recordEnd(int code) throws StoreException, SnapshotException {
    return metadata.update(
        context.ownerId(),
        d ->
            d.withTask(
                    new DumpMetadata.Task(
                        DumpMetadata.TaskState.ENDED, code, clock.millis(), d.task().generation()))
                .released());
  }

  private Optional<Integer> signalled(String name) throws IOException {
    int number = Signals.number(name);
    if (taskPid == 0) {
      if (ending) {
        return Optional.of(ExitCodes.CHECKPOINTED);
      }
      log.info("{} before the task ran: ending", name);
      return Optional.of(128 + number);
    }
    if (finalDump) {
      log.info("{} while the final dump is under way: the dump goes on", name);
      return Optional.empty();
    }
    try {
      init.signal(taskPid, number);
    } catch (InitException e) {
      if (e.errno() != InitClient.ESRCH) {
        throw e;
      }
      log.info("{} came when the task had just ended", name);
    }
    return Optional.empty();
  }

  // ---- leaving

  private int leave(int code) {
    List<Exception> failures = new CopyOnWriteArrayList<>();
    attempt(
        failures,
        () -> {
          if (watch != null) {
            watch.close();
            standstill.close();
          }
        });
    attempt(failures, this::stopListing);
    if (!Bounded.run(LEAVE_PATIENCE, () -> attempt(failures, this::release))) {
      failures.add(
          new IOException(
              "the store does not answer: the next run of "
                  + options.store()
                  + " will wait to see that this one has ended"));
    }
    attempt(failures, this::awaitTidy);
    attempt(failures, this::settle);
    crashPoints.at(RunPoint.RUN_RELEASED);
    attempt(failures, Engine::awaitCallers);
    attempt(
        failures,
        () -> {
          if (context != null) {
            Folders.delete(context.cache());
          }
        });
    attempt(
        failures,
        () -> {
          if (control != null) {
            control.close();
          }
        });
    attempt(
        failures,
        () -> {
          if (store != null) {
            store.close();
          }
        });
    // init has its order before its socket goes: another engine could not tell it any more
    attempt(
        failures,
        () -> {
          if (init != null) {
            init.exit(code);
          }
        });
    crashPoints.at(RunPoint.RUN_LEAVING);
    attempt(
        failures,
        () -> {
          if (init != null) {
            Folders.delete(runDirectory);
          }
        });
    attempt(
        failures,
        () -> {
          if (registry != null) {
            registry.close(); // last: the next run removes what it leads to
          }
        });
    for (Exception failure : failures) {
      log.warn("while ending: {}", describe(failure));
    }
    return code;
  }

  /**
   * A {@code lifeboat checkpoint} that was started in the container has its answer, but would be
   * killed with everything else before it has told it to its caller.
   */
  private static void awaitCallers() throws IOException {
    Path self = Files.readSymbolicLink(Path.of("/proc/self/exe"));
    long pid = ProcessHandle.current().pid();
    long giveUp = System.nanoTime() + CALLERS_PATIENCE;
    boolean waiting = true;
    while (waiting && System.nanoTime() < giveUp) {
      waiting = false;
      for (Census.Entry process : Census.take().visitors()) {
        Path exe = Path.of("/proc", Long.toString(process.pid()), "exe");
        try {
          waiting |= process.pid() != pid && Files.readSymbolicLink(exe).equals(self);
        } catch (IOException e) {
          log.debug("{} has ended: {}", process, e.getMessage());
        }
      }
      if (waiting) {
        LockSupport.parkNanos(20_000_000);
      }
    }
  }

  private void settle() {
    try {
      if (metadata != null) {
        metadata.settle(COPY_PATIENCE);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** It writes into the folder that goes. */
  private void stopListing() {
    try {
      if (baseline != null) {
        baseline.cancel();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Lets the next run begin at once, where this one still owns the store. */
  private void release() throws IOException {
    if (ownedAs.isEmpty()) {
      return;
    }
    Optional<MetadataStore.Current> current = metadata.read();
    if (current.isPresent()
        && current.get().document().owner().id().equals(ownedAs.get())
        && !current.get().document().owner().released()) {
      metadata.update(ownedAs.get(), DumpMetadata::released);
    }
  }

  /** What a dump cleans up behind its answer; the next run does it otherwise. */
  private void awaitTidy() throws IOException {
    try {
      dumping.get(LEAVE_PATIENCE.toNanos(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      throw new IOException("the last dump is still being cleaned up", e);
    } catch (ExecutionException e) {
      throw new IOException("the last dump's clean-up failed: " + e.getCause(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static void attempt(List<Exception> failures, Step step) {
    try {
      step.run();
    } catch (IOException | RuntimeException e) {
      failures.add(e);
    }
  }

  @FunctionalInterface
  private interface Step {
    void run() throws IOException;
  }

  // ---- events

  /** What the loop decides about. */
  sealed interface Event {}

  record FromInit(InitEvent event) implements Event {}

  /** The task runs: started, or restored. */
  record Running(long pid) implements Event {}

  record StartFailed(int code, String why) implements Event {}

  /** Another run has the store now. */
  record Fenced(String why) implements Event {}

  /** This run stood still: another one may have taken it for dead. */
  record StoodStill(Duration howLong) implements Event {}

  /** It was asked since, and the task is still this run's. */
  record Cleared() implements Event {}

  /** What the loop waited for with the store is done. */
  record Woken() implements Event {}

  /** A dump was not begun, as its deadline had passed by then. */
  record NotBegun() implements Event {}

  /**
   * Somebody asks for a checkpoint.
   *
   * @param begun whether it was begun, or answered because its deadline passed before
   * @param watched whether its deadline is looked after
   */
  record Checkpoint(
      DumpRequest dump, ControlServer.Reply reply, AtomicBoolean begun, AtomicBoolean watched)
      implements Event {

    Checkpoint(DumpRequest dump, ControlServer.Reply reply) {
      this(dump, reply, new AtomicBoolean(), new AtomicBoolean());
    }

    /** Answers when the deadline passes before it is begun. */
    void watchDeadline() {
      if (dump.deadline().isEmpty() || !watched.compareAndSet(false, true)) {
        return;
      }
      Thread.ofVirtual()
          .name("deadline")
          .start(
              () -> {
                long left = dump.deadlineNanos() - System.nanoTime();
                LockSupport.parkNanos(left);
                while (dump.deadlineNanos() - System.nanoTime() > 0) {
                  LockSupport.parkNanos(dump.deadlineNanos() - System.nanoTime());
                }
                if (begun.compareAndSet(false, true)) {
                  reply.send(
                      new ControlServer.Failed(
                          true,
                          ExitCodes.DUMP,
                          "its deadline passed before it could begin, behind what was under way"
                              + " (the log tells; a store that does not answer?)"));
                }
              });
    }
  }

  record SnapshotDone(DumpResult result, Optional<ControlServer.Reply> reply) implements Event {}

  /** The task's end is in the store, as far as it could be brought there. */
  record EndCommitted(int code) implements Event {}

  /** Ends the run with a code and, unless it is null, a message. */
  private static final class End extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final int code;

    End(int code, String message) {
      super(message, null, false, false);
      this.code = code;
    }
  }
}
