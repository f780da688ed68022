package org.lifeboat.page;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.util.Set;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;

/** Moves a {@code pages.index} between the local disk and the store; 8 MiB of memory. */
public final class IndexFile {

  private IndexFile() {}

  /** Uploads the file: in one request, or in parts when it is longer than a part. */
  public static ObjectStore.ObjectInfo upload(ObjectStore store, String key, Path file)
      throws IOException {
    try (FileChannel in = FileChannel.open(file, StandardOpenOption.READ)) {
      ByteBuffer buffer = ByteBuffer.allocate((int) Math.min(in.size(), PageFormat.PART_BYTES));
      if (in.size() <= PageFormat.PART_BYTES) {
        fill(in, buffer);
        return store.put(key, buffer.flip(), Precondition.NONE);
      }
      MultipartUpload upload = store.upload(key);
      try {
        for (int number = 1; in.position() < in.size(); number++) {
          fill(in, buffer.clear());
          upload.part(number, buffer.flip());
        }
        return upload.complete(Precondition.NONE);
      } catch (IOException | RuntimeException e) {
        try {
          upload.abort();
        } catch (IOException suppressed) {
          e.addSuppressed(suppressed);
        }
        throw e;
      }
    }
  }

  private static void fill(FileChannel in, ByteBuffer buffer) throws IOException {
    int read = 0;
    while (buffer.hasRemaining() && read >= 0) {
      read = in.read(buffer);
    }
  }

  /**
   * Downloads the object into a new file of mode 0600.
   *
   * @param size in bytes, as the manifest has it
   * @param sha256 in lower-case hexadecimal, as the manifest has it
   * @throws PageFormatException when the object is not that
   */
  public static void fetch(ObjectStore store, String key, long size, String sha256, Path file)
      throws IOException {
    MessageDigest digest = Digests.sha256();
    ByteBuffer buffer =
        ByteBuffer.allocate((int) Math.clamp(size, 1, (long) PageFormat.PART_BYTES));
    try (FileChannel out =
        FileChannel.open(
            file,
            Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")))) {
      long offset = 0;
      do {
        buffer.clear().limit((int) Math.clamp(size - offset, 1, (long) buffer.capacity()));
        ObjectStore.ObjectInfo object = store.get(key, offset, buffer);
        if (object.size() != size) {
          throw new PageFormatException(
              key, 0, "the object has " + object.size() + " bytes where " + size + " were stored");
        }
        buffer.flip();
        digest.update(buffer.duplicate());
        offset += buffer.remaining();
        while (buffer.hasRemaining()) {
          out.write(buffer);
        }
      } while (offset < size);
    }
    if (!Digests.hex(digest.digest()).equals(sha256)) {
      throw new PageFormatException(key, 0, "the SHA-256 is not the manifest's: it is damaged");
    }
  }
}
