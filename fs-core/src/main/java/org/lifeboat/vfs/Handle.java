package org.lifeboat.vfs;

/**
 * An open regular file.
 *
 * <pre>
 * its number: bits 63 .. 32 generation of the engine, 31 .. 4 number, 3 .. 0 access: 1 read, 2 write
 * </pre>
 */
final class Handle {

  static final int READ = 1;
  static final int WRITE = 2;
  static final int MAX_NUMBER = (1 << 28) - 1;

  final long id;
  final Node node;
  final Contents.Content content;
  final Contents.Reader reader;

  Handle(long id, Node node, Contents.Content content) {
    this.id = id;
    this.node = node;
    this.content = content;
    this.reader = content.reader();
  }

  static long id(int generation, int number, int access) {
    return ((long) generation << 32) | ((long) number << 4) | access;
  }

  static int generation(long id) {
    return (int) (id >>> 32);
  }

  static boolean reads(long id) {
    return (id & READ) != 0;
  }

  static boolean writes(long id) {
    return (id & WRITE) != 0;
  }
}
