package org.lifeboat.snapshot;

/** The keys of the objects below a store URL. */
public final class Layout {

  public static final String ROOT = ".fusion/dump/";
  public static final String METADATA = ROOT + "dump_metadata";
  private static final String COPIES = ROOT + "copies/dump_metadata-";
  public static final String HEARTBEAT = ROOT + "heartbeat";

  private Layout() {}

  /** A copy of the metadata, by the epoch of its owner. */
  public static String copy(long epoch) {
    return copy(Long.toString(epoch));
  }

  static String copy(String epoch) {
    return COPIES + epoch;
  }

  public static String dump(int id) {
    return ROOT + id + "/";
  }

  public static String manifest(int id) {
    return dump(id) + "manifest.json";
  }

  public static String index(int id) {
    return dump(id) + "pages.index";
  }

  public static String pages(int id) {
    return dump(id) + "pages/";
  }

  public static String files(int id) {
    return dump(id) + "files/";
  }

  public static String filesManifest(int id) {
    return dump(id) + "files.manifest";
  }

  public static String image(int id, String name) {
    return dump(id) + name;
  }
}
