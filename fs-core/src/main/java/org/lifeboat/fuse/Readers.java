package org.lifeboat.fuse;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import org.lifeboat.sys.Device;
import org.lifeboat.sys.Errno;
import org.lifeboat.vfs.VfsException;
import org.lifeboat.vfs.Waits;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The threads that read requests from the device and serve them.
 *
 * <p>Four threads block in read(2) on one descriptor; the kernel gives each request to one of them,
 * which serves it and writes the reply, without handing it to anybody: most requests take less time
 * than waking another thread. They are platform threads, because a virtual one that blocks in a
 * native call holds its carrier. More readers were measured to bring nothing; fewer leave every
 * request waiting for a sleeping processor to wake.
 *
 * <p>A request that waits for the network would take a reader away. It says so ({@link #call}), and
 * then a spare reader is started if fewer than four are left that don't wait. There are up to 256
 * spare ones; when all wait too, requests queue up in the kernel. A spare reader that is not needed
 * ends after its request; a few stay, so that a steady trickle of waits does not make a thread
 * each.
 *
 * <p>The kernel's INTERRUPT of a request that waits interrupts its thread; one that comes before
 * the wait begins is kept for it.
 *
 * <p>Put aside: an executor with replies from there (a hand-over costs 10 to 40 us, as much as the
 * request), one reader that promotes a follower (the kernel's queue does that by itself), a cloned
 * descriptor per thread (no gain), io_uring (off by default in kernels, and slower).
 */
final class Readers implements Waits, Session.Interrupter {

  static final int AT_REST = 4;
  static final int SPARE = 256;

  /** Spare readers that may stay for the next wait. */
  private static final int KEPT = 4;

  private static final Logger LOG = LoggerFactory.getLogger(Readers.class);

  private final Set<Reader> all = ConcurrentHashMap.newKeySet();
  private final CountDownLatch ended = new CountDownLatch(1);
  private int running;
  private int waiting;
  private int named;
  private boolean ending;
  private Device device;
  private Session session;
  private Runnable atEnd;

  /**
   * Starts reading.
   *
   * @param whenGone called once, by the last reader, when the mount is gone
   */
  synchronized void start(Device from, Session serving, Runnable whenGone) {
    device = from;
    session = serving;
    atEnd = whenGone;
    for (int i = 0; i < AT_REST; i++) {
      add();
    }
  }

  private void add() {
    Reader reader = new Reader("fuse-" + named++);
    all.add(reader);
    running++;
    try {
      reader.start();
    } catch (OutOfMemoryError noThread) {
      all.remove(reader);
      running--;
      LOG.error("no thread more for the mount's requests, {} are there", running, noThread);
    }
  }

  /** Threads that there are. */
  synchronized int running() {
    return running;
  }

  /** Threads that wait within {@link #call}. */
  synchronized int waiting() {
    return waiting;
  }

  void awaitEnd() throws InterruptedException {
    ended.await();
  }

  /** Interrupts all that wait: the mount is being taken away. */
  void interruptAll() {
    for (Reader reader : all) {
      reader.interruptWait(0);
    }
  }

  @Override
  public boolean interrupt(long unique) {
    for (Reader reader : all) {
      if (reader.serving == unique) {
        return reader.interruptWait(unique);
      }
    }
    return false;
  }

  @Override
  public <T, E extends Exception> T call(Work<T, E> work) throws E, VfsException {
    if (Thread.currentThread() instanceof Reader reader
        && reader.owner() == this
        && !reader.waits()) {
      reader.beginWait();
      try {
        return Waits.NONE.call(work);
      } finally {
        reader.endWait();
      }
    }
    return Waits.NONE.call(work);
  }

  private synchronized void beginWaiting() {
    waiting++;
    if (running - waiting < AT_REST && running < AT_REST + SPARE && !ending) {
      add();
    }
  }

  private synchronized void endWaiting() {
    waiting--;
  }

  /** Whether a reader that has served its request is one too many; then it is counted out. */
  private synchronized boolean leave(Reader reader) {
    if (running - waiting > AT_REST + KEPT) {
      all.remove(reader);
      running--;
      return true;
    }
    return false;
  }

  private void gone(Reader reader) {
    boolean last;
    synchronized (this) {
      ending = true;
      all.remove(reader);
      last = --running == 0;
    }
    if (!last) {
      interruptAll(); // nobody gets what they wait for
    } else {
      try {
        atEnd.run();
      } catch (RuntimeException | Error e) {
        LOG.error("the end of the mount failed", e);
      } finally {
        ended.countDown();
      }
    }
  }

  private final class Reader extends Thread {

    /** The request's number, 0 between requests. */
    private volatile long serving;

    private boolean waits;
    private boolean interrupted;

    Reader(String name) {
      super(name);
      setDaemon(true);
    }

    Readers owner() {
      return Readers.this;
    }

    synchronized boolean waits() {
      return waits;
    }

    void beginWait() throws VfsException {
      synchronized (this) {
        if (interrupted) {
          throw new VfsException(Errno.EINTR, "wait", "");
        }
        waits = true;
      }
      beginWaiting();
    }

    void endWait() {
      synchronized (this) {
        waits = false;
        Thread.interrupted(); // it was for the wait
      }
      endWaiting();
    }

    /**
     * @param unique the request that is meant; 0 for any
     */
    synchronized boolean interruptWait(long unique) {
      if (unique != 0 && serving != unique) {
        return false;
      }
      interrupted = true;
      if (waits) {
        interrupt();
      }
      return true;
    }

    private synchronized void begin(long unique) {
      interrupted = false;
      serving = unique;
    }

    @Override
    public void run() {
      try (Arena arena = Arena.ofShared()) {
        Inbound in = Inbound.allocate(arena, Agreement.MAX_REQUEST);
        Outbound out = Outbound.allocate(arena, Agreement.MAX_REQUEST);
        Dispatcher dispatcher = new Dispatcher(session, in, out);
        while (true) {
          long n = device.read(in.buffer());
          if (n < 0) {
            int error = (int) -n;
            if (error == Errno.EINTR.number()
                || error == Errno.EAGAIN.number()
                || error == Errno.ENOENT.number()) {
              continue;
            }
            if (error != Errno.ENODEV.number() && error != Errno.ECONNABORTED.number()) {
              LOG.error(
                  "{} can't be read: errno {}{}",
                  device.path(),
                  error,
                  error == Errno.EPERM.number() ? ", no mount belongs to this descriptor" : "");
            }
            break;
          }
          if (n >= Inbound.HEADER) {
            in.received(n);
            begin(in.unique());
          }
          MemorySegment reply = dispatcher.serve(n);
          if (reply != null) {
            write(in.unique(), reply, out);
          }
          begin(0);
          if (leave(this)) {
            return;
          }
        }
      } catch (RuntimeException | Error e) {
        LOG.error("a reader of the mount's requests ends", e);
      }
      gone(this);
    }

    private void write(long unique, MemorySegment reply, Outbound out) {
      long written = device.write(reply);
      if (written >= 0 || Session.gone(written)) {
        return;
      }
      LOG.error("the kernel refuses a reply of {} bytes: errno {}", reply.byteSize(), -written);
      device.write(out.fail(unique, Errno.EIO.number())); // so that nobody waits for ever
    }
  }
}
