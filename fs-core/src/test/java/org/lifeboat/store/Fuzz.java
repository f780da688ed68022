package org.lifeboat.store;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.Random;

/**
 * Rounds of a fuzzer, each with a seed of its own, so that one that fails can be repeated alone and
 * kept. A round fails when it throws anything, or takes more memory from the heap than it may: a
 * length that somebody made up must not become an allocation.
 *
 * <p>The usual build runs the same rounds each time. {@code -Dlifeboat.fuzz=1000000} runs that many
 * of the page streams, and of everything else in proportion, from a new seed each time; {@code
 * -Dlifeboat.seed=N} repeats one round.
 */
public final class Fuzz {

  private static final int USUAL = 20_000;
  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  private static final long[] NUMBERS = {
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0xffff,
    0x10000,
    1 << 20,
    Integer.MAX_VALUE,
    Integer.MIN_VALUE,
    0xffffffffL,
    1L << 32,
    1L << 47,
    1L << 56,
    1L << 60,
    Long.MAX_VALUE,
    Long.MIN_VALUE,
    -1,
    -4096
  };

  private Fuzz() {}

  /** One round. */
  @FunctionalInterface
  public interface Round {
    void run(Random random) throws Exception;
  }

  /**
   * Runs a fuzzer.
   *
   * @param usual rounds in the usual build
   * @param bytes of heap that a round may allocate
   */
  public static void run(String name, int usual, long bytes, Round round) {
    Long one = Long.getLong("lifeboat.seed");
    if (one != null) {
      round(name, one, Long.MAX_VALUE, round);
      return;
    }
    Long asked = Long.getLong("lifeboat.fuzz");
    long rounds = asked == null ? usual : Math.max(usual, usual * asked / USUAL);
    long base = asked == null ? name.hashCode() : System.nanoTime();
    System.out.printf("%s: %d rounds from seed %d on%n", name, rounds, base);
    long start = System.nanoTime();
    for (long i = 0; i < rounds; i++) {
      // the first rounds load classes
      round(name, base + i, i < 200 ? bytes + (64 << 20) : bytes, round);
    }
    System.out.printf("%s: %d rounds in %.1f s%n", name, rounds, (System.nanoTime() - start) / 1e9);
  }

  private static void round(String name, long seed, long bytes, Round round) {
    long before = THREADS.getCurrentThreadAllocatedBytes();
    try {
      round.run(new Random(seed));
    } catch (Exception | Error e) {
      throw new AssertionError(name + ": -Dlifeboat.seed=" + seed, e);
    }
    long taken = THREADS.getCurrentThreadAllocatedBytes() - before;
    if (taken > bytes) {
      throw new AssertionError(
          name + ": -Dlifeboat.seed=" + seed + " allocated " + taken + " bytes, of " + bytes);
    }
  }

  /** A number that breaks things, or any. */
  public static long number(Random random) {
    long number = NUMBERS[random.nextInt(NUMBERS.length)];
    return switch (random.nextInt(4)) {
      case 0 -> random.nextLong();
      case 1 -> number + random.nextInt(5) - 2;
      default -> number;
    };
  }

  /** Bytes with up to {@code most} changes of any kind. */
  public static byte[] mutate(Random random, byte[] good, int most) {
    byte[] bytes = good.clone();
    for (int n = 1 + random.nextInt(most); n > 0 && bytes.length > 0; n--) {
      int at = random.nextInt(bytes.length);
      int length = Math.min(bytes.length - at, 1 + random.nextInt(16));
      switch (random.nextInt(7)) {
        case 0 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
        case 1 -> bytes[at] = (byte) random.nextInt();
        case 2 -> {
          long number = number(random);
          int size = 1 << random.nextInt(4);
          for (int i = 0; i < size && at + i < bytes.length; i++) {
            bytes[at + i] = (byte) (number >>> (8 * i));
          }
        }
        case 3 -> bytes = splice(bytes, at, length, new byte[0]);
        case 4 -> {
          byte[] more = new byte[length];
          random.nextBytes(more);
          bytes = splice(bytes, at, 0, more);
        }
        case 5 -> {
          int from = random.nextInt(bytes.length);
          byte[] copy =
              Arrays.copyOfRange(bytes, from, Math.min(bytes.length, from + random.nextInt(64)));
          bytes = splice(bytes, at, random.nextBoolean() ? 0 : copy.length, copy);
        }
        default -> bytes = Arrays.copyOf(bytes, at);
      }
    }
    return bytes;
  }

  private static byte[] splice(byte[] bytes, int at, int remove, byte[] insert) {
    int rest = Math.min(bytes.length, at + remove);
    byte[] out = new byte[at + insert.length + bytes.length - rest];
    System.arraycopy(bytes, 0, out, 0, at);
    System.arraycopy(insert, 0, out, at, insert.length);
    System.arraycopy(bytes, rest, out, at + insert.length, bytes.length - rest);
    return out;
  }
}
