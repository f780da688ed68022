package org.lifeboat.store;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.InstantSource;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;

/** The contract on {@code file://}. */
final class FileStoreContractTest extends ObjectStoreContract {

  @TempDir private Path directory;

  @Override
  protected ObjectStore open(String name) {
    return new FileStore(
        StoreUrl.parse("file://" + directory + "/" + name), InstantSource.system(), 1000);
  }

  /** As any tool does: to sync each takes its time. */
  @Override
  protected void fill(ObjectStore store, List<String> keys) throws Exception {
    for (String key : keys) {
      Path file = Path.of(store.url().path(), key);
      Files.createDirectories(file.getParent());
      Files.writeString(file, "x");
    }
  }

  @Override
  protected int rounds() {
    return 40;
  }
}
