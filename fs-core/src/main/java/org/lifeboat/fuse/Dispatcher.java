package org.lifeboat.fuse;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.Stat;
import org.lifeboat.vfs.Caller;
import org.lifeboat.vfs.Created;
import org.lifeboat.vfs.Entry;
import org.lifeboat.vfs.FileOperations;
import org.lifeboat.vfs.Lock;
import org.lifeboat.vfs.Opened;
import org.lifeboat.vfs.VfsException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Turns a request into calls of the file system and what they return into a reply. Knows no device:
 * what comes in is not trusted, and whatever it is, there is a reply or none, and no exception. One
 * thread at a time, each has its own.
 *
 * <p><b>Sent again.</b> A server that dies between doing something and saying so leaves a request
 * that the next one gets again. Most can be done twice. A name that is there already, or gone
 * already, is a success then: while the request was under way the kernel held the lock of the
 * directory, so nobody else can have made it so.
 */
final class Dispatcher {

  private static final Logger LOG = LoggerFactory.getLogger(Dispatcher.class);

  private static final int FSYNC_FDATASYNC = 1;
  private static final int GETATTR_FH = 1;
  private static final int LK_FLOCK = 1;
  private static final int OPEN_KILL_SUIDGID = 1;
  private static final int RELEASE_FLOCK_UNLOCK = 2;
  private static final int WRITE_CACHE = 1;
  private static final int WRITE_KILL_SUIDGID = 4;
  private static final int O_EXCL = 0200;
  private static final int LONGEST_XATTR = 65536;

  /** No reply, or one that comes from elsewhere. */
  private static final int NOTHING = -1;

  private final Session session;
  private final FileOperations operations;
  private final Inbound in;
  private final Outbound out;

  Dispatcher(Session session, Inbound in, Outbound out) {
    this.session = session;
    this.operations = session.operations;
    this.in = in;
    this.out = out;
  }

  /**
   * Serves what lies in the inbound buffer.
   *
   * @param received its length in bytes
   * @return what is to be written to the device; null for nothing
   */
  MemorySegment serve(long received) {
    if (!in.received(received)) {
      LOG.error("a request of {} bytes, which is less than a header", received);
      return null;
    }
    session.requests.increment();
    Opcode opcode = Opcode.of(in.opcode());
    long unique = in.unique();
    boolean oneWay = opcode != null && opcode.isOneWay();
    try {
      in.checkLength();
      int payload = opcode == null ? unsupported() : serve(opcode);
      return oneWay || payload == NOTHING ? null : out.finish(unique, payload);
    } catch (VfsException e) {
      if (e.errno() == Errno.EIO) {
        LOG.error("{} of node {}: {}", opcode, in.node(), e.getMessage(), e);
      }
      return oneWay ? null : out.fail(unique, e.number());
    } catch (RuntimeException
        | Error e) { // also of memory: the program gets an error, others go on
      LOG.error("{} of node {} failed inside", opcode, in.node(), e);
      return oneWay ? null : out.fail(unique, Errno.EIO.number());
    }
  }

  private static int unsupported() throws VfsException {
    throw new VfsException(Errno.ENOSYS, "request", "");
  }

