package org.lifeboat.receive;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.ScatteringByteChannel;
import java.nio.channels.WritableByteChannel;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BooleanSupplier;
import org.lifeboat.page.PageFormat;
import org.lifeboat.protocol.DumpDialogue;
import org.lifeboat.protocol.PageMessage;
import org.lifeboat.protocol.ProtocolException;

/**
 * The dump's one reader: takes messages and pages from a connection and fills batches.
 *
 * <p>It does nothing else, because the tasks stay frozen as long as it takes: no hashing, no zero
 * test, no lock but the pool's once per MiB. The last read of an entry's pages takes the next
 * header along (a scattering read), so that a MiB costs one to two system calls.
 *
 * <p>A batch is cut where a 64 KiB range ends, so that the pages of a range come to one frame,
 * unless the entries themselves break there.
 */
final class DumpReader {

  /** Images that have no pages fill no segment: a batch of them ends here. */
  private static final int MAX_STEPS = 4096;

  private final ScatteringByteChannel in;
  private final WritableByteChannel out;
  private final SegmentPool pool;
  private final BatchQueue queue;
  private final int pageSize;
  private final DumpDialogue dialogue;
  private final ByteBuffer header = ByteBuffer.allocateDirect(PageMessage.HEADER_BYTES);
  private Batch batch;
  private final AtomicLong rawBytes = new AtomicLong();

  /** Takes full batches. */
  @FunctionalInterface
  interface BatchQueue {
    void put(Batch batch) throws InterruptedException;
  }

  DumpReader(
      ScatteringByteChannel in,
      WritableByteChannel out,
      SegmentPool pool,
      BatchQueue queue,
      int pageSize) {
    this.in = in;
    this.out = out;
    this.pool = pool;
    this.queue = queue;
    this.pageSize = pageSize;
    this.dialogue = new DumpDialogue(pageSize);
  }

  /** Bytes of pages so far; any thread may ask. */
  long rawBytes() {
    return rawBytes.get();
  }

  /**
   * Receives until the end and answers it.
   *
   * @param vote asked when all was received: whether the dump may go on
   * @throws ProtocolException when the peer does not speak as CRIU 4.2 does, or goes before the end
   */
  ReceivedPages run(ReceiveObserver observer, BooleanSupplier vote)
      throws IOException, InterruptedException {
    try {
      header.clear().limit(PageMessage.OLD_HEADER_BYTES);
      fill(header, header);
      long start = System.nanoTime();
      if (PageMessage.isOldForm(header)) {
        throw PageMessage.oldForm();
      }
      header.limit(PageMessage.HEADER_BYTES);
      fill(header, header);
      while (true) {
        PageMessage message = PageMessage.decode(header, pageSize);
        dialogue.accept(message);
        header.clear();
        switch (message.command()) {
          case OPEN2 -> {
            ready().steps().add(new Batch.Opened(message.image()));
            if (batch.steps().size() >= MAX_STEPS) {
              ship();
            }
            observer.imageOpened(message.image());
            reply(ByteBuffer.allocate(1));
            fill(header, header);
          }
          case PARENT -> {
            reply(status(0));
            fill(header, header);
          }
          case ADD_F -> pages(message);
          case CLOSE, FORCE_CLOSE -> {
            ship();
            double seconds = (System.nanoTime() - start) / 1e9;
            boolean good = vote.getAsBoolean();
            reply(status(good ? 0 : 1));
            return new ReceivedPages(
                dialogue.images(), dialogue.entries(), dialogue.pages(), rawBytes.get(), seconds);
          }
        }
      }
    } finally {
      if (batch != null) {
        pool.give(batch.segment());
        batch = null;
      }
    }
  }

  /** Waits until the peer has closed its end, so that it has surely read the answer. */
  void awaitEnd() throws IOException {
    header.clear();
    if (in.read(header) >= 0) {
      throw new ProtocolException("CRIU sent something behind the end of the dump");
    }
  }

  private static ByteBuffer status(int status) {
    return ByteBuffer.allocate(Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN).putInt(status).flip();
  }

  private void reply(ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      out.write(bytes);
    }
  }

  /** Reads until {@code last} is full. */
  private void fill(ByteBuffer last, ByteBuffer... into) throws IOException {
    while (last.hasRemaining()) {
      if (in.read(into) < 0) {
        throw new ProtocolException(
            "CRIU closed the connection before the end of the dump: the dump failed there, its log"
                + " says why");
      }
    }
  }

  private Batch ready() throws InterruptedException {
    if (batch == null) {
      batch = new Batch(pool.take());
    }
    return batch;
  }

  private void ship() throws InterruptedException {
    if (batch != null) {
      Batch full = batch;
      batch = null;
      queue.put(full);
    }
  }

  private void pages(PageMessage message) throws IOException, InterruptedException {
    long left = message.pages();
    long vaddr = message.vaddr();
    while (left > 0) {
      Batch into = ready();
      ByteBuffer segment = into.segment();
      int room = segment.remaining() / pageSize;
      int take = cut(vaddr, left, room);
      int bytes = take * pageSize;
      boolean first = left == message.pages();
      into.steps()
          .add(
              new Batch.Extent(vaddr, take, segment.position(), first ? left : 0, message.flags()));
      segment.limit(segment.position() + bytes);
      left -= take;
      vaddr += bytes;
      if (left > 0) {
        fill(segment, segment);
      } else {
        fill(header, segment, header);
      }
      segment.limit(segment.capacity());
      rawBytes.addAndGet(bytes);
      if (left > 0 || segment.remaining() < PageFormat.RANGE_BYTES) {
        ship();
      }
    }
  }

  /**
   * How many of the pages to take into what is left of the segment, which is at least a range: all
   * that fit; but when that would fill it, only up to where a range ends.
   */
  private int cut(long vaddr, long left, int room) {
    int take = (int) Math.min(left, room);
    long end = vaddr + (long) take * pageSize;
    long aligned = end - end % PageFormat.RANGE_BYTES;
    if (aligned > vaddr && (long) (room - take) * pageSize < PageFormat.RANGE_BYTES) {
      return (int) ((aligned - vaddr) / pageSize);
    }
    return take;
  }
}
