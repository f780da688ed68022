package org.lifeboat.vfs;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * The bytes of a {@link Change}. All numbers are little endian; {@code bytes} is a u32 length and
 * so many bytes; a key or a version is bytes in UTF-8.
 *
 * <pre>
 * u8 kind, then
 *  1 PutNode        i64 id, u32 mode, u32 uid, u32 gid, i64 atime, i64 mtime, i64 ctime, i64 rdev,
 *                   i64 size, i64 seen, u8 flags: 1 dirty, 2 kept, 4 origin, 8 target, 16 xattrs
 *                   [origin] [bytes target] [u32 count, count times: bytes name, bytes value]
 *  2 PutChild       i64 parent, bytes name, i64 node, i64 cookie
 *  3 CutChild       i64 parent, bytes name
 *  4 Remove         i64 node
 *  5 SetAttributes  i64 node, u32 mode, u32 uid, u32 gid, i64 atime, i64 mtime, i64 ctime
 *  6 SetContent     i64 node, i64 size, i64 mtime, i64 ctime, i64 seen, u8 dirty
 *  7 SetOrigin      i64 node, u8 is there one, [origin]
 *  8 SetXattr       i64 node, bytes name, u8 is there a value, [bytes value]
 *  9 Opened         i64 handle, i64 node
 * 10 Closed         i64 handle
 * 11 Gone           i64 volume, bytes key, u8 what: 0 file, 1 directory, 2 moved, [0: bytes version]
 * 12 Back           i64 volume, bytes key
 * 13 Begin          u32 generation, i64 next id
 * 14 Exchanged      i64 parent, bytes name, i64 other parent, bytes other name
 *
 * origin: i64 volume, bytes key, u8 flags: 1 home, 2 object; [2: i64 size, bytes version]
 * </pre>
 */
final class ChangeCoder {

  private static final int DIRTY = 1;
  private static final int KEPT = 2;
  private static final int ORIGIN = 4;
  private static final int TARGET = 8;
  private static final int XATTRS = 16;
  private static final int HOME = 1;
  private static final int OBJECT = 2;

  private ByteBuffer out = ByteBuffer.allocate(1024).order(ByteOrder.LITTLE_ENDIAN);

  /** Empties it, but for so many bytes that the caller will fill. */
  void begin(int reserved) {
    out.clear();
    room(reserved).position(reserved);
  }

  int size() {
    return out.position();
  }

  /** What was put, from 0 to {@link #size}; the caller's until the next {@link #begin}. */
  ByteBuffer buffer() {
    return out;
  }

  private ByteBuffer room(int bytes) {
    if (out.remaining() < bytes) {
      int size = Math.max(out.capacity() * 2, out.position() + bytes);
      ByteBuffer larger = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
      larger.put(out.flip());
      out = larger;
    }
    return out;
  }

  private void bytes(byte[] bytes) {
    room(4 + bytes.length).putInt(bytes.length).put(bytes);
  }

  private void text(String text) {
    bytes(text.getBytes(UTF_8));
  }

  private void flag(boolean flag) {
    room(1).put((byte) (flag ? 1 : 0));
  }