  private int serve(Opcode opcode) throws VfsException {
    long node = in.node();
    return switch (opcode) {
      case INIT -> out.init(session.init(in));
      case LOOKUP -> out.entry(operations.lookup(in.caller(), node, in.name(0)));
      case FORGET -> {
        operations.forget(node, in.u64(0));
        yield NOTHING;
      }
      case BATCH_FORGET -> batchForget();
      case GETATTR -> {
        OptionalLong handle =
            (in.u32(0) & GETATTR_FH) != 0 ? OptionalLong.of(in.u64(8)) : OptionalLong.empty();
        yield out.attributes(operations.getattr(node, handle));
      }
      case SETATTR ->
          out.attributes(operations.setattr(in.caller(), node, in.changedHandle(), in.change()));
      case READLINK -> out.bytes(operations.readlink(node));
      case SYMLINK -> {
        byte[] name = in.name(0);
        byte[] target = in.text(in.next());
        yield made(node, name, caller -> operations.symlink(caller, node, name, target));
      }
      case MKNOD -> {
        int mode = in.u32(0);
        long rdev = in.rdev();
        byte[] name = in.name(16);
        yield made(
            in.caller(in.u32(8)),
            node,
            name,
            caller -> operations.mknod(caller, node, name, mode, rdev));
      }
      case MKDIR -> {
        int mode = in.u32(0);
        byte[] name = in.name(8);
        yield made(
            in.caller(in.u32(4)), node, name, caller -> operations.mkdir(caller, node, name, mode));
      }
      case LINK -> {
        long existing = in.u64(0);
        byte[] name = in.name(8);
        yield made(node, name, caller -> operations.link(caller, existing, node, name));
      }
      case UNLINK -> {
        byte[] name = in.name(0);
        yield gone(() -> operations.unlink(in.caller(), node, name));
      }
      case RMDIR -> {
        byte[] name = in.name(0);
        yield gone(() -> operations.rmdir(in.caller(), node, name));
      }
      case RENAME -> rename(node, in.u64(0), 0, 8);
      case RENAME2 -> rename(node, in.u64(0), in.u32(8), 16);
      case OPEN -> {
        boolean kill = (in.u32(4) & OPEN_KILL_SUIDGID) != 0;
        yield opened(0, node, operations.open(in.caller(), node, in.u32(0), kill));
      }
      case CREATE -> create(node);
      case TMPFILE -> {
        in.u32(12);
        yield created(
            operations.tmpfile(in.caller(in.u32(8)), node, regular(in.u32(4)), in.u32(0)));
      }
      case READ -> {
        int size = in.size(16, Agreement.MAX_REQUEST);
        MemorySegment into = out.payload(size);
        int read = operations.read(node, in.u64(0), in.offset(8), into);
        if (read < 0 || read > size) {
          throw new IllegalStateException("read returned " + read + " of " + size);
        }
        yield read;
      }
      case WRITE -> {
        int size = in.size(16, Agreement.MAX_REQUEST);
        int flags = in.u32(20);
        int written =
            operations.write(
                node,
                in.u64(0),
                in.offset(8),
                in.data(size),
                (flags & WRITE_CACHE) != 0,
                (flags & WRITE_KILL_SUIDGID) != 0);
        yield out.size(written);
      }
      case FLUSH -> {
        operations.flush(node, in.u64(0), in.u64(16));
        yield 0;
      }
      case RELEASE -> release(node);
      case FSYNC -> {
        operations.fsync(node, in.u64(0), (in.u32(8) & FSYNC_FDATASYNC) != 0);
        yield 0;
      }
      case OPENDIR -> {
        in.u32(0);
        Opened opened = operations.opendir(in.caller(), node);
        int flags =
            (opened.mode() == Opened.Mode.KEEP_CACHE ? BackingFiles.KEEP_CACHE : 0)
                | (opened.cacheDirectory() ? BackingFiles.CACHE_DIR : 0);
        yield out.opened(0, opened.handle(), flags, 0);
      }
      case READDIR -> readdir(node, false);
      case READDIRPLUS -> readdir(node, true);
      case RELEASEDIR -> {
        operations.releasedir(node, in.u64(0));
        yield 0;
      }
      case FSYNCDIR -> {
        operations.fsyncdir(node, in.u64(0), (in.u32(8) & FSYNC_FDATASYNC) != 0);
        yield 0;
      }
      case STATFS -> out.volume(operations.statfs(node));
      case SETXATTR -> {
        int size = in.size(0, LONGEST_XATTR);
        int flags = in.u32(4);
        byte[] name = in.text(8);
        byte[] value = in.bytes(in.next(), size);
        operations.setxattr(in.caller(), node, attribute(name), value, flags);
        yield 0;
      }
      case GETXATTR -> {
        int size = in.u32(0);
        Optional<byte[]> value = operations.getxattr(node, attribute(in.text(8)));
        yield sized(size, value.orElseThrow(() -> new VfsException(Errno.ENODATA, "getxattr", "")));
      }
      case LISTXATTR -> sized(in.u32(0), joined(operations.listxattr(node)));
      case REMOVEXATTR -> {
        operations.removexattr(in.caller(), node, attribute(in.text(0)));
        yield 0;
      }
      case GETLK -> out.lock(operations.getlk(node, in.u64(0), in.u64(8), in.lock()));
      case SETLK -> {
        boolean flock = (in.u32(40) & LK_FLOCK) != 0;
        operations.setlk(node, in.u64(0), in.u64(8), flock, in.lock());
        yield 0;
      }
      case SETLKW -> awaitLock(node);
      case ACCESS -> {
        operations.access(in.caller(), node, in.u32(0));
        yield 0;
      }
      case INTERRUPT -> {
        // not known: perhaps not yet, since another thread is just reading it. The kernel asks
        // again
        if (!session.interrupt(in.u64(0))) {
          throw new VfsException(Errno.EAGAIN, "interrupt", "");
        }
        yield NOTHING;
      }
      case FALLOCATE -> {
        operations.fallocate(node, in.u64(0), in.u32(24), in.offset(8), in.offset(16));
        yield 0;
      }
      case LSEEK -> {
        int whence = in.u32(16);
        if (whence != FileOperations.SEEK_DATA && whence != FileOperations.SEEK_HOLE) {
          throw Inbound.malformed();
        }
        yield out.offset(operations.lseek(node, in.u64(0), in.offset(8), whence));
      }
      case COPY_FILE_RANGE ->
          out.size(
              operations.copyFileRange(
                  node,
                  in.u64(0),
                  in.offset(8),
                  in.u64(16),
                  in.u64(24),
                  in.offset(32),
                  Math.min(in.offset(40), Integer.MAX_VALUE),
                  in.u64(48)));
      case SYNCFS -> {
        operations.syncfs();
        yield 0;
      }
      case IOCTL -> throw new VfsException(Errno.ENOTTY, "ioctl", "");
      case DESTROY -> 0;
      case NOTIFY_REPLY -> NOTHING;
      case BMAP, POLL, STATX, COPY_FILE_RANGE_64 -> unsupported();
    };
  }

