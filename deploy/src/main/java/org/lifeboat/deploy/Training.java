package org.lifeboat.deploy;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.lifeboat.cli.Main;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.task.Stores;
import picocli.CommandLine;

/**
 * What the build runs once to make the AOT cache: the JVM remembers the classes that are loaded
 * here, and how their code behaved, and starts with that. So this walks through what every command
 * does at its start and through a dump and a restore with each kind of store, in one JVM (a cache
 * is made from one run), on a machine that may have neither root nor CRIU. It is part of the
 * distribution because the class path of a run must begin with that of the training.
 */
public final class Training {

  private Training() {}

  /** Takes no arguments; ends with an exception when a command does not do what it should. */
  public static void main(String[] args) throws IOException, InterruptedException {
    Path folder = Files.createTempDirectory("lifeboat-training-");
    String url = Files.createDirectory(folder.resolve("empty")).toUri().toString();
    try {
      expect(0, "--version");
      expect(0, "--help");
      expect(0, "run", "--help");
      expect(2, "run");
      expect(0, "list", "--store", url);
      expect(0, "list", "--store", url, "--json");
      try (Bucket bucket = new Bucket()) {
        Path store = Files.createDirectory(folder.resolve("store"));
        rehearse(folder, "file", store.toUri().toString(), Map.of());
        rehearse(
            folder,
            "s3",
            "s3://bucket/training",
            Map.of(
                "AWS_ENDPOINT_URL_S3", bucket.endpoint(),
                "AWS_ACCESS_KEY_ID", "training",
                "AWS_SECRET_ACCESS_KEY", "training",
                "AWS_REGION", "us-east-1"));
      }
    } finally {
      delete(folder);
    }
  }

  private static void rehearse(
      Path folder, String name, String url, Map<String, String> environment)
      throws IOException, InterruptedException {
    try (ObjectStore store = Stores.open(StoreUrl.parse(url), environment)) {
      new Rehearsal(Files.createDirectory(folder.resolve(name)), store).run();
    }
  }

  private static void delete(Path folder) throws IOException {
    List<Path> all;
    try (Stream<Path> found = Files.walk(folder)) {
      all = found.toList().reversed();
    }
    for (Path path : all) {
      Files.delete(path);
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
}
