package org.lifeboat.vfs;

import java.util.Set;

/**
 * What the kernel can do.
 *
 * @param minor the protocol's version 7.minor
 * @param maxReadahead bytes; less can be asked for, more not
 * @param maxRequest the largest read or write that will come, in bytes
 */
public record Offer(int minor, int maxReadahead, int maxRequest, Set<Capability> capabilities) {

  public Offer {
    capabilities = Set.copyOf(capabilities);
  }

  public boolean has(Capability capability) {
    return capabilities.contains(capability);
  }
}
