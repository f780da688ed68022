package org.lifeboat.fuse;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.lifeboat.store.Fuzz;
import org.lifeboat.sys.Errno;
import org.lifeboat.vfs.Attributes;
import org.lifeboat.vfs.Capabilities;
import org.lifeboat.vfs.Capability;
import org.lifeboat.vfs.Created;
import org.lifeboat.vfs.DirectorySink;
import org.lifeboat.vfs.Entry;
import org.lifeboat.vfs.FileOperations;
import org.lifeboat.vfs.Lock;
import org.lifeboat.vfs.LockReply;
import org.lifeboat.vfs.Offer;
import org.lifeboat.vfs.Opened;
import org.lifeboat.vfs.Timespec;
import org.lifeboat.vfs.ValidAttributes;
import org.lifeboat.vfs.VfsException;
import org.lifeboat.vfs.VolumeStat;

/** Bytes in, calls of a file system, bytes out: without a kernel. */
class DispatcherTest {

  private static final Attributes ATTRIBUTES =
      new Attributes(
          11,
          22,
          33,
          new Timespec(44, 1),
          new Timespec(-55, 2),
          new Timespec(66, 3),
          0100644,
          7,
          8,
          9,
          (5L << 32) | 0x12345,
          4096);
  private static final Entry ENTRY = new Entry(99, ATTRIBUTES, 1_500_000_000, 2_000_000_001L);

  private final Arena arena = Arena.ofShared();
  private final Inbound in = Inbound.allocate(arena, Agreement.MAX_REQUEST);
  private final Outbound out = Outbound.allocate(arena, Agreement.MAX_REQUEST);
  private final List<String> calls = new ArrayList<>();
  private final List<Long> interrupts = new ArrayList<>();
  private final List<String> replies = new ArrayList<>();
  private LockReply waiting;
  private BiFunction<String, Object[], Object> answers = (name, arguments) -> answer(name);
  private final Session session =
      new Session(
          operations(),
          new BackingFiles.Registry() {
            private int last;

            @Override
            public int open(int fd) {
              return ++last;
            }

            @Override
            public void close(int id) {}
          },
          null,
          (unique, error) -> replies.add(unique + " " + error),
          unique -> {
            interrupts.add(unique);
            return unique != 5;
          });
  private final Dispatcher dispatcher = new Dispatcher(session, in, out);

  @AfterEach
  void free() {
    arena.close();
  }

  private static final class Refusal extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final VfsException why;

