package org.lifeboat.perf;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Locale;
import java.util.StringJoiner;
import org.lifeboat.page.Compression;
import org.lifeboat.page.FrameCodec;
import org.lifeboat.page.PageFormat;

/**
 * What the codecs take by themselves: compresses a file in frames of 64 KiB, as a dump does, on one
 * thread, and counts that thread's CPU time.
 *
 * <pre>
 *  CodecLoop FILE
 *    stdout:  {"LZ4":{"cpu_s_per_gb":..,"ratio":..},"ZSTD":{..}}
 * </pre>
 *
 * At most {@value #MOST} bytes, from all over the file; each codec goes over them twice, and the
 * second time counts. The bytes are in memory before.
 */
public final class CodecLoop {

  private static final long MOST = 256L << 20;
  private static final int STRETCH = 1 << 20;

  private CodecLoop() {}

  /** Measures; see the class. */
  public static void main(String[] args) throws IOException {
    try (Arena arena = Arena.ofConfined();
        FrameCodec codec = new FrameCodec()) {
      ByteBuffer data = sample(Path.of(args[0]), arena);
      StringJoiner out = new StringJoiner(",", "{", "}");
      for (Compression how : new Compression[] {Compression.LZ4, Compression.ZSTD}) {
        pass(codec, how, data);
        long before = cpuNanos();
        long compressed = pass(codec, how, data);
        double seconds = (cpuNanos() - before) / 1e9;
        out.add(
            String.format(
                Locale.ROOT,
                "\"%s\":{\"cpu_s_per_gb\":%.4f,\"ratio\":%.3f}",
                how.name(),
                seconds / (data.capacity() / 1e9),
                (double) data.capacity() / compressed));
      }
      System.out.println(out);
    }
  }

  private static ByteBuffer sample(Path file, Arena arena) throws IOException {
    try (FileChannel in = FileChannel.open(file, StandardOpenOption.READ)) {
      long size = in.size() - in.size() % PageFormat.RANGE_BYTES;
      if (size == 0) {
        throw new IllegalArgumentException(file + " has less than " + PageFormat.RANGE_BYTES);
      }
      long every = Math.max(1, (size + MOST - 1) / MOST);
      MemorySegment memory = arena.allocate(size / every + STRETCH, 4096);
      ByteBuffer into = memory.asByteBuffer();
      for (long at = 0; at < size; at += STRETCH * every) {
        int end = (int) Math.min(into.capacity(), into.position() + Math.min(STRETCH, size - at));
        into.limit(end);
        long from = at - into.position();
        while (into.hasRemaining() && in.read(into, from + into.position()) >= 0) {
          // until it is there
        }
      }
      int whole = into.position() - into.position() % PageFormat.RANGE_BYTES;
      return into.flip().slice(0, whole);
    }
  }

  private static long pass(FrameCodec codec, Compression how, ByteBuffer data) {
    ByteBuffer scratch = ByteBuffer.allocateDirect(FrameCodec.SCRATCH_BYTES);
    long sum = 0;
    for (int at = 0; at < data.capacity(); at += PageFormat.RANGE_BYTES) {
      sum +=
          Math.min(
              PageFormat.RANGE_BYTES,
              codec.compress(how, data, at, PageFormat.RANGE_BYTES, scratch));
    }
    return sum;
  }

  private static long cpuNanos() {
    return ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
  }
}
