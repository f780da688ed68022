package org.lifeboat.receive;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.channels.ScatteringByteChannel;
import java.nio.channels.WritableByteChannel;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.lifeboat.page.ImageId;
import org.lifeboat.protocol.PageMessage;
import org.lifeboat.protocol.ProtocolException;

/**
 * 100,000 streams that were valid before they were mutated: each is received as a consistent dump
 * or refused with a {@link ProtocolException}; never anything else, and no segment is lost.
 */
class DumpReaderFuzzTest {

  private static final int STREAMS = 100_000;

  /** A peer that has sent all it ever will. */
  private record Peer(ByteBuffer sent, List<Byte> replies)
      implements ScatteringByteChannel, WritableByteChannel {

    @Override
    public long read(ByteBuffer[] into, int offset, int length) {
      long total = 0;
      for (int i = offset; i < offset + length; i++) {
        int n = Math.min(into[i].remaining(), sent.remaining());
        into[i].put(sent.slice(sent.position(), n));
        sent.position(sent.position() + n);
        total += n;
      }
      return total == 0 && !sent.hasRemaining() ? -1 : total;
    }

    @Override
    public long read(ByteBuffer[] into) {
      return read(into, 0, into.length);
    }

    @Override
    public int read(ByteBuffer into) {
      return (int) read(new ByteBuffer[] {into});
    }

    @Override
    public int write(ByteBuffer from) {
      int n = from.remaining();
      while (from.hasRemaining()) {
        replies.add(from.get());
      }
      return n;
    }

    @Override
    public boolean isOpen() {
      return true;
    }

    @Override
    public void close() {}
  }

  private static byte[] valid(Random random) {
    ByteBuffer all = ByteBuffer.allocate(64 << 10);
    int images = 1 + random.nextInt(3);
    for (int i = 1; i <= images; i++) {
      ImageId id =
          new ImageId(random.nextBoolean() ? ImageId.Kind.TASK : ImageId.Kind.SHMEM, 100L * i);
      PageMessage.of(PageMessage.Command.OPEN2, id, 0, 0, 0).encode(all);
      long vaddr = 4096L * random.nextInt(1000);
      for (int e = random.nextInt(3); e > 0; e--) {
        int pages = 1 + random.nextInt(2);
        PageMessage.of(PageMessage.Command.ADD_F, id, 4 | random.nextInt(2) * 2, pages, vaddr)
            .encode(all);
        all.position(all.position() + pages * 4096);
        vaddr += 4096L * (pages + random.nextInt(3));
      }
    }
    PageMessage.close().encode(all);
    byte[] bytes = new byte[all.position()];
    all.flip().get(bytes);
    return bytes;
  }

  private static void mutate(Random random, byte[] bytes) {
    for (int n = random.nextInt(4); n > 0; n--) {
      int at = random.nextInt(2) == 0 ? random.nextInt(bytes.length) : random.nextInt(128);
      at = Math.min(at, bytes.length - 1);
      switch (random.nextInt(3)) {
        case 0 -> bytes[at] = (byte) random.nextInt();
        case 1 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
        default -> {
          for (int i = at & ~7; i < Math.min(bytes.length, (at & ~7) + 8); i++) {
            bytes[i] = (byte) (random.nextBoolean() ? -1 : 0);
          }
        }
      }
    }
  }

  @Test
  void everyStreamIsReceivedOrRefused() throws Exception {
    long seed = 20261121;
    Random random = new Random(seed);
    int good = 0;
    int refused = 0;
    try (SegmentPool pool = new SegmentPool(4)) {
      for (int i = 0; i < STREAMS; i++) {
        byte[] bytes = valid(random);
        mutate(random, bytes);
        int length = random.nextInt(8) == 0 ? random.nextInt(bytes.length + 1) : bytes.length;
        Peer peer = new Peer(ByteBuffer.wrap(bytes, 0, length), new ArrayList<>());
        List<Batch> batches = new ArrayList<>();
        DumpReader reader =
            new DumpReader(
                peer,
                peer,
                pool,
                batch -> {
                  batches.add(batch);
                  pool.give(batch.segment());
                },
                4096);
        try {
          ReceivedPages pages = reader.run(ReceiveObserver.NONE, () -> true);
          long extents =
              batches.stream()
                  .flatMap(b -> b.steps().stream())
                  .mapToLong(s -> s instanceof Batch.Extent e ? e.pages() : 0)
                  .sum();
          assertEquals(pages.pages(), extents);
          assertEquals(pages.rawBytes(), extents * 4096);
          assertEquals(0, (peer.replies().size() - pages.images()) % 4, "a byte, or four");
          good++;
        } catch (ProtocolException e) {
          assertTrue(e.getMessage().length() > 10, "seed " + seed + " stream " + i);
          refused++;
        } catch (RuntimeException | AssertionError e) {
          throw new AssertionError("seed " + seed + " stream " + i, e);
        }
        assertEquals(0, pool.used(), "seed " + seed + " stream " + i);
      }
    }
    assertTrue(good > STREAMS / 20 && refused > STREAMS / 20, good + " good, " + refused);
  }
}
