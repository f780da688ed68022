package org.lifeboat.store;

import java.nio.file.Path;
import org.junit.jupiter.api.io.TempDir;

/** The contract on {@code file://}. */
final class FileStoreContractTest extends ObjectStoreContract {

  @TempDir private Path directory;

  @Override
  protected ObjectStore open(String name) {
    return new FileStore(StoreUrl.parse("file://" + directory + "/" + name));
  }

  @Override
  protected int rounds() {
    return 40;
  }
}
