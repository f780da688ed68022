package org.lifeboat.deploy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * The programs that the tests need, and a look into /proc that does not mind processes which end
 * meanwhile.
 */
final class Tools {

  private Tools() {}

  static Path criu() {
    return tool("LIFEBOAT_CRIU", "../criu/bin/criu");
  }

  static Path versitygw() {
    return tool("LIFEBOAT_VERSITYGW", "versitygw-*");
  }

  static Path minio() {
    return tool("LIFEBOAT_MINIO", "minio-*");
  }

  static Path redis() {
    return tool("LIFEBOAT_REDIS", "redis-server");
  }

  /** What deploy/setup has put into its cache, unless the environment names another. */
  private static Path tool(String variable, String name) {
    String named = System.getenv(variable);
    if (named != null && !named.isEmpty()) {
      return Path.of(named);
    }
    String cache = System.getenv("XDG_CACHE_HOME");
    Path folder =
        (cache == null || cache.isEmpty()
                ? Path.of(System.getProperty("user.home"), ".cache")
                : Path.of(cache))
            .resolve("lifeboat/bin");
    if (!name.contains("*")) {
      Path path = folder.resolve(name).normalize();
      if (Files.isExecutable(path)) {
        return path;
      }
    } else {
      try (var found = Files.newDirectoryStream(folder, name)) {
        for (Path path : found) {
          return path;
        }
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
    throw new AssertionError(
        "there is no " + name + " in " + folder + ": run deploy/setup test, or set " + variable);
  }

  static List<Path> processes() throws IOException {
    try (Stream<Path> all = Files.list(Path.of("/proc"))) {
      return all.filter(path -> path.getFileName().toString().matches("\\d+")).toList();
    }
  }

  /** Empty when it has gone. */
  static String read(Path file) {
    try {
      return new String(Files.readAllBytes(file), java.nio.charset.StandardCharsets.ISO_8859_1);
    } catch (IOException e) {
      return "";
    }
  }

  /** Empty when it has gone. */
  static String link(Path file) {
    try {
      return Files.readSymbolicLink(file).toString();
    } catch (IOException e) {
      return "";
    }
  }
}
