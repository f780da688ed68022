package org.lifeboat.vfs;

/** A name of a node in a directory. */
final class Child {

  final Node parent;
  final Name name;
  final Node node;

  /** Its place in the directory's order. */
  final long cookie;

  /** Cut, and perhaps still in the order. */
  boolean gone;

  /** In which listing of the directory it was seen last. */
  int round;

  Child(Node parent, Name name, Node node, long cookie) {
    this.parent = parent;
    this.name = name;
    this.node = node;
    this.cookie = cookie;
  }
}
