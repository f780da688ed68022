package org.lifeboat.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.OpenFile;
import org.lifeboat.vfs.Capabilities;
import org.lifeboat.vfs.Capability;
import org.lifeboat.vfs.Opened;
import org.lifeboat.vfs.VfsException;

class BackingFilesTest {

  private static final long PASSTHROUGH = 1L << 37;
  private static final long DIRECT_MMAP = 1L << 36;

  @TempDir Path temp;
  private OpenFile backing;
  private MountRecord record;
  private final Registry registry = new Registry();

  /** Gives ids as the kernel does: none twice. */
  private static final class Registry implements BackingFiles.Registry {
    private final Set<Integer> open = new TreeSet<>();
    private int last;
    private int refusal;

    @Override
    public int open(int fd) {
      if (refusal != 0) {
        return -refusal;
      }
      open.add(++last);
      return last;
    }

    @Override
    public void close(int id) {
      open.remove(id);
    }
  }

  private static Agreement agreement(long flags) {
    return new Agreement(45, flags, 131072, Agreement.MAX_REQUEST, 1);
  }

  @BeforeEach
  void setUp() throws Exception {
    Files.write(temp.resolve("backing"), new byte[10]);
    backing = OpenFile.write(BytePath.of(temp.resolve("backing")));
    record = MountRecord.create(temp.resolve("record"), BytePath.of("/mnt"));
  }

  private BackingFiles files(long flags) {
    return new BackingFiles(registry, record, agreement(flags));
  }

  private Opened through(long handle) {
    return Opened.passthrough(handle, backing.fd());
  }

  @Test
  void oneIdPerNode() throws Exception {
    BackingFiles files = files(PASSTHROUGH);
    assertEquals(new BackingFiles.Grant(128, 1), files.opened(7, through(1)));
    assertEquals(new BackingFiles.Grant(128 | 32, 1), files.opened(7, through(2).withoutFlush()));
    assertEquals(new BackingFiles.Grant(128, 2), files.opened(8, through(3)));
    assertEquals(2, files.registered());
    files.released(1);
    assertEquals(Set.of(1, 2), registry.open);
    files.released(2);
    files.released(2);
    assertEquals(Set.of(2), registry.open);
    files.released(3);
    assertEquals(Set.of(), registry.open);
    assertEquals(0, files.openFiles());
    assertEquals(List.of(), record.slots());
  }

  @Test
  void neverBothWays() throws Exception {
    BackingFiles files = files(PASSTHROUGH);
    files.opened(7, through(1));
    Opened cached = Opened.file(2, Opened.Mode.KEEP_CACHE);
    assertEquals(new BackingFiles.Grant(128 | 1, 1), files.opened(7, cached));
    files.released(1);
    assertEquals(Set.of(1), registry.open);
    files.released(2);
    assertEquals(Set.of(), registry.open);
    assertEquals(2, files.opened(7, Opened.file(3, Opened.Mode.KEEP_CACHE)).flags());
    assertEquals(2, files.opened(7, Opened.file(4, Opened.Mode.KEEP_CACHE)).flags());
    assertEquals(0, files.opened(7, Opened.file(5, Opened.Mode.CACHED)).flags());
    assertEquals(2, files.opened(7, through(6)).flags(), "through the page cache, as the others");
    assertEquals(1, files.opened(7, Opened.file(7, Opened.Mode.DIRECT)).flags());
    for (int handle = 3; handle <= 6; handle++) {
      files.released(handle);
    }
    assertEquals(128, files.opened(7, through(8)).flags());
  }

  @Test
  void directHandlesThatCanBeMappedAreCachedOnes() throws Exception {
    BackingFiles files = files(PASSTHROUGH | DIRECT_MMAP);
    files.opened(7, Opened.file(1, Opened.Mode.DIRECT));
    assertEquals(0, files.opened(7, through(2)).flags());
    files.released(1);
    files.released(2);
    assertEquals(128, files.opened(7, through(3)).flags());
  }

