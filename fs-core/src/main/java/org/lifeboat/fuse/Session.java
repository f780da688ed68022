package org.lifeboat.fuse;

import java.lang.foreign.Arena;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;
import org.lifeboat.sys.Errno;
import org.lifeboat.vfs.FileOperations;
import org.lifeboat.vfs.LockReply;
import org.lifeboat.vfs.VfsException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What all requests of a mount share: the file system, what INIT agreed on, the kernel's open
 * files, and who waits for a lock. Thread-safe.
 */
final class Session {

  private static final Logger LOG = LoggerFactory.getLogger(Session.class);

  /** Writes replies from threads that have no request of their own. */
  interface Replier {
    /**
     * @param error the positive number; 0 for success without payload
     */
    void reply(long unique, int error);
  }

  /** Ends what a request waits for. */
  interface Interrupter {
    /** False if no such request is being served. */
    boolean interrupt(long unique);
  }

  final FileOperations operations;
  final LongAdder requests = new LongAdder();
  private final BackingFiles.Registry registry;
  private final MountRecord record;
  private final Replier replier;
  private final Interrupter interrupter;
  private final CompletableFuture<Agreement> agreement = new CompletableFuture<>();
  private final Map<Long, LockWait> lockWaits = new ConcurrentHashMap<>();
  private volatile BackingFiles files;
  private volatile boolean requestsLost;

  /**
   * @param record null where nobody will take over
   */
  Session(
      FileOperations operations,
      BackingFiles.Registry registry,
      MountRecord record,
      Replier replier,
      Interrupter interrupter) {
    this.operations = operations;
    this.registry = registry;
    this.record = record;
    this.replier = replier;
    this.interrupter = interrupter;
  }

  /** Writes replies without payload to the device. */
  static Replier replier(Outlet device) {
    return (unique, error) -> {
      try (Arena arena = Arena.ofConfined()) {
        Outbound out = new Outbound(arena.allocate(Outbound.HEADER, 8));
        long written = device.write(error == 0 ? out.finish(unique, 0) : out.fail(unique, error));
        if (written < 0 && !gone(written)) {
          LOG.error("a reply was refused: {}", Errno.of((int) -written));
        }
      }
    };
  }

  /** Whether a failed call means that the request or the whole mount is no more. */
  static boolean gone(long result) {
    return result == -Errno.ENOENT.number()
        || result == -Errno.ENODEV.number()
        || result == -Errno.ECONNABORTED.number()
        || result == -Errno.EPERM.number();
  }

  /** Goes on with what an earlier server agreed on. */
  void resume(Agreement agreed) throws VfsException {
    operations.resume(agreed.capabilities());
    BackingFiles known = new BackingFiles(registry, record, agreed);
    known.takeOver();
    files = known;
    agreement.complete(agreed);
  }

  /** The answer to INIT; the same one again if the kernel sends it again. */
  synchronized Agreement init(Inbound in) throws VfsException {
    if (agreement.isDone() && !agreement.isCompletedExceptionally()) {
      return agreement.join();
    }
    try {
      Agreement.Request request = new Agreement.Request(in);
      Agreement agreed = request.agree(operations.init(request.offer()));
      if (record != null) {
        record.agreed(agreed);
      }
      files = new BackingFiles(registry, record, agreed);
      agreement.complete(agreed);
      return agreed;
    } catch (VfsException | RuntimeException | Error e) {
      agreement.completeExceptionally(e);
      throw e;
    }
  }

  CompletableFuture<Agreement> agreement() {
    return agreement;
  }

  BackingFiles files() throws VfsException {
    BackingFiles known = files;
    if (known == null) {
      throw Inbound.malformed(); // before INIT
    }
    return known;
  }

  int openFiles() {
    BackingFiles known = files;
    return known == null ? 0 : known.openFiles();
  }

  int backingFiles() {
    BackingFiles known = files;
    return known == null ? 0 : known.registered();
  }

  int lockWaits() {
    return lockWaits.size();
  }

  /** A dead server's requests don't come again: nor can they be interrupted. */
  void forgetInterrupts() {
    requestsLost = true;
  }

  /** False if the request is not known, not yet or not any more. */
  boolean interrupt(long unique) {
    LockWait wait = lockWaits.get(unique);
    if (wait != null) {
      wait.interrupt();
      return true;
    }
    return interrupter.interrupt(unique) || requestsLost;
  }

  /** Somebody waits for a lock; to be started with what cancels it. */
  LockWait lockWait(long unique) {
    LockWait wait = new LockWait(unique);
    lockWaits.put(unique, wait);
    return wait;
  }

  /** The mount is gone. */
  void end() {
    agreement.completeExceptionally(
        new VfsException(
            Errno.ENODEV, "mount", "", "it was unmounted before the kernel used it", "", null));
    lockWaits.clear();
    BackingFiles known = files;
    if (known != null) {
      known.clear();
    }
  }

  /** A request for a lock that is answered later. */
  final class LockWait implements LockReply {

    private final long unique;
    private boolean answered;
    private boolean interrupted;
    private Runnable cancel;

    private LockWait(long unique) {
      this.unique = unique;
    }

    void started(Runnable how) {
      boolean now;
      synchronized (this) {
        cancel = how;
        now = interrupted && !answered;
      }
      if (now) {
        how.run();
      }
    }

    private void interrupt() {
      Runnable how;
      synchronized (this) {
        interrupted = true;
        how = answered ? null : cancel;
      }
      if (how != null) {
        how.run();
      }
    }

    /** It will be answered by whoever asks; false if it has been answered. */
    boolean withdraw() {
      synchronized (this) {
        if (answered) {
          return false;
        }
        answered = true;
      }
      lockWaits.remove(unique, this);
      return true;
    }

    @Override
    public void granted() {
      if (withdraw()) {
        replier.reply(unique, 0);
      }
    }

    @Override
    public void failed(VfsException reason) {
      if (withdraw()) {
        replier.reply(unique, reason.number());
      }
    }
  }
}
