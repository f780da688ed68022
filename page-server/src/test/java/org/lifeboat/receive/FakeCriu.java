package org.lifeboat.receive;

import java.io.IOException;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;

/** Sends messages over a socket as CRIU does, in pieces of random size. */
final class FakeCriu implements AutoCloseable {

  private final SocketChannel channel;
  private final Random random;

  FakeCriu(Path socket, Random random) throws IOException {
    channel = SocketChannel.open(UnixDomainSocketAddress.of(socket));
    channel.setOption(StandardSocketOptions.SO_SNDBUF, 4 << 20);
    this.random = random;
  }

  /** Sends in random pieces. */
  void send(byte[] bytes) throws IOException {
    ByteBuffer buffer = ByteBuffer.wrap(bytes);
    while (buffer.position() < bytes.length) {
      int piece = random.nextInt(3) == 0 ? 1 + random.nextInt(100) : 1 + random.nextInt(1 << 20);
      buffer.limit(Math.min(bytes.length, buffer.position() + piece));
      channel.write(buffer);
    }
  }

  int reply(int bytes) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    while (buffer.hasRemaining()) {
      if (channel.read(buffer) < 0) {
        throw new IOException("the page server closed the connection");
      }
    }
    return bytes == 1 ? buffer.get(0) : buffer.getInt(0);
  }

  /** Sends all of it; the reply to the end. */
  int dump(MemoryImage image) throws IOException {
    List<byte[]> messages = image.messages();
    for (byte[] message : messages) {
      send(message);
      if (message.length == 32 && message[0] == 4) {
        reply(1);
      }
    }
    return reply(4);
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
