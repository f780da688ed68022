package org.lifeboat.task;

import java.io.IOException;
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
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.lifeboat.criu.Criu;
import org.lifeboat.criu.HookServer;
import org.lifeboat.init.Children;
import org.lifeboat.init.Frames;
import org.lifeboat.init.InitClient;
import org.lifeboat.init.InitEvent;
import org.lifeboat.init.InitException;
import org.lifeboat.init.WaitStatus;
import org.lifeboat.snapshot.Catalog;
import org.lifeboat.snapshot.Context;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.DumpObserver;
import org.lifeboat.snapshot.DumpRequest;
import org.lifeboat.snapshot.DumpResult;
import org.lifeboat.snapshot.Dumper;
import org.lifeboat.snapshot.Folders;
import org.lifeboat.snapshot.HostFacts;
import org.lifeboat.snapshot.MetadataStore;
import org.lifeboat.snapshot.Ownership;
import org.lifeboat.snapshot.Restorer;
import org.lifeboat.snapshot.SnapshotException;
import org.lifeboat.snapshot.TaskFiles;
import org.lifeboat.store.ObjectStore;
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

  /** How long the end of the task may wait for a store that cannot be reached, in milliseconds. */
  private static final long END_PATIENCE = 60_000;

  private final RunOptions options;
  private final Map<String, String> environment;
  private final Path runDirectory;
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
  private MetadataStore metadata;
  private Ownership ownership;
  private HookServer hooks;
  private Context context;
  private Dumper dumper;
  private OwnerWatch watch;
  private long taskPid;
  private boolean busy;
  private boolean finalDump;
  private boolean ending;
  private Optional<InitEvent.TaskExited> pendingEnd = Optional.empty();
  private long nextSnapshot = Long.MAX_VALUE;

  private Engine(RunOptions options, Map<String, String> environment, Path runDirectory) {
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
    Engine engine = new Engine(options, environment, Path.of(directory));
    int code;
    try {
      code = engine.loop();
    } catch (End end) {
      code = end.code;
      if (end.getMessage() != null) {
        log.error("{}", end.getMessage());
      }
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
    return engine.leave(code);
  }

  private static String describe(Throwable e) {
    return e.getMessage() == null ? e.toString() : e.getMessage();
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
    children = new Children(event -> events.add(new FromInit(event)));
    init = InitClient.connect(runDirectory.resolve("init.sock"), children);
    Path base = RunRegistry.base(environment);
    registry =
        RunRegistry.claim(base, options.store(), runDirectory)
            .orElseThrow(
                () ->
                    new End(
                        ExitCodes.USAGE,
                        "another run of "
                            + options.store()
                            + " is under way on this host; stop it first, or use another --store"));
    Criu criu = Criu.find(environment);
    requests = RequestLog.of(environment);
    store = Stores.open(options.store(), environment, requests);
    metadata = new MetadataStore(store, this::word, Engine::pause);
    ownership = new Ownership(store, metadata, clock, Thread::sleep);
    hooks = HookServer.listen(runDirectory.resolve("hook.sock"));
    control =
        ControlServer.listen(
            runDirectory.resolve("control.sock"), new ControlRequests(events::add));
    InitClient.State state = init.hello();
    begin(criu, state);
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

  private String word() {
    byte[] bytes = new byte[16];
    random.nextBytes(bytes);
    return HexFormat.of().formatHex(bytes);
  }

  private static void pause() throws StoreException {
    try {
      Thread.sleep(1000);
    } catch (InterruptedException e) {
      // what is being asked for must be known before anything else may happen, so an interrupt only
      // shortens this wait
      log.debug("not interrupted while the outcome of a commit is unknown");
    }
  }

  private void begin(Criu criu, InitClient.State state) throws IOException, InterruptedException {
    Path ownerFile = runDirectory.resolve("owner");
    boolean again = Files.exists(ownerFile);
    String ownerId = again ? Files.readString(ownerFile).strip() : word();
    if (again && state.task() != InitClient.TaskState.NONE) {
      resumeTask(criu, state, ownerId);
      return;
    }
    if (!state.spawned().isEmpty()) {
      log.warn("an earlier engine died while CRIU was restoring: starting that over");
      init.killAll();
      for (String id : state.spawned().keySet()) {
        children.end(id).join();
      }
    }
    DumpMetadata.Owner me =
        new DumpMetadata.Owner(
            ownerId, HostFacts.name(), state.outerPid(), attempt(), clock.millis(), false);
    List<String> command = options.command().stream().map(Frames::text).toList();
    String directory = options.directory().toString();
    Ownership.Taken taken = ownership.take(me, command, directory, options.takeover() || again);
    Files.writeString(ownerFile, ownerId);
    prepare(criu, state, ownerId, taken.now().epoch());
    dumper.clearCache();
    busy = true;
    worker.execute(() -> start(command, directory));
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
    List<Path> ours =
        new ArrayList<>(
            List.of(Stores.cache(environment), RunRegistry.base(environment), runDirectory));
    requests.map(RequestLog::file).ifPresent(ours::add);
    Path cache = Stores.cache(environment).resolve(RunRegistry.hash(options.store()));
    TaskFiles files =
        new TaskFiles(
            options.directory(),
            options.preserve(),
            ours,
            options.store(),
            environment,
            runDirectory.resolve("baseline"),
            clock);
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
            cache,
            Path.of(
                environment.getOrDefault("LIFEBOAT_HOME", "/usr/lib/lifeboat"),
                "libexec",
                "lifeboat-hook"),
            Stores.memory(environment),
            state.stdoutInode(),
            state.stderrInode(),
            Version.current(),
            clock);
    dumper = new Dumper(context, requests.<DumpObserver>map(log -> log).orElse(DumpObserver.NONE));
    watch = new OwnerWatch(ownership, metadata, ownerId, why -> events.add(new Fenced(why)));
    watch.start();
  }

  /** An engine died; its task did not. */
  private void resumeTask(Criu criu, InitClient.State state, String ownerId)
      throws IOException, InterruptedException {
    MetadataStore.Current current =
        metadata
            .read()
            .orElseThrow(
                () -> new End(ExitCodes.DUMP, options.store() + " has lost its dump_metadata"));
    if (!current.document().owner().id().equals(ownerId)) {
      init.killAll();
      throw new End(
          ExitCodes.DUMP,
          "another run has taken over "
              + options.store()
              + ": on "
              + current.document().owner().host());
    }
    prepare(criu, state, ownerId, current.document().epoch());
    taskPid = state.taskPid();
    log.info("a new engine takes over; the task (process {}) was not disturbed", taskPid);
    Optional<String> dump =
        state.spawned().keySet().stream()
            .filter(id -> id.startsWith("final-") || id.startsWith("keep-"))
            .findFirst();
    Optional<DumpMetadata.Dump> committed =
        current.document().dumps().stream()
            .filter(d -> d.epoch() == current.document().epoch() && d.restorable())
            .reduce((a, b) -> b);
    if (dump.isPresent()) {
      boolean isFinal = dump.get().startsWith("final-");
      int id = Integer.parseInt(dump.get().substring(dump.get().indexOf('-') + 1));
      boolean done = committed.isPresent() && committed.get().id() == id;
      finalDump = isFinal;
      busy = true;
      worker.execute(
          () -> {
            DumpResult result = dumper.recover(dump.get(), id, isFinal, done);
            events.add(new SnapshotDone(result, Optional.empty()));
          });
    } else {
      Optional<DumpMetadata.Dump> unfinished =
          current.document().dumps().stream()
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
    if (state.task() == InitClient.TaskState.ENDED && dump.isEmpty()) {
      boolean byDump =
          state.status().signal() == 9
              && committed.isPresent()
              && current.document().owner().released();
      if (byDump) {
        throw new End(ExitCodes.CHECKPOINTED, null);
      }
      events.add(new FromInit(new InitEvent.TaskExited(state.taskPid(), state.status())));
    }
  }

  // ---- the worker's jobs

  private void start(List<String> command, String directory) {
    try {
      DumpMetadata document = metadata.read().orElseThrow().document();
      Optional<Long> restored = Optional.empty();
      if (startsAnew(document, command)) {
        int generation = document.task().generation() + (document.dumps().isEmpty() ? 0 : 1);
        metadata.update(
            context.ownerId(),
            d ->
                d.withTask(
                    new DumpMetadata.Task(
                        DumpMetadata.TaskState.ACTIVE, null, clock.millis(), generation),
                    command,
                    directory));
      } else {
        restored = new Restorer(context).restoreNewest(document);
      }
      if (restored.isPresent()) {
        events.add(new Running(restored.get()));
        return;
      }
      context.files().scanBaseline();
      init.lastPid(1000);
      long pid = init.startTask(options.directory(), taskEnvironment(), options.command());
      events.add(new Running(pid));
    } catch (InitException e) {
      events.add(
          new StartFailed(
              e.errno() == 2
                  ? ExitCodes.NOT_FOUND
                  : e.errno() == 13 || e.errno() == 8 || e.errno() == 20
                      ? ExitCodes.NOT_EXECUTABLE
                      : ExitCodes.FAILURE,
              Frames.text(options.command().getFirst())
                  + ": "
                  + (e.errno() == 2 ? "command not found" : e.getMessage())));
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
        scheduleNext();
        worker.execute(Libc::prepareReading); // so that no frozen task has to wait for it
        yield Optional.empty();
      }
      case StartFailed(int code, String why) -> throw new End(code, why);
      case Fenced(String why) -> {
        log.error("{}: ending the task here", why);
        init.killAll();
        throw new End(ExitCodes.DUMP, null);
      }
      case Checkpoint request -> {
        checkpoint(request);
        yield Optional.empty();
      }
      case SnapshotDone done -> snapshotDone(done);
      case EndCommitted(int code) -> Optional.of(code);
    };
  }

  private long untilNextSnapshot() {
    if (nextSnapshot == Long.MAX_VALUE || busy) {
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
    if (busy || ending || taskPid == 0 || nextSnapshot > System.nanoTime() / 1_000_000) {
      return;
    }
    take(new DumpRequest(true, Optional.empty(), "--every"), Optional.empty());
  }

  private void checkpoint(Checkpoint request) {
    if (ending || finalDump) {
      request.reply().send(new ControlServer.Failed(true, ExitCodes.DUMP, "the run is ending"));
      return;
    }
    if (taskPid == 0) {
      if (busy) {
        worker.execute(() -> events.add(request));
      } else {
        request.reply().send(new ControlServer.Failed(true, ExitCodes.DUMP, "no task is running"));
      }
      return;
    }
    if (busy) {
      worker.execute(() -> events.add(request)); // in its turn, when what is under way has ended
      return;
    }
    take(request.dump(), Optional.of(request.reply()));
  }

  private void take(DumpRequest request, Optional<ControlServer.Reply> reply) {
    busy = true;
    finalDump = !request.leaveRunning();
    long root = taskPid;
    worker.execute(
        () ->
            events.add(
                new SnapshotDone(
                    dumper.dump(root, request, progress -> reply.ifPresent(r -> r.send(progress))),
                    reply)));
  }

  private Optional<Integer> snapshotDone(SnapshotDone done)
      throws IOException, InterruptedException {
    busy = false;
    boolean wasFinal = finalDump;
    finalDump = false;
    done.reply().ifPresent(reply -> reply.send(done.result()));
    scheduleNext();
    if (done.result().ok()) {
      log.info("{}", done.result().summary());
      if (wasFinal) {
        ending = true;
        if (options.afterDump() == RunOptions.AfterDump.PARK) {
          log.info("the task is saved in {}; staying until this host is gone", options.store());
          taskPid = 0;
          nextSnapshot = Long.MAX_VALUE;
          return Optional.empty();
        }
        return Optional.of(ExitCodes.CHECKPOINTED);
      }
    } else {
      log.error("{}", done.result().summary());
      if (done.result().ownerLost()) {
        init.killAll();
        throw new End(ExitCodes.DUMP, null);
      }
    }
    if (pendingEnd.isPresent()) {
      return taskExited(pendingEnd.get());
    }
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
    ending = true;
    nextSnapshot = Long.MAX_VALUE;
    WaitStatus status = exited.status();
    worker.execute(() -> events.add(new EndCommitted(commitEnd(status.exitCode()))));
    return Optional.empty();
  }

  private int commitEnd(int code) {
    long giveUp = System.nanoTime() / 1_000_000 + END_PATIENCE;
    while (true) {
      try {
        DumpMetadata last =
            metadata.update(
                context.ownerId(),
                d ->
                    d.withTask(
                            new DumpMetadata.Task(
                                DumpMetadata.TaskState.ENDED,
                                code,
                                clock.millis(),
                                d.task().generation()))
                        .released());
        new Catalog(store).removeImages(last);
        return code;
      } catch (SnapshotException e) {
        log.error(
            "the task ended with exit code {}, but that could not be recorded: {}",
            code,
            e.getMessage());
        return code;
      } catch (StoreException e) {
        if (!e.retryable() || System.nanoTime() / 1_000_000 > giveUp) {
          log.error(
              "the task ended with exit code {}, but that could not be recorded in {}; another run of it would go on from its newest snapshot: {}",
              code,
              options.store(),
              e.getMessage());
          return code;
        }
        log.warn("recording the task's end failed, trying again: {}", e.getMessage());
        try {
          Thread.sleep(Duration.ofSeconds(2));
        } catch (InterruptedException interrupted) {
          Thread.currentThread().interrupt();
          return code;
        }
      }
    }
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
    init.signal(taskPid, number);
    return Optional.empty();
  }

  // ---- leaving

  private int leave(int code) {
    List<Exception> failures = new ArrayList<>();
    attempt(
        failures,
        () -> {
          if (watch != null) {
            watch.close();
          }
        });
    attempt(failures, this::release);
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
          if (registry != null) {
            registry.close();
            Folders.delete(runDirectory);
          }
        });
    attempt(
        failures,
        () -> {
          if (store != null) {
            store.close();
          }
        });
    for (Exception failure : failures) {
      log.warn("while ending: {}", describe(failure));
    }
    if (init == null) {
      return code;
    }
    try {
      init.exit(code);
      Thread.sleep(Duration.ofMinutes(1)); // init ends this process
    } catch (InitException e) {
      log.error("{}", e.getMessage());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return code;
  }

  /** Lets the next run begin at once, where this one still owns the store. */
  private void release() throws IOException {
    if (context == null) {
      return;
    }
    Optional<MetadataStore.Current> current = metadata.read();
    if (current.isPresent()
        && current.get().document().owner().id().equals(context.ownerId())
        && !current.get().document().owner().released()) {
      metadata.update(context.ownerId(), DumpMetadata::released);
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

  /** Somebody asks for a checkpoint. */
  record Checkpoint(DumpRequest dump, ControlServer.Reply reply) implements Event {}

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