    Refusal(Errno errno) {
      super(null, null, false, false);
      why = new VfsException(errno, "test", "");
    }
  }

  private FileOperations operations() {
    return (FileOperations)
        Proxy.newProxyInstance(
            getClass().getClassLoader(),
            new Class<?>[] {FileOperations.class},
            (proxy, method, arguments) -> {
              calls.add(
                  method.getName()
                      + Arrays.stream(arguments == null ? new Object[0] : arguments)
                          .map(DispatcherTest::shown)
                          .collect(Collectors.joining(",", "(", ")")));
              if (method.getName().equals("setlkw")) {
                waiting = (LockReply) arguments[5];
              }
              try {
                return answers.apply(method.getName(), arguments);
              } catch (Refusal refusal) {
                throw refusal.why;
              }
            });
  }

  private static String shown(Object argument) {
    return switch (argument) {
      case byte[] bytes -> new String(bytes, ISO_8859_1);
      case MemorySegment segment -> segment.byteSize() + " bytes";
      case DirectorySink sink -> "sink";
      case LockReply reply -> "reply";
      default -> argument.toString().replaceAll("(Optional(Int|Long)?)(\\.empty)?", "");
    };
  }

  private static Object answer(String name) {
    return switch (name) {
      case "init" -> new Capabilities(EnumSet.of(Capability.PASSTHROUGH), 4096, 1);
      case "lookup", "mknod", "mkdir", "symlink", "link" -> ENTRY;
      case "getattr", "setattr" -> new ValidAttributes(ATTRIBUTES, 3_000_000_007L);
      case "readlink" -> "target".getBytes(ISO_8859_1);
      case "open", "opendir" -> Opened.file(0x1234, Opened.Mode.KEEP_CACHE);
      case "create", "tmpfile" -> new Created(ENTRY, Opened.file(0x1234, Opened.Mode.DIRECT));
      case "read" -> 3;
      case "write" -> 5;
      case "statfs" -> new VolumeStat(1, 2, 3, 4, 5, 4096, 255);
      case "getxattr" -> Optional.of("blue".getBytes(ISO_8859_1));
      case "listxattr" -> List.of("user.a".getBytes(ISO_8859_1), "user.bc".getBytes(ISO_8859_1));
      case "getlk" -> new Lock(Lock.Type.WRITE, 1, 2, 3);
      case "setlkw" -> (Runnable) () -> {};
      case "lseek", "copyFileRange" -> 77L;
      case "hashCode" -> 1;
      case "equals" -> false;
      default -> null;
    };
  }

  private ByteBuffer serve(RequestBytes request) {
    return serve(request.bytes());
  }

  /** The reply; null for none. */
  private ByteBuffer serve(byte[] request) {
    MemorySegment.copy(request, 0, in.buffer(), JAVA_BYTE, 0, request.length);
    MemorySegment reply = dispatcher.serve(request.length);
    if (reply == null) {
      return null;
    }
    ByteBuffer bytes = ByteBuffer.wrap(reply.toArray(JAVA_BYTE)).order(ByteOrder.LITTLE_ENDIAN);
    assertEquals(bytes.capacity(), bytes.getInt(0));
    return bytes;
  }

  private static String text(ByteBuffer reply, int at, int length) {
    byte[] bytes = new byte[length];
    reply.get(at, bytes);
    return new String(bytes, ISO_8859_1);
  }

  private static RequestBytes initRequest() {
    return new RequestBytes(26, 2, 0)
        .u32(7, 45, 131072, 0x73fffffb, 0x5fd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  }

  private void init() {
    assertEquals(0, serve(initRequest()).getInt(4));
    calls.clear();
  }

  private int error(RequestBytes request) {
    ByteBuffer reply = serve(request);
    assertEquals(16, reply.capacity());
    return -reply.getInt(4);
  }

  @Test
  void initIsAgreedOn() {
    ByteBuffer reply = serve(initRequest());
    assertEquals(80, reply.capacity());
    assertEquals(0, reply.getInt(4));
    assertEquals(2, reply.getLong(8));
    assertEquals(7, reply.getInt(16));
    assertEquals(45, reply.getInt(20));
    assertEquals(4096, reply.getInt(24));
    int flags = reply.getInt(28);
    for (int bit : new int[] {0, 5, 15, 18, 21, 22, 30}) {
      assertTrue((flags & (1 << bit)) != 0, "bit " + bit);
    }
    assertEquals(0, flags & (1 << 16), "no writeback");
    assertEquals(64, reply.getShort(32));
    assertEquals(48, reply.getShort(34));
    assertEquals(1 << 20, reply.getInt(36));
    assertEquals(1, reply.getInt(40));
    assertEquals(256, reply.getShort(44));
    assertEquals((1 << 5) | (1 << 7), reply.getInt(48));
    assertEquals(1, reply.getInt(52));
    assertEquals(reply, serve(initRequest()), "sent again");
    assertEquals(1, calls.size());
  }

  @Test
  void initRefusesWhatIsNotOffered() {
    answers = (name, arguments) -> new Capabilities(EnumSet.of(Capability.PASSTHROUGH), 0, 1);
    RequestBytes old = new RequestBytes(26, 2, 0).u32(7, 37, 131072, 0x03fffffb, 0, 0, 0, 0);
    assertEquals(Errno.EOPNOTSUPP.number(), error(old));
    assertTrue(session.agreement().isCompletedExceptionally());
  }

  @Test
  void initRefusesOldKernels() {
    assertEquals(
        Errno.EPROTO.number(), error(new RequestBytes(26, 2, 0).u32(7, 23, 131072, -1, 0)));
  }

  @Test
  void offersAreUnderstood() {
    List<Offer> offers = new ArrayList<>();
    answers =
        (name, arguments) -> {
          offers.add((Offer) arguments[0]);
          return new Capabilities(Set.of(), 0, 0);
        };
    serve(new RequestBytes(26, 2, 0).u32(7, 38, 65536, (1 << 22) | (1 << 16), -1));
    assertEquals(
        List.of(new Offer(38, 65536, Agreement.MAX_REQUEST, Set.of(Capability.WRITEBACK_CACHE))),
        offers);
  }

  private void assertCall(String expected) {
    assertEquals(List.of(expected), calls);
    calls.clear();
  }

  private static final String CALLER = "Caller[uid=1000, gid=100, pid=77, umask=%d, resent=false]";
  private static final String ME = CALLER.formatted(0);

  private static void assertEntry(ByteBuffer reply, int at) {
    assertEquals(99, reply.getLong(at));
    assertEquals(0, reply.getLong(at + 8));
    assertEquals(1, reply.getLong(at + 16));
    assertEquals(2, reply.getLong(at + 24));
    assertEquals(500_000_000, reply.getInt(at + 32));
    assertEquals(1, reply.getInt(at + 36));
    assertAttributes(reply, at + 40);
  }

  private static void assertAttributes(ByteBuffer reply, int at) {
    assertEquals(11, reply.getLong(at));
    assertEquals(22, reply.getLong(at + 8));
    assertEquals(33, reply.getLong(at + 16));
    assertEquals(44, reply.getLong(at + 24));
    assertEquals(-55, reply.getLong(at + 32));
    assertEquals(66, reply.getLong(at + 40));
    assertEquals(1, reply.getInt(at + 48));
    assertEquals(2, reply.getInt(at + 52));
    assertEquals(3, reply.getInt(at + 56));
    assertEquals(0100644, reply.getInt(at + 60));
    assertEquals(7, reply.getInt(at + 64));
    assertEquals(8, reply.getInt(at + 68));
    assertEquals(9, reply.getInt(at + 72));
    assertEquals((0x123 << 20) | (5 << 8) | 0x45, reply.getInt(at + 76));
    assertEquals(4096, reply.getInt(at + 80));
    assertEquals(0, reply.getInt(at + 84));
  }

  @Test
  void namesAndNodes() {
    init();
    ByteBuffer entry = serve(new RequestBytes(Opcode.LOOKUP, 1).text("a name"));
    assertEquals(144, entry.capacity());
    assertEquals(4242, entry.getLong(8));
    assertEntry(entry, 16);
    assertCall("lookup(" + ME + ",1,a name)");
    assertNull(serve(new RequestBytes(Opcode.FORGET, 6).u64(3)));
    assertCall("forget(6,3)");
    assertNull(serve(new RequestBytes(Opcode.BATCH_FORGET, 0).u32(2, 0).u64(6, 1, 7, 2)));
    assertEquals(List.of("forget(6,1)", "forget(7,2)"), calls);
    calls.clear();
    assertEntry(serve(new RequestBytes(Opcode.SYMLINK, 1).text("l").text("to/where")), 16);
    assertCall("symlink(" + ME + ",1,l,to/where)");
    serve(new RequestBytes(Opcode.MKNOD, 1).u32(020600, 0x12300545, 022, 0).text("n"));
    assertCall(
        "mknod(%s,1,n,%d,%d)".formatted(CALLER.formatted(022), 020600, (5L << 32) | 0x12345));
    serve(new RequestBytes(Opcode.MKDIR, 1).u32(040755, 027).text("d"));
    assertCall("mkdir(%s,1,d,%d)".formatted(CALLER.formatted(027), 040755));
    serve(new RequestBytes(Opcode.LINK, 1).u64(55).text("h"));
    assertCall("link(" + ME + ",55,1,h)");
    assertEquals(16, serve(new RequestBytes(Opcode.UNLINK, 1).text("u")).capacity());
    assertCall("unlink(" + ME + ",1,u)");
    serve(new RequestBytes(Opcode.RMDIR, 1).text("r"));
    assertCall("rmdir(" + ME + ",1,r)");
    serve(new RequestBytes(Opcode.RENAME, 1).u64(2).text("a").text("b"));
    assertCall("rename(" + ME + ",1,a,2,b,0)");
    serve(new RequestBytes(Opcode.RENAME2, 1).u64(2).u32(1, 0).text("a").text("b"));
    assertCall("rename(" + ME + ",1,a,2,b,1)");
    ByteBuffer link = serve(new RequestBytes(Opcode.READLINK, 3));
    assertEquals("target", text(link, 16, 6));
    answers = (name, arguments) -> Entry.negative(7_000_000_000L);
    ByteBuffer negative = serve(new RequestBytes(Opcode.LOOKUP, 1).text("x"));
    assertEquals(0, negative.getLong(16));
    assertEquals(7, negative.getLong(32));
  }

  @Test
  void attributesAndChanges() {
    init();
    ByteBuffer reply = serve(new RequestBytes(Opcode.GETATTR, 5).u32(1, 0).u64(0x77));
    assertEquals(120, reply.capacity());
    assertEquals(3, reply.getLong(16));
    assertEquals(7, reply.getInt(24));
    assertAttributes(reply, 32);
    assertCall("getattr(5,[119])");
    serve(new RequestBytes(Opcode.GETATTR, 5).u32(0, 0).u64(0));
    assertCall("getattr(5,)");
    int valid = 1 | 2 | 4 | 8 | 16 | 32 | 64 | 256 | 1024 | 2048;
    serve(
        new RequestBytes(Opcode.SETATTR, 5)
            .u32(valid, 0)
            .u64(0x77, 1000, 0, -1, 2, 3)
            .u32(100, 200, 300, 0100600, 0, 12, 13, 0));
    assertCall(
        "setattr("
            + ME
            + ",5,[119],AttributeChange[mode=[%d], uid=[12], gid=[13], size=[1000],"
                .formatted(0100600)
            + " atime=[Timespec[seconds=-1, nanos=100]],"
            + " mtime=[Timespec[seconds=0, nanos=%d]],".formatted((1 << 30) - 1)
            + " ctime=[Timespec[seconds=3, nanos=300]], killPrivileges=true])");
    serve(
        new RequestBytes(Opcode.SETXATTR, 5).u32(3, 1).text("user.a").raw(new byte[] {65, 66, 67}));
    assertCall("setxattr(" + ME + ",5,user.a,ABC,1)");
    assertEquals(4, serve(new RequestBytes(Opcode.GETXATTR, 5).u32(0, 0).text("u")).getInt(16));
    assertEquals(20, serve(new RequestBytes(Opcode.GETXATTR, 5).u32(4, 0).text("u")).capacity());
    assertEquals(
        Errno.ERANGE.number(), error(new RequestBytes(Opcode.GETXATTR, 5).u32(3, 0).text("u")));
    ByteBuffer names = serve(new RequestBytes(Opcode.LISTXATTR, 5).u32(4096, 0));
    assertEquals("user.a\0user.bc\0", text(names, 16, names.capacity() - 16));
    calls.clear();
    serve(new RequestBytes(Opcode.REMOVEXATTR, 5).text("user.a"));
    assertCall("removexattr(" + ME + ",5,user.a)");
    ByteBuffer volume = serve(new RequestBytes(Opcode.STATFS, 1));
    assertEquals(96, volume.capacity());
    assertEquals(4096, volume.getInt(56));
    assertEquals(255, volume.getInt(60));
  }

  @Test
  void filesAndDirectories() {
    init();
    ByteBuffer opened = serve(new RequestBytes(Opcode.OPEN, 5).u32(2, 1));
    assertEquals(0x1234, opened.getLong(16));
    assertEquals(2, opened.getInt(24));
    assertCall("open(" + ME + ",5,2,true)");
    ByteBuffer created =
        serve(new RequestBytes(Opcode.CREATE, 1).u32(0102, 0100666, 022, 0).text("c"));
    assertEquals(160, created.capacity());
    assertEntry(created, 16);
    assertEquals(0x1234, created.getLong(144));
    assertEquals(1, created.getInt(152));
    assertCall("create(%s,1,c,%d,%d)".formatted(CALLER.formatted(022), 0100666, 0102));
    ByteBuffer read = serve(new RequestBytes(Opcode.READ, 5).u64(9, 8192).u32(4096, 0).u64(0, 0));
    assertEquals(19, read.capacity());
    assertCall("read(5,9,8192,4096 bytes)");
    ByteBuffer written =
        serve(
            new RequestBytes(Opcode.WRITE, 5)
                .u64(9, 8192)
                .u32(5, 1 | 4)
                .u64(0, 0)
                .raw(new byte[5]));
    assertEquals(5, written.getInt(16));
    assertCall("write(5,9,8192,5 bytes,true,true)");
    serve(new RequestBytes(Opcode.FLUSH, 5).u64(9, 0, 66));
    assertCall("flush(5,9,66)");
    serve(new RequestBytes(Opcode.RELEASE, 5).u64(9).u32(0, 2).u64(66));
    assertCall("release(5,9,[66])");
    serve(new RequestBytes(Opcode.FSYNC, 5).u64(9).u32(1, 0));
    assertCall("fsync(5,9,true)");
    serve(new RequestBytes(Opcode.OPENDIR, 1).u32(0, 0));
    assertCall("opendir(" + ME + ",1)");
    serve(new RequestBytes(Opcode.RELEASEDIR, 1).u64(9).u32(0, 0).u64(0));
    assertCall("releasedir(1,9)");
    serve(new RequestBytes(Opcode.FSYNCDIR, 1).u64(9).u32(0, 0));
    assertCall("fsyncdir(1,9,false)");
    serve(new RequestBytes(Opcode.FALLOCATE, 5).u64(9, 10, 20).u32(3, 0));
    assertCall("fallocate(5,9,3,10,20)");
    assertEquals(77, serve(new RequestBytes(Opcode.LSEEK, 5).u64(9, 10).u32(4, 0)).getLong(16));
    assertCall("lseek(5,9,10,4)");
    serve(new RequestBytes(Opcode.COPY_FILE_RANGE, 5).u64(9, 10, 6, 11, 12, 13, 0));
    assertCall("copyFileRange(5,9,10,6,11,12,13,0)");
    serve(new RequestBytes(Opcode.ACCESS, 5).u32(4, 0));
    assertCall("access(" + ME + ",5,4)");
    serve(new RequestBytes(Opcode.SYNCFS, 1).u64(0));
    assertCall("syncfs()");
    serve(new RequestBytes(Opcode.TMPFILE, 1).u32(2, 0100600, 022, 0).text("/"));
    assertCall("tmpfile(%s,1,%d,2)".formatted(CALLER.formatted(022), 0100600));
  }

  @Test
  void directoriesArePacked() {
    init();
    List<Boolean> taken = new ArrayList<>();
    answers =
        (name, arguments) -> {
          DirectorySink sink = (DirectorySink) arguments[3];
          boolean plus = (Boolean) arguments[4];
          for (String each : List.of(".", "abcdefgh", "z")) {
            byte[] bytes = each.getBytes(ISO_8859_1);
            taken.add(
                plus ? sink.add(bytes, ENTRY, taken.size() + 1L) : sink.add(bytes, 11, 0100000, 5));
          }
          return null;
        };
    ByteBuffer plain = serve(new RequestBytes(Opcode.READDIR, 1).u64(9, 0).u32(80, 0).u64(0, 0));
    assertEquals(List.of(true, true, false), taken);
    assertEquals(16 + 32 + 32, plain.capacity());
    assertEquals(11, plain.getLong(48));
    assertEquals(5, plain.getLong(56));
    assertEquals(8, plain.getInt(64));
    assertEquals(8, plain.getInt(68));
    assertEquals("abcdefgh", text(plain, 72, 8));
    taken.clear();
    ByteBuffer plus =
        serve(new RequestBytes(Opcode.READDIRPLUS, 1).u64(9, 0).u32(4096, 0).u64(0, 0));
    assertEquals(List.of(true, true, true), taken);
    assertEquals(16 + 3 * 160, plus.capacity());
    assertEquals(0, plus.getLong(16), "no reference for .");
    assertEquals(11, plus.getLong(16 + 128));
    assertEntry(plus, 16 + 160);
    assertEquals(2, plus.getLong(16 + 160 + 128 + 8));
  }

  @Test
  void locksAndInterrupts() {
    init();
    RequestBytes get =
        new RequestBytes(Opcode.GETLK, 5).u64(9, 66, 0, Lock.TO_THE_END).u32(0, 77, 0, 0);
    ByteBuffer lock = serve(get);
    assertEquals(40, lock.capacity());
    assertEquals(1, lock.getInt(32));
    assertEquals(3, lock.getInt(36));
    String range = "Lock[type=%s, start=0, end=" + Lock.TO_THE_END + ", pid=77]";
    assertCall("getlk(5,9,66," + range.formatted("READ") + ")");
    serve(new RequestBytes(Opcode.SETLK, 5).u64(9, 66, 0, Lock.TO_THE_END).u32(1, 77, 1, 0));
    assertCall("setlk(5,9,66,true," + range.formatted("WRITE") + ")");
    RequestBytes wait =
        new RequestBytes(33, 600, 5).u64(9, 66, 0, Lock.TO_THE_END).u32(1, 77, 0, 0);
    assertNull(serve(wait));
    assertEquals(1, session.lockWaits());
    waiting.granted();
    waiting.failed(new VfsException(Errno.EINTR, "again", "")); // only the first counts
    assertEquals(List.of("600 0"), replies);
    assertEquals(0, session.lockWaits());
    int[] cancelled = new int[1];
    answers = (name, arguments) -> (Runnable) () -> cancelled[0]++;
    assertNull(serve(wait));
    assertNull(serve(new RequestBytes(36, 601, 0).u64(600)));
    assertEquals(1, cancelled[0]);
    waiting.failed(new VfsException(Errno.EINTR, "lock", ""));
    assertEquals("600 4", replies.get(1));
    assertNull(serve(new RequestBytes(36, 701, 0).u64(700)));
    assertEquals(Errno.EAGAIN.number(), error(new RequestBytes(36, 6, 0).u64(5)));
    assertEquals(List.of(700L, 5L), interrupts);
  }

  @Test
  void sentAgainIsDoneOnce() {
    init();
    answers =
        (name, arguments) -> {
          switch (name) {
            case "mkdir", "symlink", "link", "mknod" -> throw new Refusal(Errno.EEXIST);
            case "unlink", "rmdir", "rename" -> throw new Refusal(Errno.ENOENT);
            case "create" -> {
              if (((Integer) arguments[4] & 0200) != 0) {
                throw new Refusal(Errno.EEXIST);
              }
            }
            default -> {}
          }
          return answer(name);
        };
    for (long bit : new long[] {0, Long.MIN_VALUE}) {
      int there = bit == 0 ? Errno.EEXIST.number() : 0;
      int gone = bit == 0 ? Errno.ENOENT.number() : 0;
      long unique = 10 | bit;
      assertEquals(-there, serve(new RequestBytes(9, unique, 1).u32(0, 0).text("d")).getInt(4));
      assertEquals(-there, serve(new RequestBytes(6, unique, 1).text("l").text("t")).getInt(4));
      assertEquals(-there, serve(new RequestBytes(13, unique, 1).u64(4).text("h")).getInt(4));
      assertEquals(
          -there, serve(new RequestBytes(35, unique, 1).u32(0302, 0600, 0, 0).text("c")).getInt(4));
      assertEquals(-gone, serve(new RequestBytes(10, unique, 1).text("u")).getInt(4));
      assertEquals(-gone, serve(new RequestBytes(11, unique, 1).text("r")).getInt(4));
      assertEquals(
          -gone, serve(new RequestBytes(12, unique, 1).u64(2).text("a").text("b")).getInt(4));
    }
    assertTrue(calls.contains("forget(99,1)"), "the look at the new name is given back");
  }

  @Test
  void whatIsMalformedIsRefused() {
    init();
    int invalid = Errno.EINVAL.number();
    assertEquals(invalid, error(new RequestBytes(Opcode.LOOKUP, 1)));
    assertEquals(invalid, error(new RequestBytes(Opcode.LOOKUP, 1).raw(new byte[] {65, 66})));
    assertEquals(invalid, error(new RequestBytes(Opcode.LOOKUP, 1).text("")));
    assertEquals(invalid, error(new RequestBytes(Opcode.LOOKUP, 1).text("a/b")));
    assertEquals(invalid, error(new RequestBytes(Opcode.LOOKUP, 1).text("..")));
    assertEquals(invalid, error(new RequestBytes(Opcode.RENAME, 1).u64(2).text("a")));
    assertEquals(
        invalid, error(new RequestBytes(Opcode.READ, 5).u64(9, 0).u32((1 << 20) + 1, 0).u64(0, 0)));
    assertEquals(invalid, error(new RequestBytes(Opcode.READ, 5).u64(9, -1).u32(1, 0).u64(0, 0)));
    assertEquals(
        invalid,
        error(new RequestBytes(Opcode.WRITE, 5).u64(9, 0).u32(6, 0).u64(0, 0).raw(new byte[5])));
    assertEquals(invalid, error(new RequestBytes(Opcode.SETXATTR, 5).u32(9, 0).text("a")));
    assertNull(serve(new RequestBytes(Opcode.BATCH_FORGET, 0).u32(3, 0).u64(6, 1, 7, 2)));
    assertNull(serve(new RequestBytes(Opcode.BATCH_FORGET, 0).u32(-1, 0).u64(6, 1)));
    assertEquals(Errno.ENOSYS.number(), error(new RequestBytes(1000, 2, 1)));
    assertEquals(Errno.ENOTTY.number(), error(new RequestBytes(Opcode.IOCTL, 1).u64(1, 2, 3, 4)));
    assertNull(serve(new byte[39]));
    byte[] longer = new RequestBytes(Opcode.STATFS, 1).bytes();
    longer[0]++;
    assertEquals(-invalid, serve(longer).getInt(4));
    assertEquals(List.of(), calls);
    answers =
        (name, arguments) -> {
          throw new IllegalStateException("for the log");
        };
    assertEquals(Errno.EIO.number(), error(new RequestBytes(Opcode.STATFS, 1)));
  }

  @Test
  void nothingBeforeInit() {
    assertEquals(Errno.EINVAL.number(), error(new RequestBytes(Opcode.OPEN, 5).u32(2, 0)));
  }

  private static List<byte[]> wellFormed() {
    List<byte[]> requests = new ArrayList<>();
    for (Opcode opcode : Opcode.values()) {
      requests.add(new RequestBytes(opcode, 1).text("name").text("other").bytes());
      requests.add(
          new RequestBytes(opcode, 1)
              .u64(9, 10, 11)
              .u32(3, 4, 5, 6)
              .text("some name")
              .text("other name")
              .u64(1, 2, 3, 4, 5, 6, 7)
              .bytes());
      requests.add(
          new RequestBytes(opcode, 1).u32(3, 0, 0, 0).text("name").text("o").u64(1, 2, 3).bytes());
    }
    return requests;
  }

  /** Whatever comes: a reply that holds together or none, and no exception. */
  @Test
  void fuzz() {
    init();
    List<byte[]> good = wellFormed();
    answers =
        (name, arguments) -> {
          int odd = calls.size() % 7;
          if (odd == 5) {
            throw new Refusal(Errno.ENOSPC);
          }
          return switch (name) {
            case "read" -> (int) ((MemorySegment) arguments[3]).byteSize();
            case "write" -> {
              MemorySegment data = (MemorySegment) arguments[3];
              data.get(JAVA_BYTE, Math.max(0, data.byteSize() - 1));
              yield (int) data.byteSize();
            }
            case "readdir" -> {
              DirectorySink sink = (DirectorySink) arguments[3];
              byte[] text = "an entry".getBytes(ISO_8859_1);
              int most = 20_000;
              while (most-- > 0
                  && ((Boolean) arguments[4]
                      ? sink.add(text, ENTRY, 1)
                      : sink.add(text, 1, 0, 1))) {}
              yield null;
            }
            default -> answer(name);
          };
        };
    Fuzz.run(
        "fuse requests",
        10_000,
        8 << 20,
        random -> {
          byte[] request = Fuzz.mutate(random, good.get(random.nextInt(good.size())), 4);
          if (request.length >= 4 && random.nextInt(10) != 0) {
            ByteBuffer.wrap(request).order(ByteOrder.LITTLE_ENDIAN).putInt(0, request.length);
          }
          scribble(random);
          serve(request);
          calls.clear();
          replies.clear();
        });
  }

  /** What an earlier request left behind the end of this one. */
  private void scribble(Random random) {
    byte[] left = new byte[256];
    random.nextBytes(left);
    MemorySegment.copy(left, 0, in.buffer(), JAVA_BYTE, 0, left.length);
  }
}
