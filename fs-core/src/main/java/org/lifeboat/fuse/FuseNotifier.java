package org.lifeboat.fuse;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.lifeboat.sys.Errno;
import org.lifeboat.vfs.Notifier;
import org.lifeboat.vfs.VfsException;

/**
 * Messages that the server sends unasked. A reply's header with unique 0 and the code as error:
 *
 * <pre>
 *  0 len u32, code i32, unique u64 = 0
 * 16 body
 * INVAL_INODE 2: node u64, offset i64, length i64
 * INVAL_ENTRY 3: parent u64, namelen u32, flags u32, name, NUL
 * DELETE 6: parent u64, child u64, namelen u32, padding u32, name, NUL
 * RESEND 7: nothing; requests that were read and not answered are to be sent again
 * </pre>
 *
 * Does nothing before the mount and after its end. Thread-safe.
 */
final class FuseNotifier implements Notifier {

  private static final int INVAL_INODE = 2;
  private static final int INVAL_ENTRY = 3;
  private static final int DELETE = 6;
  private static final int RESEND = 7;

  private final Outlet outlet;

  FuseNotifier(Outlet outlet) {
    this.outlet = outlet;
  }

  @Override
  public void invalidateInode(long node, long offset, long length) throws VfsException {
    send("invalidate", INVAL_INODE, new byte[0], node, offset, length);
  }

  @Override
  public void invalidateEntry(long parent, byte[] name) throws VfsException {
    send("invalidate", INVAL_ENTRY, name, parent, name.length);
  }

  @Override
  public void delete(long parent, long child, byte[] name) throws VfsException {
    send("delete", DELETE, name, parent, child, name.length);
  }

  /** EINVAL from a kernel that does not know it, before 6.9. */
  void resend() throws VfsException {
    send("resend", RESEND, new byte[0]);
  }

  private void send(String operation, int code, byte[] name, long... words) throws VfsException {
    long body = 8L * words.length;
    long length = Outbound.HEADER + body + (name.length == 0 ? 0 : name.length + 1);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment message = arena.allocate(length, 8);
      message.set(JAVA_INT, 0, (int) length);
      message.set(JAVA_INT, 4, code);
      for (int i = 0; i < words.length; i++) {
        message.set(JAVA_LONG, Outbound.HEADER + 8L * i, words[i]);
      }
      MemorySegment.copy(name, 0, message, JAVA_BYTE, Outbound.HEADER + body, name.length);
      long written = outlet.write(message);
      if (written >= 0 || Session.gone(written) || written == -Errno.ENOTDIR.number()) {
        return;
      }
      Errno errno = Errno.of((int) -written);
      throw new VfsException(
          errno == Errno.OTHER ? Errno.EIO : errno,
          operation,
          "",
          "the kernel refuses the message: errno " + -written,
          "",
          null);
    }
  }
}
