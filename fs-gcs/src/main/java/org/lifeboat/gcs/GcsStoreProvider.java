package org.lifeboat.gcs;

import java.util.Map;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreException.Kind;
import org.lifeboat.store.StoreProvider;
import org.lifeboat.store.StoreUrl;

/**
 * Says of {@code gs://} URLs that this version can't use them, so that the user does not take the
 * URL for mistyped.
 */
public final class GcsStoreProvider implements StoreProvider {

  @Override
  public String scheme() {
    return "gs";
  }

  /**
   * @throws StoreException always, of kind {@link Kind#INVALID}
   */
  @Override
  public ObjectStore open(StoreUrl url, Map<String, String> environment) throws StoreException {
    throw new StoreException(
        Kind.INVALID,
        "open",
        url.toString(),
        "this version of Lifeboat cannot use gs:// URLs",
        "use s3://bucket/prefix, or file:///directory on a shared file system",
        null);
  }
}
