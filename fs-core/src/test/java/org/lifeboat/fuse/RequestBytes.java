package org.lifeboat.fuse;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Makes requests as the kernel does, byte by byte. */
final class RequestBytes {

  private final ByteBuffer bytes = ByteBuffer.allocate(1 << 17).order(ByteOrder.LITTLE_ENDIAN);

  /** With uid 1000, gid 100, pid 77. */
  RequestBytes(int opcode, long unique, long node) {
    bytes.putInt(0).putInt(opcode).putLong(unique).putLong(node);
    bytes.putInt(1000).putInt(100).putInt(77).putInt(0);
  }

  RequestBytes(Opcode opcode, long node) {
    this(opcode.number(), 4242, node);
  }

  RequestBytes u32(int... values) {
    for (int value : values) {
      bytes.putInt(value);
    }
    return this;
  }

  RequestBytes u64(long... values) {
    for (long value : values) {
      bytes.putLong(value);
    }
    return this;
  }

  RequestBytes text(String text) {
    bytes.put(text.getBytes(ISO_8859_1)).put((byte) 0);
    return this;
  }

  RequestBytes raw(byte[] more) {
    bytes.put(more);
    return this;
  }

  byte[] bytes() {
    bytes.putInt(0, bytes.position());
    return Arrays.copyOf(bytes.array(), bytes.position());
  }
}
