package org.lifeboat.criu;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * One of CRIU's image files.
 *
 * <pre>
 *  u32 magic | u32 magic of the type | (u32 length | protobuf message)*      little-endian
 * </pre>
 */
@SuppressWarnings("ArrayRecordComponent") // never compared
record Image(byte[] magic, List<byte[]> entries) {

  static Image read(Path file) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    if (bytes.length < 8) {
      throw new CriuException(
          "malformed image: " + file + " has only " + bytes.length + " bytes", null);
    }
    ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    byte[] magic = new byte[8];
    in.get(magic);
    List<byte[]> entries = new ArrayList<>();
    while (in.hasRemaining()) {
      int length = in.remaining() < 4 ? -1 : in.getInt();
      if (length < 0 || length > in.remaining()) {
        throw new CriuException("malformed image: " + file + " is truncated", null);
      }
      byte[] entry = new byte[length];
      in.get(entry);
      entries.add(entry);
    }
    return new Image(magic, entries);
  }

  void write(Path file) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes(magic);
    for (byte[] entry : entries) {
      out.writeBytes(
          ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(entry.length).array());
      out.writeBytes(entry);
    }
    Files.write(file, out.toByteArray());
  }
}