  @Test
  void anotherFileBehindANodeIsAnError() throws Exception {
    BackingFiles files = files(PASSTHROUGH);
    files.opened(7, through(1));
    Files.write(temp.resolve("other"), new byte[10]);
    try (OpenFile other = OpenFile.write(BytePath.of(temp.resolve("other")))) {
      Opened wrong = Opened.passthrough(2, other.fd());
      assertEquals(
          Errno.EIO, assertThrows(VfsException.class, () -> files.opened(7, wrong)).errno());
    }
    assertEquals(1, files.openFiles());
  }

  @Test
  void aKernelThatRefusesMeansNoPassthrough() throws Exception {
    registry.refusal = Errno.EPERM.number();
    BackingFiles files = files(PASSTHROUGH);
    assertEquals(0, files.opened(7, through(1)).flags());
    registry.refusal = 0;
    assertEquals(0, files.opened(8, through(2)).flags(), "it is not asked again");
  }

  @Test
  void withoutPassthroughAllIsAsAsked() throws Exception {
    BackingFiles files = files(0);
    assertEquals(2, files.opened(7, Opened.file(1, Opened.Mode.KEEP_CACHE)).flags());
    assertEquals(1, files.opened(7, Opened.file(2, Opened.Mode.DIRECT)).flags());
    assertEquals(0, files.opened(7, through(3)).flags());
    assertEquals(0, files.openFiles());
  }

  @Test
  void theNextServerGoesOn() throws Exception {
    BackingFiles dead = files(PASSTHROUGH);
    dead.opened(7, through(1));
    dead.opened(7, through(2));
    dead.opened(8, through(3));
    dead.opened(9, Opened.file(4, Opened.Mode.CACHED));
    dead.released(3);
    registry.open(0); // killed before it was recorded
    int slot = record.opened(5, 10, 1000, 2);
    registry.open.add(1000);
    record.closing(slot); // killed before it was closed
    record.close();
    record = MountRecord.open(temp.resolve("record"));
    BackingFiles next = files(PASSTHROUGH);
    next.takeOver();
    assertEquals(Set.of(1), registry.open);
    assertEquals(3, next.openFiles());
    assertEquals(new BackingFiles.Grant(128, 1), next.opened(7, through(11)));
    assertEquals(2, next.opened(9, through(12)).flags());
    next.released(1);
    next.released(2);
    next.released(11);
    next.released(5);
    next.released(4);
    next.released(12);
    assertEquals(Set.of(), registry.open);
    assertEquals(List.of(), record.slots());
  }

  @Test
  void aRecordIsReadBackOrRefused() throws Exception {
    Agreement agreed = agreement(PASSTHROUGH | 1);
    assertTrue(record.agreement().isEmpty());
    record.agreed(agreed);
    record.close();
    Path path = temp.resolve("record");
    MountRecord again = MountRecord.open(path);
    assertEquals(agreed, again.agreement().orElseThrow());
    assertEquals(BytePath.of("/mnt"), again.mountPoint());
    Capabilities capabilities = agreed.capabilities();
    assertEquals(Set.of(Capability.PASSTHROUGH), capabilities.wanted());
    again.close();
    for (int at : new int[] {0, 8, 16, 44, 8191}) {
      flip(path, at);
      VfsException damaged = assertThrows(VfsException.class, () -> MountRecord.open(path));
      assertTrue(damaged.getMessage().contains("umount -l"), damaged.getMessage());
      flip(path, at);
    }
    MountRecord.open(path).delete();
    assertThrows(VfsException.class, () -> MountRecord.open(path));
    Files.write(path, new byte[100]);
    assertThrows(VfsException.class, () -> MountRecord.open(path));
    assertThrows(VfsException.class, () -> MountRecord.create(path, BytePath.of("/mnt")));
  }

  private static void flip(Path path, int at) throws Exception {
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
      file.seek(at);
      int old = file.read();
      file.seek(at);
      file.write(old ^ 1);
    }
  }
}
