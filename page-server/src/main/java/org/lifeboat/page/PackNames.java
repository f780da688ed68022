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
    return of(folder, stem(epoch, random));
  }

  /** A stem {@code <epoch>-<random>}, of which no two are ever the same. */
  static String stem(long epoch, RandomGenerator random) {
    return epoch + "-" + HexFormat.of().toHexDigits(random.nextLong());
  }

  /**
   * Keys {@code <folder>/<stem>-<n>.pack}.
   *
   * @param folder without a slash at its end
   * @param stem what {@link #stem} made; whoever wrote it down can name the keys again
   */
  static PackNames of(String folder, String stem) {
    return number -> folder + "/" + stem + "-" + number + ".pack";
  }
}
