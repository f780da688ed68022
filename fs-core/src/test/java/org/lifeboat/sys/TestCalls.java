package org.lifeboat.sys;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;
import org.lifeboat.vfs.Attributes;
import org.lifeboat.vfs.Timespec;

/** System calls that only tests make: any function of the C library, with up to six arguments. */
public final class TestCalls {

  public static final int AT_FDCWD = -100;
  public static final int AT_EMPTY_PATH = 0x1000;
  public static final int AT_SYMLINK_FOLLOW = 0x400;
  public static final int O_WRONLY = 1;
  public static final int O_RDWR = Libc.O_RDWR;
  public static final int O_CREAT = Libc.O_CREAT;
  public static final int O_EXCL = Libc.O_EXCL;
  public static final int O_TRUNC = 01000;
  public static final int O_APPEND = 02000;
  public static final int O_CLOEXEC = Libc.O_CLOEXEC;
  public static final int O_NOFOLLOW = Libc.O_NOFOLLOW;
  public static final int O_DIRECTORY = Libc.O_DIRECTORY;
  public static final int O_TMPFILE = 020000000 | Libc.O_DIRECTORY;
  public static final int O_PATH = 010000000;

  private static final Linker LINKER = Linker.nativeLinker();
  private static final VarHandle ERRNO =
      Linker.Option.captureStateLayout().varHandle(PathElement.groupElement("errno"));
  private static final MethodHandle CALL = link();

  private TestCalls() {}

  @SuppressWarnings("restricted")
  private static MethodHandle link() {
    return LINKER.downcallHandle(
        FunctionDescriptor.of(
            JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG),
        Linker.Option.captureCallState("errno"));
  }

  /**
   * Calls a function that returns a long.
   *
   * @param arguments numbers, byte arrays (as texts) and segments
   */
  public static long call(String function, Object... arguments) throws ErrnoException {
    return call(true, function, arguments);
  }

  /** Calls a function that returns an int. */
  public static int callInt(String function, Object... arguments) throws ErrnoException {
    return (int) call(false, function, arguments);
  }

  private static long call(boolean wide, String function, Object... arguments)
      throws ErrnoException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(Linker.Option.captureStateLayout());
      long[] w = new long[6];
      for (int i = 0; i < arguments.length; i++) {
        w[i] =
            switch (arguments[i]) {
              case Integer number -> number;
              case Long number -> number;
              case MemorySegment segment -> segment.address();
              case byte[] text -> {
                MemorySegment copy = arena.allocate(text.length + 1L);
                MemorySegment.copy(text, 0, copy, JAVA_BYTE, 0, text.length);
                yield copy.address();
              }
              default -> throw new IllegalArgumentException(arguments[i].toString());
            };
      }
      MemorySegment symbol = LINKER.defaultLookup().findOrThrow(function);
      long result;
      try {
        result = (long) CALL.invokeExact(symbol, state, w[0], w[1], w[2], w[3], w[4], w[5]);
      } catch (Throwable e) {
        throw new AssertionError(e);
      }
      long returned = wide ? result : (int) result;
      if (returned == -1) {
        throw new ErrnoException(function, "", (int) ERRNO.get(state, 0L));
      }
      return returned;
    }
  }

  /** open(2), close-on-exec. */
  public static OpenFile open(BytePath path, int flags, int mode) throws ErrnoException {
    return new OpenFile(Libc.open(path, flags | O_CLOEXEC, mode), path);
  }

  /** What statx tells of a descriptor. */
  public static Attributes attributes(int fd) throws ErrnoException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment x = arena.allocate(256, 8);
      callInt("statx", fd, new byte[0], AT_EMPTY_PATH, 0x7ff, x);
      return new Attributes(
          x.get(JAVA_LONG, 32),
          x.get(JAVA_LONG, 40),
          x.get(JAVA_LONG, 48),
          time(x, 64),
          time(x, 112),
          time(x, 96),
          x.get(JAVA_SHORT, 28) & 0xffff,
          x.get(JAVA_INT, 16),
          x.get(JAVA_INT, 20),
          x.get(JAVA_INT, 24),
          ((long) x.get(JAVA_INT, 128) << 32) | x.get(JAVA_INT, 132),
          x.get(JAVA_INT, 4));
    }
  }

  private static Timespec time(MemorySegment x, long at) {
    return new Timespec(x.get(JAVA_LONG, at), x.get(JAVA_INT, at + 8));
  }
}
