package org.lifeboat.s3;

import java.util.Map;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreProvider;
import org.lifeboat.store.StoreUrl;

/** Opens {@code s3://bucket/prefix} stores; {@link S3Settings} tells the variables. */
public final class S3StoreProvider implements StoreProvider {

  @Override
  public String scheme() {
    return "s3";
  }

  @Override
  public ObjectStore open(StoreUrl url, Map<String, String> environment) throws StoreException {
    return new S3Store(url, S3Settings.of(url, environment));
  }
}
