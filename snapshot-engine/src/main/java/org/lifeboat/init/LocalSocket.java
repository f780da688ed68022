package org.lifeboat.init;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import jdk.net.ExtendedSocketOptions;

/** The sockets of a run, in its folder. */
public final class LocalSocket {

  private LocalSocket() {}

  /**
   * Who has connected, if it is neither root nor the user of this process: the mode of a socket and
   * of its folder keep others away, and this does where somebody has changed them.
   */
  public static Optional<String> stranger(SocketChannel peer) throws IOException {
    String user = peer.getOption(ExtendedSocketOptions.SO_PEERCRED).user().getName();
    return user.equals("root") || user.equals(System.getProperty("user.name"))
        ? Optional.empty()
        : Optional.of(user);
  }

  /** Listens at a path, mode 0600; what a killed predecessor left there is replaced. */
  public static ServerSocketChannel listen(Path socket) throws IOException {
    Files.deleteIfExists(socket);
    ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    try {
      server.bind(UnixDomainSocketAddress.of(socket));
      Files.setPosixFilePermissions(socket, PosixFilePermissions.fromString("rw-------"));
      return server;
    } catch (IOException e) {
      try {
        server.close();
      } catch (IOException suppressed) {
        e.addSuppressed(suppressed);
      }
      throw e;
    }
  }
}