  private int batchForget() throws VfsException {
    int count = in.u32(0);
    if (count < 0 || count > (in.length() - Inbound.HEADER - 8) / 16) {
      throw Inbound.malformed();
    }
    for (int i = 0; i < count; i++) {
      operations.forget(in.u64(8 + 16 * i), in.u64(16 + 16 * i));
    }
    return NOTHING;
  }

  private interface Maker {
    Entry make(Caller caller) throws VfsException;
  }

  private int made(long parent, byte[] name, Maker maker) throws VfsException {
    return made(in.caller(), parent, name, maker);
  }

  private int made(Caller caller, long parent, byte[] name, Maker maker) throws VfsException {
    try {
      return out.entry(maker.make(caller));
    } catch (VfsException e) {
      if (e.errno() != Errno.EEXIST || !caller.resent()) {
        throw e;
      }
      return out.entry(operations.lookup(caller, parent, name));
    }
  }

  private interface Remover {
    void remove() throws VfsException;
  }

  private int gone(Remover remover) throws VfsException {
    try {
      remover.remove();
    } catch (VfsException e) {
      if (e.errno() != Errno.ENOENT || !in.resent()) {
        throw e;
      }
    }
    return 0;
  }

  private int rename(long parent, long newParent, int flags, int at) throws VfsException {
    byte[] name = in.name(at);
    byte[] newName = in.name(in.next());
    Caller caller = in.caller();
    try {
      operations.rename(caller, parent, name, newParent, newName, flags);
    } catch (VfsException e) {
      if (e.errno() != Errno.ENOENT || !caller.resent()) {
        throw e;
      }
      Entry there = operations.lookup(caller, newParent, newName); // or ENOENT
      if (there.isNegative()) {
        throw e;
      }
      operations.forget(there.node(), 1);
    }
    return 0;
  }

