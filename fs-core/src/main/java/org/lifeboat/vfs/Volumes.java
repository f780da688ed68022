package org.lifeboat.vfs;

import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreException;

/** Opens the stores that show as {@code /SCHEME/NAME} in a mount, each when it is first touched. */
@FunctionalInterface
public interface Volumes {

  /**
   * @param scheme {@code s3}, {@code gs} or {@code file}
   * @param name the bucket; for {@code file} the first directory of the path
   * @return the whole bucket or directory; the mount closes it
   * @throws StoreException when it can't be opened
   * @throws IllegalArgumentException when none can have that name
   */
  ObjectStore open(String scheme, String name) throws StoreException;
}
