package org.lifeboat.page;

import java.util.HexFormat;
import java.util.random.RandomGenerator;

/** Makes the keys of packs. */
@FunctionalInterface
public interface PackNames {

  /**
   * @param number of the pack, from 0 on
   */
  String key(int number);

  /**
   * Keys {@code <folder>/<epoch>-<random>-<n>.pack}, of which no two are ever the same.
   *
   * @param folder without a slash at its end
   * @param epoch of the snapshots' owner
   */
  static PackNames unique(String folder, long epoch, RandomGenerator random) {
    String stem = folder + "/" + epoch + "-" + HexFormat.of().toHexDigits(random.nextLong()) + "-";
    return number -> stem + number + ".pack";
  }
}
