package org.lifeboat.store;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The other process of {@link FileStoreTest}. */
final class FileStoreProcess {

  private FileStoreProcess() {}

  /**
   * Starts it.
   *
   * @param before a command that runs the rest of its line, such as unshare; may be empty
   */
  static ProcessBuilder command(List<String> before, String... arguments) {
    List<String> command = new ArrayList<>(before);
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "-Xshare:auto",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            System.getProperty("java.class.path"),
            FileStoreProcess.class.getName()));
    command.addAll(List.of(arguments));
    return new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT);
  }

  public static void main(String[] arguments) throws Exception {
    FileStore store = new FileStore(StoreUrl.parse("file://" + arguments[1]));
    switch (arguments[0]) {
      case "count" -> count(store, arguments[2], Integer.parseInt(arguments[3]));
      case "write" -> write(store);
      case "put" -> put(store, Integer.parseInt(arguments[2]));
      default -> throw new IllegalArgumentException(arguments[0]);
    }
  }

  /** Adds to a counter by conditional writes only. */
  private static void count(FileStore store, String key, int times) throws Exception {
    System.out.println("ready");
    System.in.read();
    for (int done = 0; done < times; ) {
      Blob blob = Blob.read(store, key, 100).orElseThrow();
      byte[] next = Long.toString(Long.parseLong(blob.text()) + 1).getBytes(UTF_8);
      try {
        store.put(key, ByteBuffer.wrap(next), Precondition.matches(blob.version()));
        done++;
      } catch (StoreException e) {
        if (e.kind() != StoreException.Kind.PRECONDITION_FAILED) {
          throw e;
        }
      }
    }
  }

  /** Writes objects and parts until it is killed. */
  private static void write(FileStore store) throws Exception {
    MultipartUpload upload = store.upload("upload");
    System.out.println(upload.id());
    ByteBuffer body = ByteBuffer.allocateDirect(FileUpload.MIN_PART);
    for (int i = 1; ; i++) {
      byte value = (byte) i;
      for (int at = 0; at < body.capacity(); at++) {
        body.put(at, value);
      }
      store.put("object", body, Precondition.NONE);
      upload.part(1 + i % 3, body);
      System.out.println("round " + i);
    }
  }

  /** Says what comes of one put. */
  private static void put(FileStore store, int bytes) {
    try {
      store.put("a", ByteBuffer.allocate(bytes), Precondition.NONE);
      System.out.println("done");
    } catch (StoreException e) {
      System.out.println(e.kind() + " " + e.getMessage());
    }
  }
}
