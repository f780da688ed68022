import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.zip.CRC32;

/**
 * A JVM task: threads, a heap of arrays, lists and strings that are checked at every step, garbage, a mapped file and virtual
 * threads. Arguments: STEPS PAUSE_MILLIS. Deterministic; pauses no more once there is a file {@code
 * hurry}; exit code 5.
 */
class Heap {
  static final int THREADS = 3;
  static final int ARRAYS = 64;

  /** Owned by one thread at a time. */
  static final class Part implements Callable<Long> {
    final byte[][] arrays = new byte[ARRAYS][];
    final List<String> strings = new ArrayList<>();
    long state;

    Part(long seed) {
      state = seed;
      for (int i = 0; i < ARRAYS; i++) {
        arrays[i] = new byte[16 << 10];
        for (int j = 0; j < arrays[i].length / 2; j++) {
          arrays[i][j] = (byte) next();
        }
      }
    }

    int next() {
      state = state * 6364136223846793005L + 1442695040888963407L;
      return (int) (state >>> 33);
    }

    @Override
    public Long call() {
      int at = Math.floorMod(next(), ARRAYS);
      arrays[at] = arrays[at].clone();
      for (int i = 0; i < 16; i++) {
        arrays[at][Math.floorMod(next(), arrays[at].length)] = (byte) next();
      }
      strings.add(Integer.toString(next(), 36));
      if (strings.size() > 1000) {
        strings.remove(0);
      }
      CRC32 sum = new CRC32();
      for (byte[] array : arrays) {
        sum.update(array);
      }
      return sum.getValue() * 31 + strings.hashCode();
    }
  }

  public static void main(String[] arguments) throws Exception {
    int steps = Integer.parseInt(arguments[0]);
    long pause = Long.parseLong(arguments[1]);
    List<Part> parts = new ArrayList<>();
    for (int i = 0; i < THREADS; i++) {
      parts.add(new Part(i + 1));
    }
    ExecutorService platform = Executors.newFixedThreadPool(THREADS);
    ExecutorService virtual = Executors.newVirtualThreadPerTaskExecutor();
    FileChannel file =
        FileChannel.open(
            Path.of("heap.bin"), StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
    ByteBuffer mapped = file.map(FileChannel.MapMode.READ_WRITE, 0, 1 << 16);
    long sum = 0;
    long clock = System.nanoTime();
    int step = 0;
    while (step < steps) {
      step++;
      for (Future<Long> part : (step % 2 == 0 ? platform : virtual).invokeAll(parts)) {
        sum = sum * 1000003 + part.get();
      }
      mapped.putLong(step % 8192 * 8, sum);
      for (int i = 0; i < mapped.capacity(); i += 8) {
        sum += mapped.getLong(i);
      }
      long now = System.nanoTime();
      if (now < clock) {
        System.out.println("FAIL the clock went back by " + (clock - now) + " ns");
        System.exit(99);
      }
      clock = now;
      System.out.println("step " + step + " " + Long.toHexString(sum));
      if (!Files.exists(Path.of("hurry"))) {
        Thread.sleep(pause);
      }
    }
    System.out.println("end " + step + " " + Long.toHexString(sum));
    System.exit(5);
  }
}
