package org.lifeboat.store;

import java.util.Map;
import java.util.ServiceLoader;

/**
 * Opens stores of one scheme; found by {@link ServiceLoader}, so that a backend is there when its
 * jar is.
 */
public interface StoreProvider {

  /** The scheme of the URLs that this provider opens. */
  String scheme();

  /**
   * Opens the store; whether it can be reached shows at the first request.
   *
   * @param environment the settings, as environment variables
   */
  ObjectStore open(StoreUrl url, Map<String, String> environment) throws StoreException;

  /**
   * Opens the store that the URL names.
   *
   * @throws StoreException of kind {@link StoreException.Kind#INVALID} when no backend for its
   *     scheme is installed
   */
  static ObjectStore openUrl(StoreUrl url, Map<String, String> environment) throws StoreException {
    for (StoreProvider provider : ServiceLoader.load(StoreProvider.class)) {
      if (provider.scheme().equals(url.scheme())) {
        return provider.open(url, environment);
      }
    }
    throw new StoreException(
        StoreException.Kind.INVALID,
        "open",
        url.toString(),
        "no backend for " + url.scheme() + "://",
        "install the Lifeboat distribution that has it",
        null);
  }
}
