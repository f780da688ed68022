package org.lifeboat.task;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.criu.CriuException;
import org.lifeboat.init.InitClient;
import org.lifeboat.init.InitEvent;
import org.lifeboat.init.InitException;
import org.lifeboat.receive.WarmUp;
import org.lifeboat.snapshot.DumpRequest;
import org.lifeboat.snapshot.SnapshotException;
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
 * <p>The engine may die at any instant: lifeboat-init starts it again, and {@link Beginning} finds
 * out where it stood. What brings the run to a running task is there and in {@link Opening}, {@link
 * Resuming} and {@link TaskStart}; what ends it in {@link TaskEnd} and {@link Leaving}. Here are
 * the loop and its snapshots.
 */
public final class Engine {

  private static final Logger log = LoggerFactory.getLogger(Engine.class);

  /** How long after a start or a dump its memory is given back. */
  private static final Duration TIDY_AFTER = Duration.ofSeconds(3);

  /** A fifth of a processor, for some seconds. */
  private static final Duration WARM_UP_PAUSE = Duration.ofMillis(20);

  private final RunOptions options;
  private final Path runDirectory;
  private final BlockingQueue<Event> events = new LinkedBlockingQueue<>();
  private final ExecutorService worker =
      Executors.newSingleThreadExecutor(Thread.ofPlatform().daemon().name("snapshots").factory());
  private final RunParts parts = new RunParts();
  private final RunState run = new RunState();
  private final Opening opening;
  private final Beginning beginning;
  private final TaskEnd end;
  private final Leaving leaving;
  private Optional<WarmUp> warmUp = Optional.empty();
  private boolean doubt;
  private final List<Event.Checkpoint> postponed = new ArrayList<>();
  private Optional<String> fenced = Optional.empty();

  private Engine(RunSetup setup) {
    options = setup.options();
    runDirectory = setup.runDirectory();
    RandomWords words = new RandomWords();
    StoreWait wait = new StoreWait(options.store(), events);
    TaskStart starting = new TaskStart(setup, parts, events::add);
    opening = new Opening(setup, parts, run, wait, starting, words, events::add);
    end = new TaskEnd(setup, parts, run, worker, events::add);
    Resuming resuming =
        new Resuming(setup, parts, run, opening, starting, end, worker, events::add);
    beginning =
        new Beginning(setup, parts, run, wait, opening, starting, resuming, end, words, worker);
    leaving = new Leaving(setup, parts, run, starting);
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
    Engine engine =
        new Engine(
            new RunSetup(options, environment, Path.of(directory), crashPoints, Clock.systemUTC()));
    int code;
    boolean decided = false;
    try {
      code = engine.loop();
      decided = true;
    } catch (End end) {
      decided = true;
      code = end.code();
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
      code = Failures.codeOf(e);
    } catch (IOException e) {
      log.error("{}", Failures.describe(e));
      code = ExitCodes.RESTORE;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      code = ExitCodes.FAILURE;
    } catch (RuntimeException e) {
      log.error("lifeboat failed: {}", e, e);
      code = ExitCodes.FAILURE;
    }
    if (engine.run.resuming && !decided) {
      log.error("the task runs on; lifeboat-init starts the engine again");
      return code;
    }
    return engine.leaving.leave(code);
  }

