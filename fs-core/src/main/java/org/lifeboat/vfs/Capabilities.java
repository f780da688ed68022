package org.lifeboat.vfs;

import java.util.Set;

/**
 * What the file system wants of an {@link Offer}. The transport does all of it or refuses.
 *
 * @param wanted nothing that was not offered
 * @param maxReadahead bytes, at most what was offered
 * @param stackDepth with {@link Capability#PASSTHROUGH}: 1; or 2 where the backing files may lie on
 *     overlayfs, and then nobody can stack a file system on the mount
 */
public record Capabilities(Set<Capability> wanted, int maxReadahead, int stackDepth) {

  public Capabilities {
    wanted = Set.copyOf(wanted);
  }

  public boolean has(Capability capability) {
    return wanted.contains(capability);
  }
}
