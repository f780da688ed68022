package org.lifeboat.deploy;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.lifeboat.cli.Main;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.task.Stores;

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
        Map<String, String> settings =
            Map.of(
                "AWS_ENDPOINT_URL_S3", bucket.endpoint(),
                "AWS_ACCESS_KEY_ID", "training",
                "AWS_SECRET_ACCESS_KEY", "training",
                "AWS_REGION", "us-east-1");
        rehearse(folder, "s3", "s3://bucket/training", settings);
        start(folder.resolve("run-file"), folder.resolve("task").toUri().toString(), Map.of());
        start(folder.resolve("run-s3"), "s3://bucket/task", settings);
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

  /**
   * {@code lifeboat run}, to the end of its task. It may fail where it finds files that this user
   * may not read; then the start is slower than it could be, and that is said.
   */
  private static void start(Path folder, String url, Map<String, String> settings)
      throws IOException, InterruptedException {
    Path runDirectory = Files.createDirectory(folder);
    Path criu = folder.resolve("criu");
    Files.writeString(criu, "#!/bin/sh\necho Version: 4.2\n");
    Files.setPosixFilePermissions(criu, PosixFilePermissions.fromString("rwx------"));
    Map<String, String> environment = new HashMap<>(settings);
    environment.put("LIFEBOAT_RUN_DIR", runDirectory.toString());
    environment.put("LIFEBOAT_RUN_BASE", folder.resolve("base").toString());
    environment.put("LIFEBOAT_CACHE_LOCATION", folder.resolve("cache").toString());
    environment.put("LIFEBOAT_CRIU", criu.toString());
    Thread engine =
        Thread.ofPlatform()
            .unstarted(() -> Main.execute(environment, "run", "--store", url, "--", "true"));
    try (StandInInit init = new StandInInit(runDirectory, engine)) {
      engine.start();
      engine.join();
      if (!init.started()) {
        System.err.println("the run in " + url + " was not rehearsed: see above");
      }
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
    int code = Main.line().setOut(printer).setErr(printer).execute(command);
    if (code != exitCode) {
      throw new IllegalStateException(
          String.join(" ", command) + " ended with " + code + ", not " + exitCode + ":\n" + output);
    }
  }
}
