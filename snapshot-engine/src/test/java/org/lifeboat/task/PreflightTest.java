package org.lifeboat.task;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class PreflightTest {

  @TempDir private Path folder;

  private Optional<Preflight.Problem> problem(String name, String value) {
    Map<String, String> environment = new HashMap<>();
    environment.put("LIFEBOAT_CACHE_LOCATION", folder.resolve("a/b").toString());
    environment.put(name, value);
    return Preflight.problem(environment);
  }

  @ParameterizedTest
  @CsvSource({"LIFEBOAT_POOL_SIZE,lots", "LIFEBOAT_LOG_LEVEL,loud"})
  void aSettingThatIsWrongIsNamed(String name, String value) {
    Preflight.Problem problem = problem(name, value).orElseThrow();
    assertEquals(ExitCodes.USAGE, problem.code());
    assertTrue(problem.message().startsWith(name + ": "), problem::message);
    assertTrue(problem.message().contains(value), problem::message);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "INFO", "debug", "Warn", "error"})
  void levelsAreTakenInAnyCase(String level) {
    assertEquals(Optional.empty(), problem("LIFEBOAT_LOG_LEVEL", level));
    assertTrue(Files.isDirectory(folder.resolve("a/b")));
  }

  @ParameterizedTest
  @CsvSource({"256,256,true", "256,1023,true", "256,1024,false", "1024,unlimited,false"})
  void fewOpenFilesAreNamed(String soft, String hard, boolean few) throws IOException {
    String lines =
        """
        Limit                     Soft Limit           Hard Limit           Units
        Max processes             96151                96151                processes
        Max open files            %-20s %-20s files
        """
            .formatted(soft, hard);
    Path limits = Files.writeString(folder.resolve("limits"), lines);
    assertEquals(few, Preflight.openFiles(limits).filter(m -> m.contains(hard)).isPresent());
    assertEquals(Optional.empty(), Preflight.openFiles(folder.resolve("none")));
  }

  @Test
  void aCacheThatIsAFileIsNamed() throws IOException {
    Path file = Files.writeString(folder.resolve("file"), "x");
    for (Path path : new Path[] {file, file.resolve("below")}) {
      Preflight.Problem problem = problem("LIFEBOAT_CACHE_LOCATION", path.toString()).orElseThrow();
      assertEquals(ExitCodes.HOST, problem.code());
      assertTrue(
          problem.message().contains(path.toString())
              && problem.message().endsWith(" (LIFEBOAT_CACHE_LOCATION names another)"),
          problem::message);
    }
  }

  @Test
  void reasonsAreWords() {
    assertEquals("there is no /x", Preflight.reason(new NoSuchFileException("/x")));
    assertEquals("/x is in the way", Preflight.reason(new FileAlreadyExistsException("/x")));
    assertEquals("no permission for /x", Preflight.reason(new AccessDeniedException("/x")));
    assertEquals("Is full", Preflight.reason(new FileSystemException("/x", null, "Is full")));
    assertEquals("it broke", Preflight.reason(new IOException("it broke")));
    assertEquals("java.io.IOException", Preflight.reason(new IOException()));
  }
}
