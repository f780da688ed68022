package org.lifeboat.task;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Executor;
import java.util.function.Supplier;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.criu.Criu;
import org.lifeboat.criu.HookServer;
import org.lifeboat.init.Frames;
import org.lifeboat.init.InitClient;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.Folders;
import org.lifeboat.snapshot.HostFacts;
import org.lifeboat.snapshot.Ownership;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Begins a run: takes the store and gives the worker the task to start; or finds that an engine
 * which died was here before, and goes on where that one stood.
 *
 * <p>It finds that out from three witnesses: init (is there a task, does CRIU run), the store
 * (whose is it, what is committed), and the owner's id in the run directory (was it us). Nothing
 * else of a dead engine is remembered.
 */
final class Beginning {

  private static final Logger log = LoggerFactory.getLogger(Beginning.class);

  private final RunSetup setup;
  private final RunOptions options;
  private final Path runDirectory;
  private final CrashPoints crashPoints;
  private final Clock clock;
  private final RunParts parts;
  private final RunState run;
  private final StoreWait wait;
  private final Opening opening;
  private final TaskStart starting;
  private final Resuming resuming;
  private final TaskEnd end;
  private final Supplier<String> words;
  private final Executor worker;

  Beginning(
      RunSetup setup,
      RunParts parts,
      RunState run,
      StoreWait wait,
      Opening opening,
      TaskStart starting,
      Resuming resuming,
      TaskEnd end,
      Supplier<String> words,
      Executor worker) {
    this.setup = setup;
    this.options = setup.options();
    this.runDirectory = setup.runDirectory();
    this.crashPoints = setup.crashPoints();
    this.clock = setup.clock();
    this.parts = parts;
    this.run = run;
    this.wait = wait;
    this.opening = opening;
    this.starting = starting;
    this.resuming = resuming;
    this.end = end;
    this.words = words;
    this.worker = worker;
  }

  void begin(Criu criu, InitClient.State state) throws IOException, InterruptedException {
    Path ownerFile = setup.ownerFile();
    boolean again = Files.exists(ownerFile);
    Optional<String> written = OwnerFile.read(ownerFile);
    Optional<Integer> outcome = OutcomeFile.read(runDirectory);
    if (outcome.isPresent()) {
      log.info("a new engine takes over at the end of the run");
      end.over(outcome.get());
      run.resuming = false;
      return;
    }
    if (again && state.task() == InitClient.TaskState.RESTORING) {
      resuming.resumeRestore(criu, state, written);
      run.resuming = false;
      return;
    }
    if (again && state.task() != InitClient.TaskState.NONE) {
      resuming.resumeTask(criu, state, written);
      run.resuming = false;
      return;
    }
    if (again) {
      log.warn("an earlier engine died before the task ran: starting over");
      parts.init.killAll(); // CRIU, or a tree that it had just restored
      for (String id : state.spawned().keySet()) {
        parts.children.end(id).join();
      }
      starting.beginListing();
    }
    String ownerId = written.orElseGet(words);
    DumpMetadata.Owner me =
        new DumpMetadata.Owner(
            ownerId, HostFacts.name(), state.outerPid(), setup.attempt(), clock.millis(), false);
    List<String> command = options.command().stream().map(Frames::text).toList();
    String directory = options.directory().toString();
    OwnerFile.write(ownerFile, ownerId); // before the store knows it: the next engine must
    crashPoints.at(RunPoint.RUN_BEGUN);
    Ownership.Taken taken =
        take(me, command, directory, document -> starting.opened(document, command, directory));
    run.ownedAs = Optional.of(ownerId);
    crashPoints.at(RunPoint.RUN_TAKEN);
    opening.prepare(criu, state, ownerId, taken.now().epoch());
    parts.hooks.handler(HookServer.REFUSING);
    parts.dumper.clearCache();
    Folders.createPrivate(parts.context.cache());
    run.busy = true;
    worker.execute(() -> starting.start(taken.now()));
  }

  /** Takes the store; one that cannot be reached is tried again for {@link StoreWait#PATIENCE}. */
  private Ownership.Taken take(
      DumpMetadata.Owner me, List<String> command, String directory, Ownership.Opening opening)
      throws IOException, InterruptedException {
    long giveUp = System.nanoTime() + StoreWait.PATIENCE.toNanos();
    wait.begin();
    for (long pause = 500; ; pause = Math.min(2 * pause, 8000)) {
      try {
        return wait.whileAnswering(
            () ->
                parts.ownership.take(
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
        wait.waitForSignal(pause);
      }
    }
  }
}
