package org.lifeboat.task;

import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.ObservedStore;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreProvider;
import org.lifeboat.store.StoreUrl;

/** The settings of a run that come from the environment. */
public final class Stores {

  private static final long DEFAULT_MEMORY = 256L << 20;

  private Stores() {}

  /** Opens a store; its requests are logged where the environment asks for that. */
  public static ObjectStore open(StoreUrl url, Map<String, String> environment)
      throws StoreException {
    return open(url, environment, RequestLog.of(environment));
  }

  static ObjectStore open(
      StoreUrl url, Map<String, String> environment, Optional<RequestLog> requests)
      throws StoreException {
    ObjectStore store = StoreProvider.openUrl(url, environment);
    return requests.<ObjectStore>map(log -> new ObservedStore(store, log)).orElse(store);
  }

  /** Where packs and images are kept meanwhile. */
  static Path cache(Map<String, String> environment) {
    for (String name : new String[] {"LIFEBOAT_CACHE_LOCATION", "FUSION_CACHE_LOCATION"}) {
      String value = environment.get(name);
      if (value != null && !value.isEmpty()) {
        return Path.of(value).toAbsolutePath();
      }
    }
    return Path.of("/var/cache/lifeboat");
  }

  /** How many bytes a dump may buffer: LIFEBOAT_POOL_SIZE, 256 MiB without it, at least 64 MiB. */
  static long memory(Map<String, String> environment) {
    String value = environment.get("LIFEBOAT_POOL_SIZE");
    if (value == null || value.isEmpty()) {
      return DEFAULT_MEMORY;
    }
    return Math.max(64L << 20, Sizes.parse(value));
  }
}
