package org.lifeboat.task;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.snapshot.Bounded;
import org.lifeboat.snapshot.Census;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.Folders;
import org.lifeboat.snapshot.MetadataStore;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Leaves a run, however far it came: gives the store to whoever comes next, lets callers have their
 * answers, closes what is open and tells lifeboat-init the exit code. A step that fails is told and
 * does not keep the next one from being done.
 */
final class Leaving {

  private static final Logger log = LoggerFactory.getLogger(Leaving.class);

  /** How long the end waits for a copy of dump_metadata. */
  private static final Duration COPY_PATIENCE = Duration.ofSeconds(3);

  /** How long the run's own end waits for the store, and for what a dump still cleans up. */
  private static final Duration LEAVE_PATIENCE = Duration.ofSeconds(10);

  /** How long the end waits for who asked for a checkpoint, in nanoseconds. */
  private static final long CALLERS_PATIENCE = 3_000_000_000L;

  private final RunOptions options;
  private final Path runDirectory;
  private final CrashPoints crashPoints;
  private final RunParts parts;
  private final RunState run;
  private final TaskStart starting;

  Leaving(RunSetup setup, RunParts parts, RunState run, TaskStart starting) {
    this.options = setup.options();
    this.runDirectory = setup.runDirectory();
    this.crashPoints = setup.crashPoints();
    this.parts = parts;
    this.run = run;
    this.starting = starting;
  }

  int leave(int code) {
    List<Exception> failures = new CopyOnWriteArrayList<>();
    close(failures, parts.watch);
    close(failures, parts.standstill);
    attempt(failures, starting::stopListing);
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
    attempt(failures, Leaving::awaitCallers);
    attempt(
        failures,
        () -> {
          if (parts.context != null) {
            Folders.delete(parts.context.cache());
          }
        });
    close(failures, parts.control);
    close(failures, parts.store);
    // init has its order before its socket goes: another engine could not tell it any more
    attempt(
        failures,
        () -> {
          if (parts.init != null) {
            parts.init.exit(code);
          }
        });
    crashPoints.at(RunPoint.RUN_LEAVING);
    attempt(
        failures,
        () -> {
          if (parts.init != null) {
            Folders.delete(runDirectory);
          }
        });
    attempt(
        failures,
        () -> {
          if (parts.registry != null) {
            parts.registry.close(); // last: the next run removes what it leads to
          }
        });
    for (Exception failure : failures) {
      log.warn("while ending: {}", Failures.describe(failure));
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
      if (parts.metadata != null) {
        parts.metadata.settle(COPY_PATIENCE);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Lets the next run begin at once, where this one still owns the store. */
  private void release() throws IOException {
    if (run.ownedAs.isEmpty()) {
      return;
    }
    Optional<MetadataStore.Current> current = parts.metadata.read();
    if (current.isPresent()
        && current.get().document().owner().id().equals(run.ownedAs.get())
        && !current.get().document().owner().released()) {
      parts.metadata.update(run.ownedAs.get(), DumpMetadata::released);
    }
  }

  /** What a dump cleans up behind its answer; the next run does it otherwise. */
  private void awaitTidy() throws IOException {
    try {
      run.dumping.get(LEAVE_PATIENCE.toNanos(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      throw new IOException("the last dump is still being cleaned up", e);
    } catch (ExecutionException e) {
      throw new IOException("the last dump's clean-up failed: " + e.getCause(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /**
   * @param part null if the run never came so far
   */
  private static void close(List<Exception> failures, AutoCloseable part) {
    if (part == null) {
      return;
    }
    try {
      part.close();
    } catch (Exception e) {
      failures.add(e);
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
}
