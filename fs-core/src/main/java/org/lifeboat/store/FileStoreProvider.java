package org.lifeboat.store;

import java.util.Map;

/** Opens {@code file:///directory} stores. */
public final class FileStoreProvider implements StoreProvider {

  @Override
  public String scheme() {
    return "file";
  }

  @Override
  public ObjectStore open(StoreUrl url, Map<String, String> environment) {
    return new FileStore(url);
  }
}
