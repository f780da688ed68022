package org.lifeboat.fuse;

import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Device;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.ErrnoException;
import org.lifeboat.vfs.Capability;
import org.lifeboat.vfs.FileOperations;
import org.lifeboat.vfs.Notifier;
import org.lifeboat.vfs.VfsException;
import org.lifeboat.vfs.Waits;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Serves one mount: a {@link FileOperations} to the kernel.
 *
 * <p>Its life: made, so that the file system can be given {@link #waits()} and {@link #notifier()};
 * then {@link #mount} or {@link #takeOver}; then requests are served by the threads of {@link
 * Readers} until the mount is gone, whoever unmounted it.
 *
 * <p><b>A server that can die.</b> The mount lives while anybody has the device's descriptor open.
 * A process that holds it starts the server with it, and after the server's death another one with
 * the same: programs that use the mount only wait meanwhile. What the next server must know is in
 * the {@link MountRecord}, a file. It asks the kernel to send again what the dead one had read and
 * not answered (Linux 6.9; before that such requests are lost, and who made them waits until the
 * mount is aborted).
 *
 * <p><b>The server must never touch its own mount</b>, not with a log file, a class to load, a
 * temporary file or a heap dump: if all readers wait for the mount, nobody is left to serve it.
 *
 * <p>Thread-safe.
 */
public final class FuseServer {

  private static final Logger LOG = LoggerFactory.getLogger(FuseServer.class);

  /**
   * What a mount has in use. All are 0 after its end.
   *
   * @param readers threads
   * @param waiting threads that wait for something slow
   * @param openFiles files that the kernel has open; counted only where files are passed through
   * @param backingFiles files registered with the kernel to be passed through
   * @param lockWaits requests that wait for a lock
   */
  public record Gauges(int readers, int waiting, int openFiles, int backingFiles, int lockWaits) {}

  private final Readers readers = new Readers();
  private final Outlet outlet = new Outlet();
  private final FuseNotifier notifier = new FuseNotifier(outlet);
  private Session session;
  private MountRecord record;
  private Device device;
  private BytePath mountPoint;

  /** To be given to the file system. */
  public Waits waits() {
    return readers;
  }

  /** To be given to the file system; does nothing before the mount and after its end. */
  public Notifier notifier() {
    return notifier;
  }

  /**
   * Mounts and serves. Returns when kernel and file system have agreed.
   *
   * @param where a directory
   * @param source what /proc/mounts is to show as the device, such as a URL without secrets
   * @param recordPath where to keep what a server that takes over needs: a new file on a local file
   *     system; empty where nobody will
   * @throws VfsException if it can't be mounted, with the remedy, or if the file system wants what
   *     the kernel can't
   */
  public void mount(
      BytePath where, String source, FileOperations operations, Optional<Path> recordPath)
      throws VfsException {
    Device opened = FuseMount.open();
    try {
      mount(opened, where, source, operations, recordPath);
    } catch (VfsException | RuntimeException | Error e) {
      try {
        opened.close();
      } catch (ErrnoException more) {
        e.addSuppressed(more);
      }
      throw e;
    }
  }

  /**
   * As the other, on a descriptor of /dev/fuse that somebody holds too.
   *
   * @param held is closed at the end of the mount, however early
   */
  public synchronized void mount(
      Device held,
      BytePath where,
      String source,
      FileOperations operations,
      Optional<Path> recordPath)
      throws VfsException {
    fresh();
    BytePath real = FuseMount.check(where);
    record = recordPath.isPresent() ? MountRecord.create(recordPath.get(), real) : null;
    try {
      FuseMount.mount(held, real, source);
    } catch (VfsException e) {
      dropRecord();
      throw e;
    }
    serve(held, real, operations);
    try {
      if (session.agreement().get().has(Capability.WRITEBACK_CACHE)) {
        FuseMount.liftWritebackLimits(real);
      }
    } catch (ExecutionException e) {
      undo(e.getCause());
      if (e.getCause() instanceof VfsException refused) {
        throw refused;
      }
      throw new VfsException(
          Errno.EIO, "mount", where.toString(), e.getCause().toString(), "", e.getCause());
    } catch (InterruptedException e) {
      undo(e);
      Thread.currentThread().interrupt();
      throw new VfsException(Errno.EINTR, "mount", where.toString(), "interrupted", "", e);
    }
  }

  private void undo(Throwable why) {
    try {
      abort();
    } catch (VfsException more) {
      why.addSuppressed(more);
    } catch (InterruptedException more) {
      Thread.currentThread().interrupt();
    }
  }

  /**
   * Goes on with a mount whose server has died.
   *
   * @param held the descriptor it was mounted with, or a duplicate; is closed at the end of the
   *     mount
   * @param recordPath what the dead server was given
   * @throws VfsException if there is no usable record
   */
  public synchronized void takeOver(Device held, Path recordPath, FileOperations operations)
      throws VfsException {
    fresh();
    record = MountRecord.open(recordPath);
    Optional<Agreement> agreed = record.agreement();
    boolean resend = agreed.isEmpty() || agreed.get().has(Capability.RESEND);
    mountPoint = record.mountPoint();
    device = held;
    session = session(held, operations);
    if (agreed.isPresent()) {
      try {
        session.resume(agreed.get());
      } catch (VfsException | RuntimeException | Error e) {
        record.close();
        throw e;
      }
    }
    start();
    if (resend) {
      try {
        notifier.resend();
        return;
      } catch (VfsException e) {
        LOG.debug("{}", e.getMessage(), e);
      }
    }
    LOG.warn(
        "{}: this kernel can't send requests again; what the dead server had begun is lost",
        mountPoint);
    session.forgetInterrupts();
  }

  private void fresh() {
    if (session != null) {
      throw new IllegalStateException("a server has one mount");
    }
  }

  private Session session(Device held, FileOperations operations) {
    return new Session(operations, BackingFiles.of(held), record, Session.replier(outlet), readers);
  }

  private void serve(Device held, BytePath real, FileOperations operations) {
    mountPoint = real;
    device = held;
    session = session(held, operations);
    start();
  }

  private void start() {
    outlet.open(device);
    readers.start(device, session, this::ended);
  }

  /** By the last reader. */
  private void ended() {
    outlet.close();
    session.end();
    try {
      session.operations.destroy();
    } finally {
      dropRecord();
      try {
        device.close();
      } catch (ErrnoException e) {
        LOG.warn("{}: {}", mountPoint, e.getMessage());
      }
    }
  }

  private void dropRecord() {
    if (record != null) {
      try {
        record.delete();
      } catch (VfsException e) {
        LOG.warn(e.getMessage());
      }
    }
  }

  /**
   * Unmounts and waits for the end of all requests.
   *
   * @throws VfsException EBUSY if the mount is in use; it goes on then
   */
  public void unmount() throws VfsException, InterruptedException {
    FuseMount.unmount(mountPoint, false);
    awaitEnd();
  }

  /** Takes the mount away from whoever uses it; what is under way fails. Waits for the end. */
  public void abort() throws VfsException, InterruptedException {
    FuseMount.unmount(mountPoint, true);
    readers.interruptAll();
    awaitEnd();
  }

  /** Waits until the mount is gone, whoever unmounts it, and everything is given back. */
  public void awaitEnd() throws InterruptedException {
    readers.awaitEnd();
  }

  /** Requests served so far. */
  public synchronized long requests() {
    return session == null ? 0 : session.requests.sum();
  }

  public synchronized Gauges gauges() {
    return session == null
        ? new Gauges(0, 0, 0, 0, 0)
        : new Gauges(
            readers.running(),
            readers.waiting(),
            session.openFiles(),
            session.backingFiles(),
            session.lockWaits());
  }
}