  private static int regular(int mode) {
    return Stat.S_IFREG | (mode & 07777);
  }

  private int create(long parent) throws VfsException {
    int flags = in.u32(0);
    int mode = regular(in.u32(4));
    Caller caller = in.caller(in.u32(8));
    byte[] name = in.name(16);
    try {
      return created(operations.create(caller, parent, name, mode, flags));
    } catch (VfsException e) {
      if (e.errno() != Errno.EEXIST || !caller.resent()) {
        throw e;
      }
      return created(operations.create(caller, parent, name, mode, flags & ~O_EXCL));
    }
  }

  private int created(Created created) throws VfsException {
    long node = created.entry().node();
    int entry = out.entry(created.entry());
    try {
      return opened(entry, node, created.opened());
    } catch (VfsException e) {
      operations.forget(node, 1);
      throw e;
    }
  }

  private int opened(int at, long node, Opened opened) throws VfsException {
    BackingFiles.Grant grant;
    try {
      grant = session.files().opened(node, opened);
    } catch (VfsException e) {
      try {
        operations.release(node, opened.handle(), OptionalLong.empty());
      } catch (VfsException more) {
        e.addSuppressed(more);
      }
      throw e;
    }
    return out.opened(at, opened.handle(), grant.flags(), grant.backingId());
  }

  private int release(long node) throws VfsException {
    long handle = in.u64(0);
    OptionalLong flockOwner =
        (in.u32(12) & RELEASE_FLOCK_UNLOCK) != 0
            ? OptionalLong.of(in.u64(16))
            : OptionalLong.empty();
    session.files().released(handle);
    operations.release(node, handle, flockOwner);
    return 0;
  }

  private int readdir(long node, boolean plus) throws VfsException {
    int size = in.size(16, Integer.MAX_VALUE);
    Outbound.Directory sink = out.new Directory(Math.min(size, Agreement.MAX_REQUEST));
    operations.readdir(node, in.u64(0), in.u64(8), sink, plus);
    return sink.written();
  }

  private static byte[] attribute(byte[] name) throws VfsException {
    if (name.length == 0) {
      throw Inbound.malformed();
    }
    return name;
  }

  /** A value, or how long it is where the program asks with no room for that. */
  private int sized(int room, byte[] value) throws VfsException {
    if (room == 0) {
      return out.size(value.length);
    }
    if (Integer.compareUnsigned(room, value.length) < 0) {
      throw new VfsException(Errno.ERANGE, "xattr", "");
    }
    return out.bytes(value);
  }

  private static byte[] joined(List<byte[]> names) {
    int length = 0;
    for (byte[] name : names) {
      length += name.length + 1;
    }
    byte[] all = new byte[length];
    int at = 0;
    for (byte[] name : names) {
      System.arraycopy(name, 0, all, at, name.length);
      at += name.length + 1;
    }
    return all;
  }

  private int awaitLock(long node) throws VfsException {
    long handle = in.u64(0);
    long owner = in.u64(8);
    boolean flock = (in.u32(40) & LK_FLOCK) != 0;
    Lock lock = in.lock();
    Session.LockWait wait = session.lockWait(in.unique());
    try {
      wait.started(operations.setlkw(node, handle, owner, flock, lock, wait));
    } catch (VfsException | RuntimeException | Error e) {
      if (!wait.withdraw()) {
        return NOTHING;
      }
      throw e;
    }
    return NOTHING;
  }
}
