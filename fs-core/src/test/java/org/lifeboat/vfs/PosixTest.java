package org.lifeboat.vfs;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.TestData;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Libc;

/**
 * The same random operations on the mount's file system, on a model, and on a directory of this
 * machine: same answers, same errors, same files at the end; with restarts and deaths in between.
 */
@Timeout(120)
final class PosixTest {

  @TempDir Path temp;

  @Test
  void manyRandomOperations() throws Exception {
    TestData data = new TestData("PosixTest.manyRandomOperations");
    for (int round = 0; round < 6; round++) {
      long seed = data.random().nextLong();
      run(seed, 1200, round % 2 == 0);
    }
  }

  private void run(long seed, int count, boolean passthrough) throws Exception {
    Path here = Files.createDirectories(temp.resolve(Long.toHexString(seed)));
    Path real = Files.createDirectories(here.resolve("real"));
    PosixModel model = new PosixModel();
    PosixOperations operations = new PosixOperations(seed);
    try (TreeRig rig = new TreeRig(here.resolve("mount"), Clock.systemUTC())) {
      rig.options = TreeRig.with(rig.options, 8 << 20, passthrough, 256 << 10);
      operations.foreign(
          (name, bytes) -> {
            rig.put("bucket", "home/task/" + name, bytes);
            model.put(name, bytes);
            Path file = real.resolve(name);
            Files.createDirectories(file.getParent());
            Files.write(file, bytes);
            Libc.chmod(BytePath.of(file), 0644);
            for (Path up = file.getParent(); !up.equals(real); up = up.getParent()) {
              Libc.chmod(BytePath.of(up), 0755);
            }
          });
      rig.mount();
      PosixTree tree =
          new PosixTree(
              rig.tree,
              TreeRig.HOME,
              TreeRig.ROOT,
              () -> {
                if (operations.nextBoolean()) {
                  rig.unmount();
                } else {
                  rig.kill();
                }
                return rig.mount();
              });
      Map<String, Posix> all = new LinkedHashMap<>();
      all.put("model", model);
      all.put("machine", new PosixReal(BytePath.of(real)));
      all.put("tree", tree);
      operations.run(all, count, tree::forgetAll);
    }
  }
}
