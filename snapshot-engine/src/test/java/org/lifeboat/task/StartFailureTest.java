package org.lifeboat.task;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class StartFailureTest {

  @TempDir private Path folder;

  @ParameterizedTest
  @CsvSource({
    "nosuch, 2, 127, nosuch: command not found",
    "./nosuch, 2, 127, is the path right",
    "./file, 2, 127, interpreter",
    "./file, 13, 126, Permission denied",
    "./folder, 13, 126, is a directory",
    "file/x, 20, 126, no directory",
    "./file, 8, 126, architecture",
    "./file, 7, 126, too long",
    "./file, 12, 125, memory",
    "./file, 5, 126, words"
  })
  void saysWhatAShellSays(String command, int errno, int code, String part) throws IOException {
    Files.writeString(folder.resolve("file"), "x");
    Files.createDirectory(folder.resolve("folder"));
    StartFailure failure = StartFailure.of(command, folder, errno, "words");
    assertEquals(code, failure.code(), failure::message);
    assertTrue(failure.message().startsWith(command), failure::message);
    assertTrue(failure.message().contains(part), failure::message);
  }

  @Test
  void aFolderThatIsGoneIsNotTheCommandsFault() {
    StartFailure failure = StartFailure.of("true", folder.resolve("gone"), 2, "words");
    assertEquals(125, failure.code());
    assertTrue(failure.message().contains("gone"), failure::message);
  }
}
