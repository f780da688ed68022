package org.lifeboat.receive;

import java.nio.file.Path;
import java.util.List;
import org.lifeboat.page.IndexTotals;
import org.lifeboat.page.PackInfo;

/**
 * All pages of a dump, kept: what a manifest must say about them.
 *
 * @param packs complete, in the order in which the index numbers them; none when all pages are zero
 * @param indexFile the finished {@code pages.index}, still to be uploaded
 * @param indexSize of that file in bytes
 * @param indexSha256 of that file, in lower-case hexadecimal
 * @param pageSize in bytes
 * @param totals what the index holds
 */
public record PageSet(
    List<PackInfo> packs,
    Path indexFile,
    long indexSize,
    String indexSha256,
    int pageSize,
    IndexTotals totals) {

  public PageSet {
    packs = List.copyOf(packs);
  }

  /** Bytes of all pages. */
  public long rawBytes() {
    return totals.pages() * pageSize;
  }

  /** Bytes of all packs, padding included. */
  public long storedBytes() {
    return packs.stream().mapToLong(PackInfo::length).sum();
  }
}
