package org.lifeboat.receive;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.channels.ScatteringByteChannel;
import java.nio.channels.WritableByteChannel;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.lifeboat.page.Compression;
import org.lifeboat.page.ImageId;
import org.lifeboat.protocol.PageMessage;
import org.lifeboat.protocol.ProtocolException;
import org.lifeboat.store.Fuzz;

/**
 * Streams of messages that were valid before they were changed, in their bytes or in their sense:
 * each is received as a consistent dump or refused with a {@link ProtocolException}; never anything
 * else, no segment is lost, and the heap does not grow with what a message announces.
 */
class DumpReaderFuzzTest {

  private static final int PAGE = 4096;

  /** A peer that has sent all it ever will. */
  private static class Peer implements ScatteringByteChannel, WritableByteChannel {
    private final ByteBuffer sent;
    private int replies;

    Peer(ByteBuffer sent) {
      this.sent = sent;
    }

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
      from.position(from.limit());
      replies += n;
      return n;
    }

    @Override
    public boolean isOpen() {
      return true;
    }

    @Override
    public void close() {}
  }

  /** A message as it is on the wire, and how many bytes of pages follow it. */
  private record Sent(int command, int padding, long pages, long vaddr, long dst, int body) {
    static Sent of(PageMessage m, int body) {
      return new Sent(m.command().code() | m.flags() << 16, 0, m.pages(), m.vaddr(), m.dst(), body);
    }

    void encode(ByteBuffer into) {
      into.putInt(command).putInt(padding).putLong(pages).putLong(vaddr).putLong(dst);
      into.position(into.position() + body);
    }
  }

  private static List<Sent> valid(Random random) {
    List<Sent> all = new ArrayList<>();
    int images = 1 + random.nextInt(3);
    for (int i = 1; i <= images; i++) {
      ImageId id =
          new ImageId(random.nextBoolean() ? ImageId.Kind.TASK : ImageId.Kind.SHMEM, 100L * i);
      if (random.nextInt(4) == 0) {
        all.add(Sent.of(PageMessage.of(PageMessage.Command.PARENT, id, 0, 0, 0), 0));
      }
      all.add(Sent.of(PageMessage.of(PageMessage.Command.OPEN2, id, 0, 0, 0), 0));
      long vaddr = (long) PAGE * random.nextInt(1000);
      for (int e = random.nextInt(3); e > 0; e--) {
        int pages = 1 + random.nextInt(2);
        int flags = 4 | random.nextInt(2) * 2;
        all.add(
            Sent.of(
                PageMessage.of(PageMessage.Command.ADD_F, id, flags, pages, vaddr), pages * PAGE));
        vaddr += (long) PAGE * (pages + random.nextInt(3));
      }
    }
    all.add(Sent.of(PageMessage.close(), 0));
    return all;
  }

  /** Changes what the messages say. */
  private static void mutate(Random random, List<Sent> all) {
    for (int n = random.nextInt(3); n > 0 && !all.isEmpty(); n--) {
      int at = random.nextInt(all.size());
      Sent m = all.get(at);
      switch (random.nextInt(10)) {
        case 0 -> all.remove(at);
        case 1 -> all.add(random.nextInt(all.size() + 1), m);
        case 2 -> Collections.swap(all, at, random.nextInt(all.size()));
        case 3 -> all.set(at, new Sent(m.command, 1, Fuzz.number(random), m.vaddr, m.dst, m.body));
        case 4 -> all.set(at, new Sent(m.command, 0, m.pages, Fuzz.number(random), m.dst, m.body));
        case 5 ->
            all.set(
                at,
                new Sent(
                    m.command, 0, m.pages, (m.vaddr & -PAGE) | random.nextInt(2), m.dst, m.body));
        case 6 ->
            all.set(at, new Sent(m.command, 0, m.pages, m.vaddr, Fuzz.number(random), m.body));
        case 7 ->
            all.set(
                at,
                new Sent(
                    m.command ^ (1 << random.nextInt(32)), 0, m.pages, m.vaddr, m.dst, m.body));
        case 8 ->
            all.set(at, new Sent((int) Fuzz.number(random), 7, m.pages, m.vaddr, m.dst, m.body));
        default -> // more or fewer pages than announced
            all.set(
                at,
                new Sent(
                    m.command, 0, m.pages, m.vaddr, m.dst, Math.max(0, m.body + PAGE / 2 - 1024)));
      }
    }
  }

  private int good;
  private int refused;

  @Test
  void everyStreamIsReceivedOrRefused() throws Exception {
    ByteBuffer buffer = ByteBuffer.allocate(1 << 20).order(java.nio.ByteOrder.LITTLE_ENDIAN);
    try (SegmentPool pool = new SegmentPool(4);
        FrameBuilder frames = new FrameBuilder(PAGE)) {
      Fuzz.run(
          "page streams",
          20_000,
          1 << 20,
          random -> {
            List<Sent> all = valid(random);
            mutate(random, all);
            buffer.clear();
            all.forEach(m -> m.encode(buffer));
            byte[] bytes = new byte[buffer.position()];
            buffer.flip().get(bytes);
            if (random.nextInt(3) == 0) {
              bytes = Fuzz.mutate(random, bytes, 3);
            }
            receive(bytes, pool, frames, random);
          });
    }
    assertTrue(
        Long.getLong("lifeboat.seed") != null
            || (good > refused / 20 && refused > good / 20 && good > 1000),
        good + " received, " + refused + " refused");
    System.out.println("page streams: " + good + " received, " + refused + " refused");
  }

  private void receive(byte[] bytes, SegmentPool pool, FrameBuilder frames, Random random)
      throws Exception {
    Peer peer = new Peer(ByteBuffer.wrap(bytes));
    long[] pagesAndPieces = new long[2];
    DumpReader reader =
        new DumpReader(
            peer,
            peer,
            pool,
            batch -> {
              for (Batch.Step step : batch.steps()) {
                pagesAndPieces[0] += step instanceof Batch.Extent e ? e.pages() : 0;
              }
              if (random.nextInt(8) == 0) {
                frames.build(batch, Compression.LZ4);
                pagesAndPieces[1] += batch.pieces().size();
              }
              pool.give(batch.segment());
            },
            PAGE);
    try {
      ReceivedPages pages = reader.run(ReceiveObserver.NONE, () -> true);
      assertEquals(pages.pages(), pagesAndPieces[0]);
      assertEquals(pages.rawBytes(), pagesAndPieces[0] * PAGE);
      assertTrue((peer.replies - pages.images()) % 4 == 0, "a byte, or four");
      good++;
    } catch (ProtocolException e) {
      assertTrue(e.getMessage().length() > 10);
      refused++;
    }
    assertEquals(0, pool.used());
  }

  /**
   * Images without pages fill no segment: a peer that opens them without end was taken for a batch
   * that is not full yet, and all that was noted of it stayed in the heap.
   */
  @Test
  void regression_aFloodOfImagesIsBoundedAndRefused() throws Exception {
    ByteBuffer header = ByteBuffer.allocate(PageMessage.HEADER_BYTES);
    long[] opened = {0};
    Peer flood =
        new Peer(header) {
          @Override
          public long read(ByteBuffer[] into, int offset, int length) {
            if (!header.hasRemaining()) {
              opened[0]++;
              ImageId id = new ImageId(ImageId.Kind.TASK, opened[0]);
              PageMessage.of(PageMessage.Command.OPEN2, id, 0, 0, 0).encode(header.clear());
              header.flip();
            }
            return super.read(into, offset, length);
          }
        };
    header.limit(0);
    int[] largest = {0};
    try (SegmentPool pool = new SegmentPool(2)) {
      DumpReader reader =
          new DumpReader(
              flood,
              flood,
              pool,
              batch -> {
                largest[0] = Math.max(largest[0], batch.steps().size());
                pool.give(batch.segment());
              },
              PAGE);
      ProtocolException e =
          assertThrows(ProtocolException.class, () -> reader.run(ReceiveObserver.NONE, () -> true));
      assertTrue(e.getMessage().contains("more than 1048576 images"), e.getMessage());
      assertTrue(largest[0] <= 4096, largest[0] + " steps in a batch");
      assertEquals(0, pool.used());
    }
  }
}
