package org.lifeboat.fuse;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Device;
import org.lifeboat.vfs.Capability;
import org.lifeboat.vfs.Opened;

/** Processes of the tests: a server that can be killed, and a program that uses its mount. */
final class FuseProcess {

  private FuseProcess() {}

  /** The command of a JVM that runs a class of the tests. */
  static List<String> java(Class<?> main, String... arguments) {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-Xshare:auto",
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-XX:-UsePerfData",
                "-Xmx256m",
                "-cp",
                System.getProperty("java.class.path"),
                main.getName()));
    command.addAll(List.of(arguments));
    return command;
  }

  public static void main(String[] arguments) throws Exception {
    switch (arguments[0]) {
      case "mount", "takeOver" -> serve(arguments);
      case "load" -> load(Path.of(arguments[1]), Long.parseLong(arguments[2]));
      default -> throw new IllegalArgumentException(arguments[0]);
    }
  }

  /** Arguments: how, descriptor, directory, mount point, record, generation, passthrough or not. */
  private static void serve(String[] arguments) throws Exception {
    Device held = Device.adopt(Integer.parseInt(arguments[1]), FuseMount.DEVICE);
    BytePath directory = BytePath.of(arguments[2]);
    BytePath mountPoint = BytePath.of(arguments[3]);
    Path record = Path.of(arguments[4]);
    int generation = Integer.parseInt(arguments[5]);
    boolean passthrough = arguments[6].equals("passthrough");
    FuseServer server = new FuseServer();
    LoopbackOperations operations =
        new LoopbackOperations(
            directory,
            server.waits(),
            passthrough ? Set.of(Capability.PASSTHROUGH) : Set.of(),
            generation);
    operations.mode = passthrough ? Opened.Mode.PASSTHROUGH : Opened.Mode.KEEP_CACHE;
    Thread.ofPlatform()
        .daemon()
        .start(
            () -> {
              while (true) {
                operations.arrivals.acquireUninterruptibly();
                System.out.println("arrived");
              }
            });
    if (arguments[0].equals("mount")) {
      server.mount(held, mountPoint, "test", operations, Optional.of(record));
    } else {
      operations.permits.release(1000); // the first server never gets to the end of a slow read
      server.takeOver(held, record, operations);
    }
    System.out.println("serving " + ProcessHandle.current().pid());
    server.awaitEnd();
    System.out.println("ended " + server.gauges());
  }

  /** Uses files in a directory in all ways, until its standard input ends; says how far it is. */
  private static void load(Path dir, long seed) throws IOException {
    System.out.println("load of seed " + seed);
    Random random = new Random(seed);
    Path kept = dir.resolve("kept");
    byte[] model = new byte[200_000];
    long rounds = 0;
    try (FileChannel open =
        FileChannel.open(
            kept,
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.READ,
            StandardOpenOption.WRITE)) {
      open.write(ByteBuffer.wrap(model), 0);
      while (System.in.available() == 0) {
        int at = random.nextInt(190_000);
        byte[] bytes = new byte[1 + random.nextInt(10_000)];
        random.nextBytes(bytes);
        open.write(ByteBuffer.wrap(bytes), at);
        System.arraycopy(bytes, 0, model, at, bytes.length);
        try (FileChannel second = FileChannel.open(kept, StandardOpenOption.READ)) {
          ByteBuffer back = ByteBuffer.allocate(5000);
          int from = random.nextInt(190_000);
          second.read(back, from);
          check(Arrays.equals(back.array(), Arrays.copyOfRange(model, from, from + 5000)), "kept");
        }
        Path file = dir.resolve("f" + rounds % 7);
        Path renamed = dir.resolve("r" + rounds % 5);
        String text = "round " + rounds;
        Files.deleteIfExists(file);
        Files.write(file, text.getBytes(UTF_8), StandardOpenOption.CREATE_NEW);
        check(Files.readString(file).equals(text), "content");
        Files.move(file, renamed, StandardCopyOption.ATOMIC_MOVE);
        check(!Files.exists(file), "renamed away");
        check(Files.readString(renamed).equals(text), "content after rename");
        Path folder = dir.resolve("d" + rounds % 3);
        Files.createDirectory(folder);
        Files.createLink(folder.resolve("l"), renamed);
        Files.createSymbolicLink(folder.resolve("s"), renamed);
        check(Files.readString(folder.resolve("s")).equals(text), "through links");
        try (var names = Files.list(folder)) {
          check(names.count() == 2, "listing");
        }
        Files.delete(folder.resolve("l"));
        Files.delete(folder.resolve("s"));
        Files.delete(folder);
        if (++rounds % 20 == 0) {
          System.out.println("rounds " + rounds);
        }
      }
      ByteBuffer all = ByteBuffer.allocate(model.length);
      open.read(all, 0);
      check(Arrays.equals(all.array(), model), "all of kept");
      open.force(false);
    }
    System.out.println("done after " + rounds + " rounds");
  }

  private static void check(boolean right, String what) {
    if (!right) {
      throw new IllegalStateException("wrong: " + what);
    }
  }
}