  void put(Change change) {
    room(128);
    switch (change) {
      case Change.PutNode(
              long id,
              int mode,
              int uid,
              int gid,
              long atime,
              long mtime,
              long ctime,
              long rdev,
              long size,
              long seen,
              boolean dirty,
              boolean kept,
              Origin origin,
              byte[] target,
              SortedMap<Name, byte[]> xattrs) -> {
        out.put((byte) 1).putLong(id).putInt(mode).putInt(uid).putInt(gid);
        out.putLong(atime).putLong(mtime).putLong(ctime).putLong(rdev).putLong(size).putLong(seen);
        out.put(
            (byte)
                ((dirty ? DIRTY : 0)
                    | (kept ? KEPT : 0)
                    | (origin != null ? ORIGIN : 0)
                    | (target != null ? TARGET : 0)
                    | (xattrs != null ? XATTRS : 0)));
        if (origin != null) {
          origin(origin);
        }
        if (target != null) {
          bytes(target);
        }
        if (xattrs != null) {
          room(4).putInt(xattrs.size());
          for (Map.Entry<Name, byte[]> xattr : xattrs.entrySet()) {
            bytes(xattr.getKey().bytes());
            bytes(xattr.getValue());
          }
        }
      }
      case Change.PutChild(long parent, Name name, long node, long cookie) -> {
        out.put((byte) 2).putLong(parent);
        bytes(name.bytes());
        room(16).putLong(node).putLong(cookie);
      }
      case Change.CutChild(long parent, Name name) -> {
        out.put((byte) 3).putLong(parent);
        bytes(name.bytes());
      }
      case Change.Remove(long node) -> out.put((byte) 4).putLong(node);
      case Change.SetAttributes(
              long node,
              int mode,
              int uid,
              int gid,
              long atime,
              long mtime,
              long ctime) -> {
        out.put((byte) 5).putLong(node).putInt(mode).putInt(uid).putInt(gid);
        out.putLong(atime).putLong(mtime).putLong(ctime);
      }
      case Change.SetContent(
              long node,
              long size,
              long mtime,
              long ctime,
              long seen,
              boolean dirty) -> {
        out.put((byte) 6).putLong(node).putLong(size).putLong(mtime).putLong(ctime).putLong(seen);
        flag(dirty);
      }
      case Change.SetOrigin(long node, Origin origin) -> {
        out.put((byte) 7).putLong(node);
        flag(origin != null);
        if (origin != null) {
          origin(origin);
        }
      }
      case Change.SetXattr(long node, Name name, byte[] value) -> {
        out.put((byte) 8).putLong(node);
        bytes(name.bytes());
        flag(value != null);
        if (value != null) {
          bytes(value);
        }
      }
      case Change.Opened(long handle, long node) -> out.put((byte) 9).putLong(handle).putLong(node);
      case Change.Closed(long handle) -> out.put((byte) 10).putLong(handle);
      case Change.Gone(long volume, String key, Change.Hidden hidden) -> {
        out.put((byte) 11).putLong(volume);
        text(key);
        switch (hidden) {
          case Change.Hidden.File(String version) -> {
            room(1).put((byte) 0);
            text(version);
          }
          case Change.Hidden.Directory() -> room(1).put((byte) 1);
          case Change.Hidden.Moved() -> room(1).put((byte) 2);
        }
      }
      case Change.Back(long volume, String key) -> {
        out.put((byte) 12).putLong(volume);
        text(key);
      }
      case Change.Begin(int generation, long nextId) ->
          out.put((byte) 13).putInt(generation).putLong(nextId);
      case Change.Exchanged(long parent, Name name, long otherParent, Name otherName) -> {
        out.put((byte) 14).putLong(parent);
        bytes(name.bytes());
        room(8).putLong(otherParent);
        bytes(otherName.bytes());
      }
    }
  }

  private void origin(Origin origin) {
    room(8).putLong(origin.volume());
    text(origin.key());
    boolean object = !origin.isDirectory();
    room(16).put((byte) ((origin.isHome() ? HOME : 0) | (object ? OBJECT : 0)));
    if (object) {
      out.putLong(origin.size());
      text(origin.version());
    }
  }

  /**
   * Reads the next one.
   *
   * @throws IllegalArgumentException when these bytes are none
   */
  static Change get(ByteBuffer in) {
    in.order(ByteOrder.LITTLE_ENDIAN);
    try {
      return next(in);
    } catch (BufferUnderflowException e) {
      throw new IllegalArgumentException("a change ends too early", e);
    }
  }

