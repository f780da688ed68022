package org.lifeboat.task;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreUrl;

/** Durations, sizes, signals, and what the environment sets. */
final class SettingsTest {

  @ParameterizedTest
  @CsvSource({
    "90,90000",
    "1.5,1500",
    "90s,90000",
    "5m,300000",
    "1h30m,5400000",
    "1.5h,5400000",
    "500ms,500",
    "1m500ms,60500",
    "2d,172800000",
    "' 5m ',300000",
    "3650d,315360000000",
  })
  void readsDurations(String text, long millis) {
    assertEquals(Duration.ofMillis(millis), Durations.parse(text));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "0",
        "0s",
        "-5m",
        "5x",
        "m5",
        "5 m",
        "1e3",
        "3651d",
        "5m junk",
        "99999999999999999999h",
        "NaN",
        "0.0001s"
      })
  void refusesWhatIsNoDuration(String text) {
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> Durations.parse(text));
    assertTrue(e.getMessage().contains("duration"), e.getMessage());
  }

  @ParameterizedTest
  @CsvSource({"0,0 ms", "340,340 ms", "12345,12.3 s", "245000,4 min 5 s", "5400000,1 h 30 min"})
  void showsDurations(long millis, String text) {
    assertEquals(text, Durations.show(Duration.ofMillis(millis)));
  }

  @ParameterizedTest
  @CsvSource({
    "0,0 B",
    "1023,1023 B",
    "1024,1.0 KiB",
    "1536,1.5 KiB",
    "12884901888,12.0 GiB",
    "9223372036854775807,8192.0 PiB"
  })
  void showsSizes(long bytes, String text) {
    assertEquals(text, Sizes.show(bytes));
  }

  @ParameterizedTest
  @CsvSource({
    "0,0",
    "7,7",
    "7b,7",
    "256m,268435456",
    "1GiB,1073741824",
    "1 g,1073741824",
    "2K,2048",
    "3kb,3072",
    "1MB,1048576"
  })
  void readsSizes(String text, long bytes) {
    assertEquals(bytes, Sizes.parse(text));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "m", "-1", "1t", "1.5g", "99999999999999", "999999999999g", "1 2"})
  void refusesWhatIsNoSize(String text) {
    assertTrue(
        assertThrows(IllegalArgumentException.class, () -> Sizes.parse(text))
            .getMessage()
            .contains("size"));
  }

  @ParameterizedTest
  @CsvSource({"HUP,1", "INT,2", "QUIT,3", "USR1,10", "USR2,12", "TERM,15"})
  void knowsSignals(String name, int number) {
    assertEquals(number, Signals.number(name));
  }

  @Test
  void findsTheCache() {
    assertEquals(Path.of("/var/cache/lifeboat"), Stores.cache(Map.of()));
    assertEquals(Path.of("/a"), Stores.cache(Map.of("FUSION_CACHE_LOCATION", "/a")));
    assertEquals(
        Path.of("/b"),
        Stores.cache(Map.of("FUSION_CACHE_LOCATION", "/a", "LIFEBOAT_CACHE_LOCATION", "/b")));
    assertEquals(
        Path.of("/a"),
        Stores.cache(Map.of("FUSION_CACHE_LOCATION", "/a", "LIFEBOAT_CACHE_LOCATION", "")));
    assertTrue(Stores.cache(Map.of("LIFEBOAT_CACHE_LOCATION", "c")).isAbsolute());
  }

  @Test
  void boundsTheMemory() {
    assertEquals(256L << 20, Stores.memory(Map.of()));
    assertEquals(1L << 30, Stores.memory(Map.of("LIFEBOAT_POOL_SIZE", "1g")));
    assertEquals(64L << 20, Stores.memory(Map.of("LIFEBOAT_POOL_SIZE", "1")));
    assertThrows(
        IllegalArgumentException.class, () -> Stores.memory(Map.of("LIFEBOAT_POOL_SIZE", "lots")));
  }

  @Test
  void anUnknownBackendIsNamed() {
    StoreException e =
        assertThrows(
            StoreException.class, () -> Stores.open(new StoreUrl("ftp", "host", "path"), Map.of()));
    assertTrue(e.getMessage().contains("ftp"), e.getMessage());
  }

  // ---- the task's environment

  @Test
  void theTaskGetsTheUsersOwn() {
    assertEquals(
        Map.of("HOME", "/root", "LD_LIBRARY_PATH", "/mine", "EMPTY", ""),
        TaskEnvironment.of(
            Map.of(
                "HOME",
                "/root",
                "EMPTY",
                "",
                "LIFEBOAT_RUN_DIR",
                "/run/x",
                "LIFEBOAT_HOME",
                "/opt/lifeboat",
                "LD_LIBRARY_PATH",
                "/ours",
                "LIFEBOAT_TASK_LD_LIBRARY_PATH",
                "/mine",
                "JAVA_TOOL_OPTIONS",
                "ours",
                "LIFEBOAT_TASK_JAVA_TOOL_OPTIONS",
                "unset")));
  }

  @Test
  void settingsForUsGoOnToTheTask() {
    assertEquals(
        Map.of("LIFEBOAT_LOG_LEVEL", "debug"),
        TaskEnvironment.of(Map.of("LIFEBOAT_LOG_LEVEL", "debug")));
  }

  @Test
  void whatTheUserHadOfOurNamesIsKept() {
    assertEquals(
        Map.of("LIFEBOAT_HOME", "/theirs"),
        TaskEnvironment.of(
            Map.of("LIFEBOAT_HOME", "/ours", "LIFEBOAT_TASK_LIFEBOAT_HOME", "/theirs")));
  }
}
