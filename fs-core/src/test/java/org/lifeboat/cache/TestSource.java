package org.lifeboat.cache;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;

/** An object in memory, with a say before each request. */
final class TestSource implements Source {

  /** What happens before a request is answered. */
  interface Hook {
    void before(long offset, int length) throws IOException;
  }

  final byte[] data;
  final List<Integer> lengths = new CopyOnWriteArrayList<>();
  final List<Long> offsets = new CopyOnWriteArrayList<>();
  private final AtomicInteger under = new AtomicInteger();
  private final AtomicInteger most = new AtomicInteger();
  volatile Hook hook = (offset, length) -> {};

  TestSource(byte[] data) {
    this.data = data;
  }

  static TestSource random(int size, long seed) {
    byte[] data = new byte[size];
    new Random(seed).nextBytes(data);
    return new TestSource(data);
  }

  Origin origin(String version) {
    return new Origin("s3://bucket/object", version, data.length);
  }

  int requests() {
    return lengths.size();
  }

  int mostAtOnce() {
    return most.get();
  }

  @Override
  public void read(long offset, ByteBuffer into) throws IOException {
    most.accumulateAndGet(under.incrementAndGet(), Math::max);
    try {
      offsets.add(offset);
      lengths.add(into.remaining());
      hook.before(offset, into.remaining());
      into.put(data, (int) offset, into.remaining());
    } finally {
      under.decrementAndGet();
    }
  }
}
