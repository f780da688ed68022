package org.lifeboat.snapshot;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreException;

/**
 * Fetches whole packs, part by part and in parallel, and takes no part whose digest is not the
 * manifest's.
 */
final class PackFetch {

  private static final int PARALLEL = 8;

  private final ObjectStore store;
  private final int parallel;

  PackFetch(ObjectStore store) {
    this(store, PARALLEL);
  }

  /**
   * @param parallel parts under way, and in memory
   */
  PackFetch(ObjectStore store, int parallel) {
    this.store = store;
    this.parallel = parallel;
  }

  /**
   * Fetches a pack into a new file, or only checks it.
   *
   * @param file null to check only
   * @throws SnapshotException of kind DAMAGED when a part is missing or another one
   */
  void fetch(Manifest.Pack pack, Path file) throws IOException, InterruptedException {
    long parts = pack.partSize() <= 0 ? -1 : (pack.size() + pack.partSize() - 1) / pack.partSize();
    if (pack.size() <= 0 || pack.partSize() > 64 << 20 || parts != pack.parts().size()) {
      throw SnapshotException.damaged(store.url().of(pack.key()), "its description is malformed");
    }
    BlockingQueue<ByteBuffer> buffers = new ArrayBlockingQueue<>(parallel);
    List<Future<Void>> fetches = new ArrayList<>();
    try (Arena arena = Arena.ofShared();
        FileChannel out =
            file == null
                ? null
                : FileChannel.open(
                    file,
                    Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE),
                    PosixFilePermissions.asFileAttribute(
                        PosixFilePermissions.fromString("rw-------")));
        ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int i = 0; i < Math.min(parallel, parts); i++) {
        buffers.add(arena.allocate(Math.min(pack.partSize(), pack.size()), 4096).asByteBuffer());
      }
      for (int part = 0; part < parts; part++) {
        int number = part;
        fetches.add(
            executor.submit(
                () -> {
                  ByteBuffer buffer = buffers.take();
                  try {
                    part(pack, number, buffer, out);
                  } finally {
                    buffers.add(buffer);
                  }
                  return null;
                }));
      }
      for (Future<Void> fetch : fetches) {
        try {
          fetch.get();
        } catch (ExecutionException e) {
          executor.shutdownNow();
          if (e.getCause() instanceof IOException cause) {
            throw cause;
          }
          throw new IllegalStateException(e.getCause());
        }
      }
    }
  }

  private void part(Manifest.Pack pack, int number, ByteBuffer buffer, FileChannel out)
      throws IOException {
    long offset = (long) number * pack.partSize();
    buffer.clear().limit((int) Math.min(pack.partSize(), pack.size() - offset));
    ObjectStore.ObjectInfo info;
    try {
      info = store.get(pack.key(), offset, buffer);
    } catch (StoreException e) {
      if (e.kind() == StoreException.Kind.NOT_FOUND
          || e.kind() == StoreException.Kind.INVALID
          || e.kind() == StoreException.Kind.CORRUPT) {
        throw new SnapshotException(SnapshotException.Kind.DAMAGED, e.getMessage(), "", e);
      }
      throw e;
    }
    buffer.flip();
    MessageDigest digest = SealedJson.digest();
    digest.update(buffer.duplicate());
    if (info.size() != pack.size()
        || !HexFormat.of().formatHex(digest.digest()).equals(pack.parts().get(number))) {
      throw SnapshotException.damaged(
          store.url().of(pack.key()), "part " + (number + 1) + " is not what was stored");
    }
    long at = offset;
    while (out != null && buffer.hasRemaining()) {
      at += out.write(buffer, at);
    }
  }
}
