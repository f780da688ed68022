package org.lifeboat.store;

import java.nio.ByteBuffer;
import java.util.Random;

/** Seeded random bytes. The seed is printed; {@code -Dlifeboat.seed=N} repeats a run. */
public final class TestData {

  private final Random random;

  public TestData(String what) {
    long seed = Long.getLong("lifeboat.seed", System.nanoTime());
    System.out.println(what + ": -Dlifeboat.seed=" + seed);
    random = new Random(seed);
  }

  public Random random() {
    return random;
  }

  public ByteBuffer bytes(int size) {
    byte[] bytes = new byte[size];
    random.nextBytes(bytes);
    return ByteBuffer.allocateDirect(size).put(bytes).flip();
  }

  /** The buffers' remaining bytes, one after the other. */
  public static ByteBuffer join(ByteBuffer... buffers) {
    int size = 0;
    for (ByteBuffer buffer : buffers) {
      size += buffer.remaining();
    }
    ByteBuffer whole = ByteBuffer.allocateDirect(size);
    for (ByteBuffer buffer : buffers) {
      whole.put(buffer.duplicate());
    }
    return whole.flip();
  }
}