  private static Change next(ByteBuffer in) {
    int kind = in.get();
    return switch (kind) {
      case 1 -> node(in);
      case 2 -> new Change.PutChild(in.getLong(), nameOf(in), in.getLong(), in.getLong());
      case 3 -> new Change.CutChild(in.getLong(), nameOf(in));
      case 4 -> new Change.Remove(in.getLong());
      case 5 ->
          new Change.SetAttributes(
              in.getLong(),
              in.getInt(),
              in.getInt(),
              in.getInt(),
              in.getLong(),
              in.getLong(),
              in.getLong());
      case 6 ->
          new Change.SetContent(
              in.getLong(), in.getLong(), in.getLong(), in.getLong(), in.getLong(), flagOf(in));
      case 7 -> new Change.SetOrigin(in.getLong(), flagOf(in) ? originOf(in) : null);
      case 8 -> new Change.SetXattr(in.getLong(), nameOf(in), flagOf(in) ? bytesOf(in) : null);
      case 9 -> new Change.Opened(in.getLong(), in.getLong());
      case 10 -> new Change.Closed(in.getLong());
      case 11 -> new Change.Gone(in.getLong(), textOf(in), hiddenOf(in));
      case 12 -> new Change.Back(in.getLong(), textOf(in));
      case 13 -> new Change.Begin(in.getInt(), in.getLong());
      case 14 -> new Change.Exchanged(in.getLong(), nameOf(in), in.getLong(), nameOf(in));
      default -> throw new IllegalArgumentException("a change of kind " + kind);
    };
  }

  private static Change node(ByteBuffer in) {
    long id = in.getLong();
    int mode = in.getInt();
    int uid = in.getInt();
    int gid = in.getInt();
    long atime = in.getLong();
    long mtime = in.getLong();
    long ctime = in.getLong();
    long rdev = in.getLong();
    long size = in.getLong();
    long seen = in.getLong();
    int flags = in.get();
    if ((flags & ~(DIRTY | KEPT | ORIGIN | TARGET | XATTRS)) != 0) {
      throw new IllegalArgumentException("a node with flags " + flags);
    }
    Origin origin = (flags & ORIGIN) == 0 ? null : originOf(in);
    byte[] target = (flags & TARGET) == 0 ? null : bytesOf(in);
    SortedMap<Name, byte[]> xattrs = null;
    if ((flags & XATTRS) != 0) {
      xattrs = new TreeMap<>();
      for (int left = in.getInt(); left > 0; left--) {
        xattrs.put(nameOf(in), bytesOf(in));
      }
    }
    return new Change.PutNode(
        id,
        mode,
        uid,
        gid,
        atime,
        mtime,
        ctime,
        rdev,
        size,
        seen,
        (flags & DIRTY) != 0,
        (flags & KEPT) != 0,
        origin,
        target,
        xattrs);
  }

  private static Origin originOf(ByteBuffer in) {
    long volume = in.getLong();
    String key = textOf(in);
    int flags = in.get();
    boolean home = (flags & HOME) != 0;
    return (flags & OBJECT) == 0
        ? Origin.at(volume, key, home, 0, null)
        : Origin.at(volume, key, home, in.getLong(), textOf(in));
  }

  private static Change.Hidden hiddenOf(ByteBuffer in) {
    int what = in.get();
    return switch (what) {
      case 0 -> new Change.Hidden.File(textOf(in));
      case 1 -> new Change.Hidden.Directory();
      case 2 -> new Change.Hidden.Moved();
      default -> throw new IllegalArgumentException("hidden as " + what);
    };
  }

  private static boolean flagOf(ByteBuffer in) {
    int flag = in.get();
    if (flag != 0 && flag != 1) {
      throw new IllegalArgumentException("a flag that is " + flag);
    }
    return flag == 1;
  }

  private static Name nameOf(ByteBuffer in) {
    return new Name(bytesOf(in));
  }

  private static String textOf(ByteBuffer in) {
    return new String(bytesOf(in), UTF_8);
  }

  private static byte[] bytesOf(ByteBuffer in) {
    int length = in.getInt();
    if (length < 0 || length > in.remaining()) {
      throw new IllegalArgumentException("a text of " + length + " bytes");
    }
    int start = in.arrayOffset() + in.position();
    in.position(in.position() + length);
    return Arrays.copyOfRange(in.array(), start, start + length);
  }
}
