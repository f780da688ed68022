package org.lifeboat.task;

/** Which Lifeboat this is. */
public final class Version {

  private Version() {}

  /** As the jar's manifest says; {@code development} outside of a jar. */
  public static String current() {
    String version = Version.class.getPackage().getImplementationVersion();
    return version == null ? "development" : version;
  }
}
