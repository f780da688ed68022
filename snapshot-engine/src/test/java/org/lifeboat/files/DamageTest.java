package org.lifeboat.files;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.ZstdInputStream;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Clock;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Errno;
import org.lifeboat.sys.Libc;

/** Damaged input, full disks, files that don't stand still: nothing is half done. */
class DamageTest {

  @TempDir Path temp;
  private Task task;
  private Path work;

  @BeforeEach
  void setUp() throws Exception {
    task = new Task(temp);
    work = Path.of(task.work.toString());
    Files.writeString(work.resolve("same"), "same");
    task.start();
    task.tick();
    Files.writeString(work.resolve("a"), "a".repeat(5000));
    byte[] noise = new byte[3_000_000];
    new SplittableRandom(1).nextBytes(noise);
    Files.write(work.resolve("noise"), noise);
    Libc.setXattr(task.work.resolve("a"), "user.k".getBytes(UTF_8), new byte[] {1});
  }

  @Test
  void anyDamageOfTheManifestIsFound() throws Exception {
    byte[] good = Files.readAllBytes(task.capture("m").manifest());
    Path bad = temp.resolve("bad");
    for (int i = 0; i < good.length; i++) {
      byte[] copy = good.clone();
      copy[i] ^= 0x10;
      Files.write(bad, copy);
      // a bit that the decoder ignores may be turned over; then nothing else may change
      try {
        assertEquals(Manifest.load(task.temp.resolve("m")).entries(), Manifest.load(bad).entries());
      } catch (FilesException e) {
        assertTrue(e.getMessage().contains(bad.toString()), e.getMessage());
      }
      Files.write(bad, Arrays.copyOf(good, i));
      assertThrows(FilesException.class, () -> Manifest.load(bad));
    }
  }

  @Test
  void linesThatLie() throws Exception {
    byte[] packed = Files.readAllBytes(task.capture("m").manifest());
    String text;
    try (ZstdInputStream in = new ZstdInputStream(new ByteArrayInputStream(packed))) {
      text = new String(in.readAllBytes(), UTF_8);
    }
    Path bad = temp.resolve("bad");
    write(bad, text);
    assertEquals(Manifest.load(temp.resolve("m")).entries(), Manifest.load(bad).entries());
    for (List<String> change :
        List.of(
            List.of("\"version\":1", "\"version\":2"),
            List.of("lifeboat-files", "other"),
            List.of("/work/a\"", "/work/../a\""),
            List.of("/work/a\"", "/work//a\""),
            List.of("/work/a\"", "/work/z\""),
            List.of("\"size\":5000", "\"size\":-1"),
            List.of("\"size\":5000", "\"size\":4999"),
            List.of("\"size\":5000", "\"size\":99999999999999999999"),
            List.of("\"kind\":\"file\"", "\"kind\":\"thing\""),
            List.of("\"kind\":\"file\"", "\"kind\":\"directory\""),
            List.of("\"frames\":1", "\"frames\":2"),
            List.of("\"frames\":3", "\"frames\":2147483647"),
            List.of("[[0,5000", "[[1,5000"),
            List.of("[[0,5000", "[[0,5000000"),
            List.of("[[0,5000,0", "[[0,5000,-1"),
            List.of("[[0,5000,0", "[[0,5000,true"),
            List.of("\"xattrs\":1", "\"xattrs\":2"),
            List.of("\"AQ==\"", "\"**\""),
            List.of("\"mtime\":\"2", "\"mtime\":\"x"),
            List.of("\"kind\":\"end\"", "\"kind\":\"same\""))) {
      assertTrue(text.contains(change.get(0)), change.toString());
      write(bad, text.replace(change.get(0), change.get(1)));
      FilesException e =
          assertThrows(FilesException.class, () -> Manifest.load(bad), change.toString());
      assertTrue(e.getMessage().contains(bad.toString()), e.getMessage());
    }
    write(bad, text.replace("\"kind\":\"file\"", "\"new\":{\"x\":[1]},\"kind\":\"file\""));
    assertEquals(Manifest.load(temp.resolve("m")).entries(), Manifest.load(bad).entries());
    write(bad, "{\"format\":\"" + "x".repeat(3 << 20) + "\"}\n");
    assertThrows(FilesException.class, () -> Manifest.load(bad));
  }

  /** With a footer that vouches for it. */
  private static void write(Path file, String text) throws Exception {
    int footer = text.lastIndexOf("{\"kind\":\"end\"");
    String out = text;
    if (footer > 0) {
      String body = text.substring(0, footer);
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      String sum = HexFormat.of().formatHex(digest.digest(body.getBytes(UTF_8)));
      out = body + text.substring(footer).replaceAll("[0-9a-f]{64}", sum);
    }
    Files.write(file, Zstd.compress(out.getBytes(UTF_8)));
  }

