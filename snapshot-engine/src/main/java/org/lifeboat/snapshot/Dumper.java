package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.random.RandomGenerator;
import org.lifeboat.page.PackNames;
import org.lifeboat.receive.PageReceiver;
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
 * <p>A dump is a {@link DumpJob} and the classes around it, new for each; what outlives one is
 * here. One dump at a time; {@link #cancel} may be called from any thread.
 */
public final class Dumper {

  private static final Logger log = LoggerFactory.getLogger(Dumper.class);

  private final Context context;
  private final Retention retention;
  private final DumpObserver observer;
  private final RandomGenerator random = RandomGenerator.getDefault();
  private final AtomicReference<DumpJob> current = new AtomicReference<>();
  private final TreeHold hold;
  private final TaskHarm harm = new TaskHarm();
  private final DumpFate fate;
  private final DumpRecovery recovery;

  public Dumper(Context context, Retention retention, DumpObserver observer) {
    this.context = context;
    this.retention = retention;
    this.observer = observer;
    this.hold = new TreeHold(context.init(), context.runDirectory());
    this.fate = new DumpFate(context);
    this.recovery = new DumpRecovery(context, retention, hold, harm, fate);
  }

  /**
   * Whether a fault that ends the task may be the work of a CRIU that was killed while it held it.
   */
  public boolean mayHaveHurtTheTask(int signal) {
    return harm.mayHaveHurtTheTask(signal);
  }

  /** Whether a process of the task has died with a CRIU that was killed. */
  public boolean taskHurt() {
    return harm.taskHurt();
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
    recovery.over();
    DumpJob job = job(root, request, progress);
    current.set(job);
    DumpResult result;
    try {
      result = job.run();
      answer.accept(result); // before it is not committing any more: who is fenced looks at that
    } finally {
      current.set(null);
    }
    job.tidy(result);
  }

  /** Gives up the dump that is under way, if its commit has not begun. */
  public void cancel(String why) {
    DumpJob job = current.get();
    if (job != null) {
      job.giveUp(why);
    }
  }

  private DumpJob job(long root, DumpRequest request, Consumer<DumpProgress> progress) {
    DumpAttempt dump =
        new DumpAttempt(root, request, progress, PackNames.stem(context.epoch(), random));
    DumpCourse course = new DumpCourse(dump);
    DumpCommit commit = new DumpCommit(context, observer, hold, fate, dump, course);
    DumpHook hook = new DumpHook(context, observer, hold, dump, course, commit);
    DumpLog criuLog = new DumpLog(dump);
    DumpEnd end = new DumpEnd(context, retention, harm, fate, dump, course, criuLog);
    DumpTicker ticker = new DumpTicker(dump, course);
    return new DumpJob(context, observer, fate, dump, course, hook, commit, criuLog, end, ticker);
  }

  /**
   * Ends a dump that an engine which died had begun, with CRIU still there: makes the store say
   * whether it is committed, tells that to the hook, and waits for CRIU.
   *
   * @param isFinal a leave-running dump is not committed before CRIU has ended, and its tree goes
   *     on in any case
   */
  public DumpResult recover(String spawnId, int id, boolean isFinal) {
    return recovery.recover(spawnId, id, isFinal);
  }

  /**
   * Finishes a leave-running dump that an engine which died had sealed, or gives the dump up.
   *
   * @param isFinal a final dump is never taken up: its tree goes on
   */
  public DumpResult resume(int id, boolean isFinal, long elapsed) {
    return recovery.resume(id, isFinal, elapsed);
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
    DumpJob job = current.get();
    return recovery.recovering() || (job != null && job.committing());
  }

  /**
   * Whether a dump is under way whose tree runs on already, and CRIU has ended: what is left is to
   * bring it to the store.
   */
  public boolean thawed() {
    DumpJob job = current.get();
    return job != null && job.thawed();
  }
}
