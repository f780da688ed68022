package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The distribution as it is installed: its launcher, and the AOT cache that it starts with. */
final class DistributionIT {

  private static final Path HOME = Path.of(System.getProperty("lifeboat.home"));
  private static final String LIFEBOAT = HOME.resolve("bin/lifeboat").toString();
  private static final Map<String, String> PATH = Map.of("PATH", System.getenv("PATH"));
  private static final String VERSION = "lifeboat 0.1.0\n";

  @TempDir private Path folder;

  private record Ended(int code, String out, String err) {}

  private Ended run(Map<String, String> environment, String... command)
      throws IOException, InterruptedException {
    Path out = folder.resolve("out");
    Path err = folder.resolve("err");
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(folder.toFile())
            .redirectOutput(out.toFile())
            .redirectError(err.toFile());
    builder.environment().clear();
    builder.environment().putAll(PATH);
    builder.environment().putAll(environment);
    int code = builder.start().waitFor();
    return new Ended(code, Files.readString(out), Files.readString(err));
  }

  @Test
  void theAotCacheIsUsed() throws Exception {
    assertEquals(
        new Ended(0, VERSION, ""),
        run(Map.of("LIFEBOAT_JAVA_OPTIONS", "-XX:AOTMode=on"), LIFEBOAT, "--version"));
    // with another heap layout it can't be, so that the line above does tell
    assertNotEquals(
        0,
        run(
                Map.of("LIFEBOAT_JAVA_OPTIONS", "-XX:AOTMode=on -XX:-UseCompressedOops"),
                LIFEBOAT,
                "--version")
            .code());
  }

  @Test
  void anAotCacheThatDoesNotFitOnlyCostsTime() throws Exception {
    assertEquals(
        new Ended(0, VERSION, ""),
        run(Map.of("LIFEBOAT_JAVA_OPTIONS", "-XX:-UseCompressedOops"), LIFEBOAT, "--version"));
  }

  @Test
  void itMayBeMoved() throws Exception {
    Path moved = folder.resolve("moved here");
    assertEquals(0, run(Map.of(), "cp", "-a", HOME.toString(), moved.toString()).code());
    assertEquals(
        new Ended(0, VERSION, ""),
        run(
            Map.of("LIFEBOAT_JAVA_OPTIONS", "-XX:AOTMode=on"),
            moved.resolve("bin/lifeboat").toString(),
            "--version"));
  }

  @Test
  void itStartsThroughLinks() throws Exception {
    Path links = Files.createDirectory(folder.resolve("a folder"));
    Files.createSymbolicLink(links.resolve("first"), Path.of(LIFEBOAT));
    Files.createSymbolicLink(links.resolve("second"), Path.of("first"));
    Files.createSymbolicLink(folder.resolve("third"), Path.of("a folder/second"));
    assertEquals(new Ended(0, VERSION, ""), run(Map.of(), "./third", "--version"));
    assertEquals(
        new Ended(0, VERSION, ""),
        run(Map.of("PATH", links + ":" + PATH.get("PATH")), "sh", "-c", "second --version"));
  }

  @Test
  void variablesForTheTaskDoNotReachTheEngine() throws Exception {
    assertEquals(new Ended(0, VERSION, ""), run(hostile(), LIFEBOAT, "--version"));
  }

  @Test
  void theTaskHasItsEnvironment() throws Exception {
    Map<String, String> given = new TreeMap<>(hostile());
    given.put("LIFEBOAT_CACHE_LOCATION", folder.resolve("cache").toString());
    given.put("BASH_FUNC_f%%", "() { echo; }");
    given.put("A_LINE\u00e4", "of two\nlines, 'quotes' \"$HOME\" \\");
    Ended with = run(given, LIFEBOAT, "run", "--store", store(), "--", "/usr/bin/env", "-0");
    assertEquals(0, with.code(), with.err());
    Ended without = run(given, "/usr/bin/env", "-0");
    assertEquals(sorted(without.out()), sorted(with.out()));
  }

  private static Map<String, String> hostile() {
    return Map.of(
        "JAVA_TOOL_OPTIONS", "-XX:NoSuchOption",
        "_JAVA_OPTIONS", "-XX:NoSuchOption=\"1 2\"",
        "JDK_JAVA_OPTIONS", "-XX:NoSuchOption",
        "CLASSPATH", "/nowhere",
        "LD_LIBRARY_PATH", "",
        "LC_ALL", "C");
  }

  private String store() {
    return folder.resolve("store").toUri().toString();
  }

  private static List<String> sorted(String variables) {
    return Stream.of(variables.split("\0")).sorted().toList();
  }

  @Test
  void argumentsArriveAsTheyAre() throws Exception {
    List<String> command = new ArrayList<>(List.of(LIFEBOAT, "run", "--store", store(), "--"));
    List<String> arguments = List.of("a b", "", "*", "--help", "-h", "\u00e4\n", "$HOME", "@x");
    command.addAll(List.of("/usr/bin/printf", "<%s>"));
    command.addAll(arguments);
    Ended ended =
        run(
            Map.of("LIFEBOAT_CACHE_LOCATION", folder.resolve("cache").toString()),
            command.toArray(String[]::new));
    assertEquals(0, ended.code(), ended.err());
    assertEquals("<" + String.join("><", arguments) + ">", ended.out());
  }

  @Test
  void runWithoutRootIsOneLine() throws Exception {
    Ended ended =
        run(Map.of(), "unshare", "--user", LIFEBOAT, "run", "--store", store(), "--", "true");
    assertEquals(125, ended.code(), ended.err());
    assertEquals(1, ended.err().lines().count(), ended.err());
    assertTrue(ended.err().contains("root"), ended.err());
  }

  @Test
  void helpNeedsNeitherRootNorInit() throws Exception {
    Ended ended = run(Map.of(), "unshare", "--user", LIFEBOAT, "run", "--help");
    assertEquals(0, ended.code(), ended.err());
    assertTrue(ended.out().contains("--every"), ended.out());
  }

  @Test
  void aFolderWithAColonIsRefusedInWords() throws Exception {
    Path moved = Files.createDirectories(folder.resolve("a:b/bin")).resolve("lifeboat");
    Files.copy(Path.of(LIFEBOAT), moved);
    assertTrue(moved.toFile().setExecutable(true));
    Ended ended = run(Map.of(), moved.toString(), "--version");
    assertEquals(125, ended.code(), ended.err());
    assertTrue(ended.err().contains("colon"), ended.err());
  }
}