  @Test
  void damagedContentChangesNothing() throws Exception {
    CaptureResult captured = task.capture("m");
    task.pack.flip(captured.storedBytes() / 2);
    Files.writeString(work.resolve("a"), "newer");
    Files.writeString(work.resolve("noise"), "newer");
    Files.writeString(work.resolve("unknown"), "newer");
    Photo before = Photo.of(BytePath.ROOT, task.home);
    FilesException damaged =
        assertThrows(FilesException.class, () -> task.rollBack(captured, BytePath.ROOT).apply());
    assertTrue(damaged.getMessage().contains("work/noise"), damaged.getMessage());
    Photo after = Photo.of(BytePath.ROOT, task.home);
    assertEquals(before.contents, after.contents);
    assertThrows(
        FilesException.class,
        () -> RollBack.verify(Manifest.load(captured.manifest()), task.pack, 2));
    task.pack.flip(captured.storedBytes() / 2);
    task.rollBack(captured, BytePath.ROOT).apply();
    assertEquals("a".repeat(5000), Files.readString(work.resolve("a")));
  }

  @Test
  void aPackThatIsMissingOrShort() throws Exception {
    CaptureResult captured = task.capture("m");
    Manifest manifest = Manifest.load(captured.manifest());
    for (long length : new long[] {-1, 1000}) {
      ContentSource less =
          new ContentSource() {
            @Override
            public long length(int pack) {
              return length;
            }

            @Override
            public void read(ContentRef ref, ByteBuffer into) throws IOException {
              task.pack.read(ref, into);
            }
          };
      FilesException e =
          assertThrows(
              FilesException.class, () -> new RollBack(manifest, less, BytePath.ROOT, 2).plan());
      assertTrue(e.getMessage().contains("pack 0"), e.getMessage());
    }
  }

  private static void run(String... command) throws Exception {
    Process process = new ProcessBuilder(command).inheritIO().start();
    assertEquals(0, process.waitFor(), List.of(command).toString());
  }

  @Test
  void aDiskThatIsTooSmallOrFillsUp() throws Exception {
    CaptureResult captured = task.capture("m");
    Manifest manifest = Manifest.load(captured.manifest());
    BytePath disk = task.empty("disk");
    run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk.toString());
    try {
      FilesException small =
          assertThrows(FilesException.class, () -> task.rollBack(captured, disk).plan());
      assertEquals(Errno.ENOSPC, small.errno().orElseThrow());
      assertTrue(small.getMessage().contains("needs 30"), small.getMessage());
      run("mount", "-o", "remount,size=4m", disk.toString());
      Path filler = Path.of(disk.toString()).resolve("filler");
      AtomicBoolean filled = new AtomicBoolean();
      ContentSource meanwhile =
          new ContentSource() {
            @Override
            public long length(int pack) throws IOException {
              return task.pack.length(pack);
            }

            @Override
            public void read(ContentRef ref, ByteBuffer into) throws IOException {
              if (filled.compareAndSet(false, true)) {
                Files.write(filler, new byte[5 << 19]);
              }
              task.pack.read(ref, into);
            }
          };
      FilesException full =
          assertThrows(
              FilesException.class, () -> new RollBack(manifest, meanwhile, disk, 1).apply());
      assertEquals(Errno.ENOSPC, full.errno().orElseThrow());
      assertTrue(full.getMessage().contains("work/noise"), full.getMessage());
      Files.delete(filler);
      task.rollBack(captured, disk).apply();
      assertEquals(3_000_000, Libc.lstat(disk.rebase(task.work.resolve("noise"))).size());
    } finally {
      run("umount", disk.toString());
    }
  }

  @Test
  void aFileThatDoesNotStandStill() throws Exception {
    Path restless = work.resolve("restless");
    Files.writeString(restless, "0");
    ContentSink touching =
        stored -> {
          Files.writeString(restless, Files.readString(restless) + "1");
          return task.pack.append(stored);
        };
    Capture capture = new Capture(task.scope, task.baseline, touching, Clock.systemUTC(), 1);
    FilesException e =
        assertThrows(
            FilesException.class, () -> capture.run(List.of(), temp.resolve("restless.m")));
    assertTrue(e.getMessage().contains("work/restless"), e.getMessage());
    assertTrue(e.getMessage().contains("changes while it is read"), e.getMessage());
  }

  @Test
  void aFileThatComesToRest() throws Exception {
    Path restless = work.resolve("restless");
    Files.writeString(restless, "0");
    AtomicBoolean once = new AtomicBoolean();
    ContentSink touching =
        stored -> {
          if (once.compareAndSet(false, true)) {
            Files.writeString(restless, "changed once");
          }
          return task.pack.append(stored);
        };
    Files.delete(work.resolve("a"));
    Files.delete(work.resolve("noise"));
    CaptureResult captured =
        new Capture(task.scope, task.baseline, touching, Clock.systemUTC(), 1)
            .run(List.of(), temp.resolve("m"));
    BytePath empty = task.empty("empty");
    task.rollBack(captured, empty).apply();
    assertEquals(
        "changed once", Files.readString(Path.of(empty.rebase(BytePath.of(restless)).toString())));
  }

  @Test
  void aDamagedBaseline() throws Exception {
    Path file = temp.resolve("baseline");
    byte[] good = Files.readAllBytes(file);
    Baseline.load(file);
    for (int i = 0; i < good.length; i++) {
      Files.write(file, Arrays.copyOf(good, i));
      assertThrows(FilesException.class, () -> Baseline.load(file));
    }
  }
}
