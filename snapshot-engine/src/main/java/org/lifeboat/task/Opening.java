package org.lifeboat.task;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.criu.Criu;
import org.lifeboat.criu.HookServer;
import org.lifeboat.init.Children;
import org.lifeboat.init.Frames;
import org.lifeboat.init.InitClient;
import org.lifeboat.snapshot.Context;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.DumpObserver;
import org.lifeboat.snapshot.Dumper;
import org.lifeboat.snapshot.MetadataCopies;
import org.lifeboat.snapshot.MetadataStore;
import org.lifeboat.snapshot.Ownership;
import org.lifeboat.snapshot.Retention;
import org.lifeboat.snapshot.TaskFiles;
import org.lifeboat.store.HurriedStore;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.ObservedStore;
import org.lifeboat.store.RetryingStore;
import org.lifeboat.store.StoreException;

/**
 * Opens what a run works with: {@link #open} what every run needs, before it is known whose the
 * store is, and {@link #prepare} what only the owner of the store has. Neither touches the task or
 * the store's document.
 */
final class Opening {

  /** How long a store that does not answer is asked again before a request fails. */
  private static final RetryingStore.Limits RETRIES =
      new RetryingStore.Limits(
          Duration.ofSeconds(20), Duration.ofMillis(200), Duration.ofSeconds(5));

  /** How long each request of the heartbeat may take: a fresh one is quicker than a stalled one. */
  private static final Duration HASTE = Duration.ofMillis(1500);

  private static final RetryingStore.Limits BEAT_RETRIES =
      new RetryingStore.Limits(
          Duration.ofSeconds(4), Duration.ofMillis(100), Duration.ofMillis(500), true);

  /**
   * How long after the start the code of dumps is compiled, while nobody waits for it; shorter
   * tasks are spared that. LIFEBOAT_WARM_UP is another time, or {@code off}.
   */
  private static final Duration WARM_UP_DELAY = Duration.ofSeconds(10);

  private final RunSetup setup;
  private final RunOptions options;
  private final Map<String, String> environment;
  private final Path runDirectory;
  private final CrashPoints crashPoints;
  private final Clock clock;
  private final RunParts parts;
  private final RunState run;
  private final StoreWait wait;
  private final TaskStart starting;
  private final Supplier<String> words;
  private final Consumer<Event> events;
  private Optional<RequestLog> requests = Optional.empty();
  private ObjectStore hurried;

  Opening(
      RunSetup setup,
      RunParts parts,
      RunState run,
      StoreWait wait,
      TaskStart starting,
      Supplier<String> words,
      Consumer<Event> events) {
    this.setup = setup;
    this.options = setup.options();
    this.environment = setup.environment();
    this.runDirectory = setup.runDirectory();
    this.crashPoints = setup.crashPoints();
    this.clock = setup.clock();
    this.parts = parts;
    this.run = run;
    this.wait = wait;
    this.starting = starting;
    this.words = words;
    this.events = events;
  }

  /**
   * What the rest of the beginning needs besides the parts.
   *
   * @param state where lifeboat-init stands
   * @param warmUpDelay empty when the code of dumps is not to be compiled ahead
   */
  record Opened(InitClient.State state, Ahead<Criu> criu, Optional<Duration> warmUpDelay) {}

  Opened open() throws IOException, InterruptedException {
    Ahead.start("json", DumpMetadata::prepare);
    parts.children = new Children(event -> events.accept(new Event.FromInit(event)));
    parts.init = InitClient.connect(runDirectory.resolve("init.sock"), parts.children);
    InitClient.State state = parts.init.hello();
    run.resuming = state.task() != InitClient.TaskState.NONE;
    if (!run.resuming) {
      Preflight.problem(environment)
          .ifPresent(
              problem -> {
                throw new End(problem.code(), problem.message());
              });
    }
    parts.registry = claim();
    Optional<Duration> warmUpDelay = warmUpDelay();
    Ahead<Criu> criu = Ahead.start("criu-version", () -> Criu.find(environment));
    ObjectStore opened;
    try {
      requests = RequestLog.of(environment);
      opened = Stores.open(options.store(), environment, requests);
    } catch (StoreException e) {
      throw new End(ExitCodes.USAGE, e.getMessage()); // nothing was asked yet: a setting is wrong
    }
    parts.files = files();
    if (!Files.exists(setup.ownerFile())) {
      starting.beginListing();
    }
    ObjectStore observed = new ObservedStore(opened, wait::observe);
    parts.store = new RetryingStore(observed, RETRIES);
    hurried = new RetryingStore(new HurriedStore(observed, HASTE), BEAT_RETRIES);
    parts.metadata =
        new MetadataStore(
            parts.store,
            words,
            () -> MetadataStore.Pause.upTo(StoreWait.PATIENCE),
            Optional.of(new MetadataCopies(parts.store)));
    parts.ownership = new Ownership(parts.store, parts.metadata, clock, Thread::sleep);
    parts.hooks = HookServer.listen(runDirectory.resolve("hook.sock"));
    parts.control =
        ControlServer.listen(runDirectory.resolve("control.sock"), new ControlRequests(events));
    return new Opened(state, criu, warmUpDelay);
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
      if (run.resuming) {
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

  void prepare(Criu criu, InitClient.State state, String ownerId, long epoch) throws IOException {
    parts.context =
        new Context(
            parts.store,
            parts.metadata,
            parts.init,
            parts.children,
            criu,
            parts.hooks,
            parts.files,
            ownerId,
            epoch,
            setup.attempt(),
            options.command().stream().map(Frames::text).toList(),
            options.directory(),
            runDirectory,
            setup.cache(),
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
    parts.retention =
        new Retention(parts.store, parts.metadata, ownerId, options.keep(), crashPoints);
    parts.dumper =
        new Dumper(
            parts.context,
            parts.retention,
            requests.<DumpObserver>map(log -> log).orElse(DumpObserver.NONE));
    MetadataStore glance = new MetadataStore(hurried, words, () -> MetadataStore.Pause.upTo(HASTE));
    parts.watch =
        new OwnerWatch(
            new Ownership(hurried, glance, clock, Thread::sleep),
            glance,
            ownerId,
            Thread::sleep,
            why -> events.accept(new Event.Fenced(why)));
    parts.watch.start();
    parts.hold = new Hold(parts.init::signal, runDirectory.resolve("held"));
    parts.standstill =
        new Standstill(
            glance,
            ownerId,
            () -> System.nanoTime() / 1_000_000,
            clock,
            Thread::sleep,
            new Standstill.Listener() {
              @Override
              public void stoodStill(Duration howLong) {
                events.accept(new Event.StoodStill(howLong));
              }

              @Override
              public void cleared() {
                events.accept(new Event.Cleared());
              }

              @Override
              public void lost(String why) {
                events.accept(new Event.Fenced(why));
              }
            });
    parts.standstill.start();
  }
}
