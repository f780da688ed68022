package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.Transfer;

/**
 * Sends CRIU's images while the last pages are still on their way, and takes their digests with the
 * same reading. In the hook they are complete, and a final dump has nothing to wait for before it
 * sends them: behind the pages they would be one more round of requests with the task frozen.
 *
 * <p>Whatever of them is in the store when the dump fails is removed with its other objects. Not
 * thread-safe.
 */
final class EarlyImages implements AutoCloseable {

  private final ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor();
  private final Map<String, Future<Transfer.Stored>> puts = new LinkedHashMap<>();

  private EarlyImages() {}

  /**
   * Begins to send.
   *
   * @param images the folder of the images, which don't change any more
   * @param transfer bounds how many are under way
   */
  static EarlyImages begin(Transfer transfer, int id, Path images) throws IOException {
    EarlyImages early = new EarlyImages();
    for (Path file : SealedDump.imageFiles(images)) {
      String name = file.getFileName().toString();
      early.puts.put(
          name,
          early.executor.submit(
              () -> transfer.put(Layout.image(id, name), file, Precondition.NONE)));
    }
    return early;
  }

  /** Waits until all are in the store. */
  Map<String, Manifest.Item> items() throws IOException, InterruptedException {
    Map<String, Manifest.Item> items = new LinkedHashMap<>();
    for (Map.Entry<String, Future<Transfer.Stored>> put : puts.entrySet()) {
      try {
        Transfer.Stored stored = put.getValue().get();
        items.put(put.getKey(), new Manifest.Item(stored.info().size(), stored.sha256()));
      } catch (ExecutionException e) {
        if (e.getCause() instanceof IOException cause) {
          throw cause;
        }
        throw new IllegalStateException(e.getCause());
      }
    }
    return items;
  }

  /** Ends what is under way, and waits for that. */
  @Override
  public void close() {
    executor.shutdownNow();
    executor.close();
  }
}