  private int loop() throws IOException, InterruptedException {
    Opening.Opened opened = opening.open();
    beginning.begin(opened.criu().get(), opened.state());
    warmUp = opened.warmUpDelay().map(delay -> WarmUp.begin(runDirectory, delay, WARM_UP_PAUSE));
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

  private Optional<Integer> handle(Event event) throws IOException, InterruptedException {
    return switch (event) {
      case Event.FromInit(InitEvent.TaskExited exited) -> end.taskExited(exited);
      case Event.FromInit(InitEvent.Signalled signalled) -> signalled(signalled.name());
      case Event.FromInit(InitEvent.Lost lost) -> throw new End(ExitCodes.FAILURE, lost.why());
      case Event.FromInit(InitEvent.Exited exited) -> Optional.empty();
      case Event.Running(long pid) -> {
        run.taskPid = pid;
        run.busy = false;
        holdInDoubt();
        run.scheduleNext(options.every());
        worker.execute(Libc::prepareReading); // so that no frozen task has to wait for it
        tidyLater();
        Thread.ofVirtual()
            .name("tidy")
            .start(parts.retention::tidy); // what runs before this one left
        yield run.pendingEnd.isPresent() ? end.taskExited(run.pendingEnd.get()) : Optional.empty();
      }
      case Event.StartFailed(int code, String why) -> throw new End(code, why);
      case Event.Fenced(String why) -> {
        // a run that has saved its task or recorded its end is rightly followed by another
        if (!run.ending && run.finalDump && parts.dumper.committing()) {
          fenced = Optional.of(why);
        } else if (!run.ending) {
          fence(why);
        }
        yield Optional.empty();
      }
      case Event.StoodStill(Duration howLong) -> {
        log.warn(
            "this run stood still for {}: the task waits until it is known that no other run has it",
            Durations.show(howLong));
        doubt = true;
        holdInDoubt();
        yield Optional.empty();
      }
      case Event.Cleared() -> {
        doubt = false;
        parts.hold.release();
        log.info("no other run has taken the task: it goes on");
        events.addAll(postponed);
        postponed.clear();
        yield Optional.empty();
      }
      case Event.Checkpoint request -> {
        checkpoint(request);
        yield Optional.empty();
      }
      case Event.SnapshotDone done -> snapshotDone(done);
      case Event.NotBegun() -> notBegun();
      case Event.Woken() -> Optional.empty();
      case Event.EndCommitted(int code) -> Optional.of(code);
    };
  }

  /**
   * Stops the task while it is not known whose it is. Not beside CRIU: it has the tree frozen, or
   * would save it as stopped; then it is done as soon as CRIU has ended.
   */
  private void holdInDoubt() throws IOException {
    if (doubt
        && run.taskPid != 0
        && !run.ending
        && (!run.busy || parts.dumper.thawed())
        && !parts.hold.held()) {
      log.debug("{} processes are stopped", parts.hold.stop(run.taskPid));
    }
  }

  private void fence(String why) throws InitException {
    log.error("{}: ending the task here", why);
    parts.init.killAll();
    parts.dumper.cancel(why); // what it has begun to upload is taken back while this run ends
    throw new End(ExitCodes.DUMP, null);
  }

  private long untilNextSnapshot() {
    if (run.nextSnapshot == Long.MAX_VALUE || run.busy || run.ending || doubt) {
      return 3_600_000;
    }
    return Math.max(0, run.nextSnapshot - System.nanoTime() / 1_000_000);
  }

  private void snapshotByTimer() {
    if (run.busy
        || run.ending
        || doubt
        || run.taskPid == 0
        || run.nextSnapshot > System.nanoTime() / 1_000_000) {
      return;
    }
    take(new DumpRequest(true, Optional.empty(), "--every"), Optional.empty());
  }

  private void checkpoint(Event.Checkpoint request) {
    if (request.begun().get()) {
      return; // it was answered when its deadline passed
    }
    request.watchDeadline();
    if ((run.finalDump && !run.recovering) || run.saved) {
      refuse(
          request,
          "the task of "
              + options.store()
              + (run.saved ? " is saved already" : " is being saved for good already")
              + " (lifeboat list --store "
              + options.store()
              + " shows it)");
      return;
    }
    if (run.ending || (run.taskPid == 0 && !run.busy)) {
      refuse(request, "the task of " + options.store() + " has ended (there is nothing to save)");
      return;
    }
    if (doubt) {
      postponed.add(request);
      return;
    }
    if (run.taskPid == 0) {
      worker.execute(() -> events.add(request)); // when it has been started or restored
      return;
    }
    if (run.busy) {
      worker.execute(() -> events.add(request)); // in its turn, when what is under way has ended
      return;
    }
    take(request.dump(), Optional.of(request));
  }

  private static void refuse(Event.Checkpoint request, String why) {
    if (request.begun().compareAndSet(false, true)) {
      request.reply().send(new ControlServer.Failed(true, ExitCodes.USAGE, why));
    }
  }

  private void take(DumpRequest request, Optional<Event.Checkpoint> asked) {
    run.busy = true;
    run.finalDump = !request.leaveRunning();
    long root = run.taskPid;
    Optional<ControlServer.Reply> reply = asked.map(Event.Checkpoint::reply);
    run.dumping =
        worker.submit(
            () -> {
              if (asked.isPresent() && !asked.get().begun().compareAndSet(false, true)) {
                events.add(new Event.NotBegun());
                return;
              }
              warmUp.ifPresent(WarmUp::close);
              parts.dumper.dump(
                  root,
                  request,
                  progress -> reply.ifPresent(r -> r.send(progress)),
                  result -> events.add(new Event.SnapshotDone(result, reply)));
            });
  }

  /** Its deadline passed while the worker was busy with something else. */
  private Optional<Integer> notBegun() {
    run.busy = false;
    run.finalDump = false;
    return run.pendingEnd.isPresent() ? end.taskExited(run.pendingEnd.get()) : Optional.empty();
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

  private Optional<Integer> snapshotDone(Event.SnapshotDone done)
      throws IOException, InterruptedException {
    run.busy = false;
    boolean wasFinal = run.finalDump;
    run.finalDump = false;
    run.recovering = false;
    if (wasFinal && done.result().ok()) {
      OutcomeFile.write(runDirectory, ExitCodes.CHECKPOINTED);
    }
    boolean tooLate =
        !done.result().ok() && run.pendingEnd.isPresent() && !done.result().ownerLost();
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
    run.scheduleNext(options.every());
    tidyLater();
    if (done.result().ok()) {
      log.info("{}", done.result().summary());
      if (wasFinal) {
        run.ending = true;
        run.saved = true;
        if (options.afterDump() == RunOptions.AfterDump.PARK) {
          end.park();
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
      if (done.result().ownerLost() || parts.dumper.taskHurt()) {
        parts.init.killAll();
        throw new End(ExitCodes.DUMP, null);
      }
    }
    if (fenced.isPresent()) {
      fence(fenced.get());
    }
    if (run.pendingEnd.isPresent()) {
      return end.taskExited(run.pendingEnd.get());
    }
    holdInDoubt();
    return Optional.empty();
  }

  private Optional<Integer> signalled(String name) throws IOException {
    int number = Signals.number(name);
    if (run.taskPid == 0) {
      if (run.ending) {
        return Optional.of(ExitCodes.CHECKPOINTED);
      }
      log.info("{} before the task ran: ending", name);
      return Optional.of(128 + number);
    }
    if (run.finalDump) {
      log.info("{} while the final dump is under way: the dump goes on", name);
      return Optional.empty();
    }
    try {
      parts.init.signal(run.taskPid, number);
    } catch (InitException e) {
      if (e.errno() != InitClient.ESRCH) {
        throw e;
      }
      log.info("{} came when the task had just ended", name);
    }
    return Optional.empty();
  }
}
