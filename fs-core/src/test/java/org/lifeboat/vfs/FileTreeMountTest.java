package org.lifeboat.vfs;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.lifeboat.fuse.FuseServer;
import org.lifeboat.fuse.MountSuite;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Libc;

/** The file system through the kernel: needs root and /dev/fuse. */
@Timeout(120)
final class FileTreeMountTest {

  @TempDir Path temp;
  private Path where;
  private TreeRig rig;
  private FuseServer server;

  @BeforeEach
  void setUp() throws Exception {
    where = Files.createDirectory(temp.resolve("mount"));
    rig = new TreeRig(temp.resolve("rig"), Clock.systemUTC());
  }

  @AfterEach
  void tearDown() throws Exception {
    if (Files.readString(Path.of("/proc/self/mounts")).contains(where.toString())) {
      Libc.unmount(BytePath.of(where), Libc.MNT_DETACH | Libc.MNT_FORCE);
    }
    rig.close();
  }

  private Path mount() throws Exception {
    server = new FuseServer();
    rig.waits = server.waits();
    rig.open();
    server.mount(BytePath.of(where), "test", rig.tree, Optional.empty());
    return where.resolve(TreeRig.HOME);
  }

  private void unmount() throws Exception {
    server.unmount();
    rig.ended();
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void whatProgramsNeed(boolean passthrough) throws Exception {
    rig.options = TreeRig.with(rig.options, 8 << 20, passthrough, 1 << 20);
    Path home = mount();
    Process suite =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                MountSuite.class.getName(),
                home.toString())
            .redirectErrorStream(true)
            .start();
    String output = new String(suite.getInputStream().readAllBytes(), UTF_8);
    assertEquals(0, suite.waitFor(), output);
    assertTrue(output.matches("(?s).*\\n[1-9]\\d* cases, 1 failed\\s*"), output);
    assertTrue(
        output.matches("(?s).*failed names of any bytes: [^\\n]*EILSEQ\\n.*"),
        "a name that no key can have: " + output);
    unmount();
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void randomOperationsAreAsInTheModel(boolean passthrough) throws Exception {
    rig.options = TreeRig.with(rig.options, 8 << 20, passthrough, 1 << 20);
    PosixOperations operations = new PosixOperations("FileTreeMountTest");
    PosixModel model = new PosixModel();
    operations.foreign(
        (name, bytes) -> {
          rig.put("bucket", "home/task/" + name, bytes);
          model.put(name, bytes);
        });
    Map<String, Posix> all = new LinkedHashMap<>();
    all.put("model", model);
    all.put("mount", new PosixReal(BytePath.of(mount())));
    operations.run(all, 700, () -> {});
    operations.closeAll(all); // else the mount would be busy
    unmount();
    mount();
    operations.compareAll(all, "");
    unmount();
  }

  @Test
  void anObjectIsReadAndWhatIsWrittenIsThereAtTheNextMount() throws Exception {
    rig.put("bucket", "home/task/in/data", "hello".getBytes(UTF_8));
    byte[] large = new byte[20 << 20];
    new java.util.Random(1).nextBytes(large);
    rig.put("bucket", "home/task/in/large", large);
    Path home = mount();
    assertEquals("hello", Files.readString(home.resolve("in/data")));
    assertArrayEquals(large, Files.readAllBytes(home.resolve("in/large")));
    Files.writeString(home.resolve("out"), "result");
    Object number = Files.getAttribute(home.resolve("out"), "unix:ino");
    unmount();
    home = mount();
    assertEquals("result", Files.readString(home.resolve("out")));
    assertEquals(number, Files.getAttribute(home.resolve("out"), "unix:ino"));
    unmount();
  }
}
