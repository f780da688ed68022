package org.lifeboat.criu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class CriuTest {

  @TempDir private Path folder;

  private Path program(String place, String version) throws IOException {
    Path program = folder.resolve(place);
    Files.createDirectories(program.getParent());
    Files.writeString(program, "#!/bin/sh\necho '" + version + "'\n");
    Files.setPosixFilePermissions(program, PosixFilePermissions.fromString("rwxr-xr-x"));
    return program;
  }

  @ParameterizedTest
  @CsvSource({"4.2,4.2", "4.2.1,4.2.1", "4.10,4.10", "5.0,5.0", "12.34.5,12.34.5"})
  void takesVersionsFromTheLeastOn(String printed, String version) throws IOException {
    Path program = program("criu", "Version: " + printed);
    Criu criu = Criu.find(Map.of("LIFEBOAT_CRIU", program.toString()));
    assertEquals(version, criu.version());
    assertEquals(program, criu.program());
  }

  @ParameterizedTest
  @ValueSource(strings = {"4.1", "4.1.9", "3.17.1", "0.9"})
  void refusesOlderOnes(String printed) throws IOException {
    Path program = program("criu", "Version: " + printed);
    CriuException e =
        assertThrows(
            CriuException.class, () -> Criu.find(Map.of("LIFEBOAT_CRIU", program.toString())));
    assertTrue(e.getMessage().contains(printed) && e.getMessage().contains("4.2"), e::getMessage);
  }

  @Test
  void refusesWhatIsNoCriu() throws IOException {
    Path program = program("criu", "hello");
    assertTrue(
        assertThrows(
                CriuException.class, () -> Criu.find(Map.of("LIFEBOAT_CRIU", program.toString())))
            .getMessage()
            .contains("printed no version: hello"));
    assertTrue(
        assertThrows(CriuException.class, () -> Criu.find(Map.of("LIFEBOAT_CRIU", "/no/criu")))
            .getMessage()
            .contains("/no/criu"));
  }

  @Test
  void looksBesideTheDistributionAndThenOnPath() throws IOException {
    Path path = program("bin/criu", "Version: 4.2");
    assertEquals(path, Criu.find(Map.of("PATH", "/nowhere:" + path.getParent())).program());
    Path home = program("home/criu/bin/criu", "Version: 4.2");
    Map<String, String> both =
        Map.of("PATH", path.getParent().toString(), "LIFEBOAT_HOME", folder.resolve("home") + "");
    assertEquals(home, Criu.find(both).program());
  }

  @Test
  void itsCommandsCarryWhatAPlainOneLacks() throws IOException {
    Criu criu = Criu.find(Map.of("LIFEBOAT_CRIU", program("criu", "Version: 4.2") + ""));
    Path images = Path.of("/i");
    List<String> dump = criu.dump(77, images, Path.of("/l"), Path.of("/h"), false);
    assertEquals(List.of(criu.program().toString(), "dump"), dump.subList(0, 2));
    assertEquals("77", dump.get(dump.indexOf("-t") + 1));
    assertEquals("9", dump.get(dump.indexOf("--ps-socket") + 1));
    assertEquals("/h", dump.get(dump.indexOf("--action-script") + 1));
    assertTrue(dump.contains("--tcp-established"));
    assertFalse(dump.contains("--leave-running"));
    assertTrue(
        criu.dump(77, images, Path.of("/l"), Path.of("/h"), true).contains("--leave-running"));
    List<String> restore = criu.restore(images, Path.of("/l"), Path.of("/h"), 11, 22, false, false);
    assertEquals("restore", restore.get(1));
    assertTrue(restore.contains("fd[10]:pipe:[11]") && restore.contains("fd[11]:pipe:[22]"));
    assertTrue(restore.contains("--restore-sibling") && restore.contains("--tcp-established"));
    List<String> closed = criu.restore(images, Path.of("/l"), Path.of("/h"), 11, 22, true, true);
    assertTrue(closed.contains("--tcp-close") && !closed.contains("--tcp-established"));
    assertTrue(closed.contains("--auto-dedup") && !restore.contains("--auto-dedup"));
    for (List<String> command : List.of(dump, restore)) {
      assertEquals(1, Collections.frequency(command, "-v3"), "below it no success line is written");
      assertTrue(command.contains("--no-default-config"));
    }
  }
}
