package org.lifeboat.task;

/**
 * The numbers of the signals that a run hands on, which are the same on every architecture that we
 * run on.
 */
final class Signals {

  private Signals() {}

  static int number(String name) {
    return switch (name) {
      case "HUP" -> 1;
      case "INT" -> 2;
      case "QUIT" -> 3;
      case "USR1" -> 10;
      case "USR2" -> 12;
      default -> 15;
    };
  }
}
