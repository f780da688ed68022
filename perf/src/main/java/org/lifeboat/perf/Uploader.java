package org.lifeboat.perf;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreProvider;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.store.Transfer;

/**
 * What Lifeboat is compared with: its client and its parts, but files or a stream to upload.
 *
 * <pre>
 *  Uploader STORE_URL
 *    stdin:   files DIRECTORY PREFIX     uploads the regular files of a directory, at once
 *             stream FILE KEY            uploads what comes out of a FIFO until its end
 *    stdout:  ready; then a line for each: the bytes that were uploaded
 * </pre>
 */
public final class Uploader {

  private static final int PARALLEL = 8;

  private final ObjectStore store;

  private Uploader(ObjectStore store) {
    this.store = store;
  }

  /** Does what stdin says, until its end; see the class. */
  public static void main(String[] args)
      throws IOException, InterruptedException, ExecutionException {
    BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    try (ObjectStore store = StoreProvider.openUrl(StoreUrl.parse(args[0]), System.getenv())) {
      Uploader uploader = new Uploader(store);
      store.head("nothing"); // connects, as the engine has long done when a dump begins
      System.out.println("ready");
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        String[] words = line.split(" ", 3);
        System.out.println(
            switch (words[0]) {
              case "files" -> uploader.files(Path.of(words[1]), words[2]);
              case "stream" -> uploader.stream(Path.of(words[1]), words[2]);
              default -> throw new IllegalArgumentException(line);
            });
      }
    }
  }

  private long files(Path directory, String prefix)
      throws IOException, InterruptedException, ExecutionException {
    List<Path> files;
    try (Stream<Path> list = Files.list(directory)) {
      files = list.filter(Files::isRegularFile).toList();
    }
    Transfer transfer = new Transfer(store, PARALLEL);
    long bytes = 0;
    try (ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<Transfer.Stored>> puts = new ArrayList<>();
      for (Path file : files) {
        puts.add(
            executor.submit(
                () -> transfer.put(prefix + "/" + file.getFileName(), file, Precondition.NONE)));
      }
      for (Future<Transfer.Stored> put : puts) {
        bytes += put.get().info().size();
      }
    }
    return bytes;
  }

  private long stream(Path file, String key)
      throws IOException, InterruptedException, ExecutionException {
    MultipartUpload upload = store.upload(key);
    BlockingQueue<ByteBuffer> free = new ArrayBlockingQueue<>(PARALLEL);
    for (int i = 0; i < PARALLEL; i++) {
      free.add(ByteBuffer.allocateDirect(Transfer.PART));
    }
    try (FileChannel in = FileChannel.open(file, StandardOpenOption.READ);
        ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<?>> parts = new ArrayList<>();
      boolean more = true;
      while (more) {
        ByteBuffer buffer = free.take().clear();
        while (more && buffer.hasRemaining()) {
          more = in.read(buffer) >= 0;
        }
        int number = parts.size() + 1;
        if (buffer.flip().hasRemaining() || number == 1) {
          parts.add(
              executor.submit(
                  () -> {
                    try {
                      return upload.part(number, buffer);
                    } finally {
                      free.add(buffer);
                    }
                  }));
        }
      }
      for (Future<?> part : parts) {
        part.get();
      }
    }
    return upload.complete(Precondition.NONE).size();
  }
}
