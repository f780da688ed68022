package org.lifeboat.files;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** One pack in a local file. */
final class PackFile implements ContentSink, ContentSource, AutoCloseable {

  private final FileChannel file;

  PackFile(Path path) {
    try {
      file =
          FileChannel.open(
              path, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public synchronized ContentRef append(ByteBuffer stored) throws IOException {
    long offset = file.size();
    int length = stored.remaining();
    long at = offset;
    while (stored.hasRemaining()) {
      at += file.write(stored, at);
    }
    return new ContentRef(0, offset, length);
  }

  @Override
  public long length(int pack) throws IOException {
    return pack == 0 ? file.size() : -1;
  }

  @Override
  public void read(ContentRef ref, ByteBuffer into) throws IOException {
    ByteBuffer slice = into.slice(into.position(), ref.length());
    while (slice.hasRemaining() && file.read(slice, ref.offset() + slice.position()) >= 0) {}
    into.position(into.position() + slice.position());
  }

  /** Turns one bit over. */
  void flip(long offset) throws IOException {
    ByteBuffer one = ByteBuffer.allocate(1);
    file.read(one, offset);
    one.put(0, (byte) (one.get(0) ^ 4)).flip();
    file.write(one, offset);
  }

  @Override
  public void close() throws IOException {
    file.close();
  }
}
