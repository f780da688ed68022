package org.lifeboat.deploy;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import org.lifeboat.cli.Main;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreProvider;
import org.lifeboat.store.StoreUrl;
import org.slf4j.LoggerFactory;
import picocli.CommandLine;

/**
 * What the build runs once to make the AOT cache: the JVM remembers the classes that are loaded
 * here and starts with them. So this walks through what the commands do at their start, in one JVM
 * (a cache is made from one run), on a machine that may have neither root nor CRIU nor a network;
 * of what it cannot reach, the engine's own classes are at least loaded. It is part of the
 * distribution because the class path of a run must begin with that of the training.
 */
public final class Training {

  private Training() {}

  /** Takes no arguments; ends with an exception when something does not do what it should. */
  public static void main(String[] args) throws IOException, ReflectiveOperationException {
    LoggerFactory.getLogger(Training.class).info("{} methods of our own", loadOwnClasses());
    commands();
    stores();
  }

  private static void commands() throws IOException {
    Path store = Files.createTempDirectory("lifeboat-training-");
    String url = store.toUri().toString();
    try {
      expect(0, "--version");
      expect(0, "--help");
      expect(0, "run", "--help");
      expect(2, "run");
      expect(0, "list", "--store", url);
      expect(0, "list", "--store", url, "--json");
    } finally {
      Files.delete(store);
    }
  }

  private static void expect(int exitCode, String... command) {
    StringWriter output = new StringWriter();
    PrintWriter printer = new PrintWriter(output);
    int code = new CommandLine(new Main()).setOut(printer).setErr(printer).execute(command);
    if (code != exitCode) {
      throw new IllegalStateException(
          String.join(" ", command) + " ended with " + code + ", not " + exitCode + ":\n" + output);
    }
  }

  private static void stores() throws IOException {
    Path folder = Files.createTempDirectory("lifeboat-training-");
    try (EmptyS3 server = new EmptyS3()) {
      use(folder.toUri().toString(), Map.of());
      use(
          "s3://training/run",
          Map.of(
              "AWS_ENDPOINT_URL_S3",
              server.endpoint(),
              "AWS_REGION",
              "us-east-1",
              "AWS_ACCESS_KEY_ID",
              "training",
              "AWS_SECRET_ACCESS_KEY",
              "training"));
    } finally {
      for (Path path : walk(folder).reversed()) {
        Files.delete(path);
      }
    }
  }

  private static void use(String url, Map<String, String> environment) throws StoreException {
    try (ObjectStore store = StoreProvider.openUrl(StoreUrl.parse(url), environment)) {
      if (store.head("absent").isPresent()) {
        throw new IllegalStateException(url + " is not empty");
      }
      try {
        store.get("absent", 0, ByteBuffer.allocate(1));
        throw new IllegalStateException(url + " is not empty");
      } catch (StoreException e) {
        if (e.kind() != StoreException.Kind.NOT_FOUND) {
          throw e;
        }
      }
      store.put("small", ByteBuffer.wrap(new byte[1]), Precondition.ABSENT);
      store.list("", "");
      MultipartUpload upload = store.upload("large");
      upload.part(1, ByteBuffer.allocateDirect(1));
      upload.complete(Precondition.NONE);
      store.delete("small");
    }
  }

  private static List<Path> walk(Path folder) throws IOException {
    try (var paths = Files.walk(folder)) {
      return paths.toList();
    }
  }

  /** Loads and links, but does not initialise, the classes of Lifeboat's jars. */
  private static int loadOwnClasses() throws IOException, ClassNotFoundException {
    int methods = 0;
    Path lib = Path.of(System.getProperty("java.library.path")).toAbsolutePath().getParent();
    try (var jars = Files.newDirectoryStream(lib, "lifeboat-*.jar")) {
      for (Path path : jars) {
        try (JarFile jar = new JarFile(path.toFile())) {
          for (JarEntry entry : jar.stream().toList()) {
            String name = entry.getName();
            if (name.endsWith(".class") && !name.endsWith("-info.class")) {
              String type = name.substring(0, name.length() - 6).replace('/', '.');
              Class<?> loaded = Class.forName(type, false, Training.class.getClassLoader());
              methods += loaded.getDeclaredMethods().length; // asking for them links the class
            }
          }
        }
      }
    }
    return methods;
  }
}
