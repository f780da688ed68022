package org.lifeboat.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.lifeboat.snapshot.Catalog;
import org.lifeboat.snapshot.Documents;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.SealedJson;
import org.lifeboat.store.ObjectStore;
import picocli.CommandLine;
import tools.jackson.databind.JsonNode;

final class MainTest {

  @TempDir private Path folder;
  private ObjectStore store;
  private String url;
  private String out;
  private String err;

  @BeforeEach
  void begin() {
    store = Documents.store(folder);
    url = "file://" + folder;
  }

  private int run(String... args) {
    StringWriter outWriter = new StringWriter();
    StringWriter errWriter = new StringWriter();
    CommandLine line = Main.line();
    line.setOut(new PrintWriter(outWriter));
    line.setErr(new PrintWriter(errWriter));
    int code = line.execute(args);
    line.getOut().flush();
    line.getErr().flush();
    out = outWriter.toString();
    err = errWriter.toString();
    return code;
  }

  private void fill() throws IOException {
    Documents.put(
        store,
        Documents.document(
            Documents.owner("me", 0, false),
            Documents.committed(store, 1),
            Documents.committed(store, 2),
            Documents.dump(3, DumpMetadata.DumpState.FAILED, 1)));
  }

  private JsonNode json() {
    return SealedJson.mapper().readTree(out);
  }

  private List<Integer> ids() throws IOException {
    return new Catalog(store)
        .metadata().orElseThrow().dumps().stream().map(DumpMetadata.Dump::id).toList();
  }

  // ---- help and usage

  @ParameterizedTest
  @ValueSource(strings = {"run", "checkpoint", "list", "inspect", "verify", "rm"})
  void everyCommandHasHelp(String command) {
    assertEquals(0, run(command, "--help"));
    assertTrue(out.contains("Usage: lifeboat " + command), out);
    assertTrue(out.contains("--store"), out);
    assertEquals("", err);
  }

  @Test
  void theProgramHasHelpAndAVersion() {
    assertEquals(0, run("--help"));
    for (String command : List.of("run", "checkpoint", "list", "inspect", "verify", "rm")) {
      assertTrue(out.contains("\n  " + command), out);
    }
    assertEquals(0, run("--version"));
    assertTrue(out.startsWith("lifeboat "), out);
  }

  @Test
  void misuseIsOneLineAndTwo() {
    List<List<String>> misuses =
        List.of(
            List.of(),
            List.of("dance"),
            List.of("list"),
            List.of("list", "--store"),
            List.of("list", "--store", "nonsense"),
            List.of("list", "--store", "ftp://host/x"),
            List.of("list", "--store", "file:relative"),
            List.of("list", "--stor", url),
            List.of("run", "--store", url),
            List.of("run", "--", "true"),
            List.of("run", "--store", url, "--every", "soon", "--", "true"),
            List.of("run", "--store", url, "--after-dump", "dance", "--", "true"),
            List.of("checkpoint", "--store", url, "--deadline", "0"),
            List.of("inspect", "--store", url, "one"),
            List.of("inspect", "--store", url),
            List.of("verify", "--store", url),
            List.of("rm", "--store", url),
            List.of("rm", "--store", url, "--all", "1"));
    for (List<String> misuse : misuses) {
      assertEquals(2, run(misuse.toArray(String[]::new)), misuse::toString);
      assertTrue(err.startsWith("lifeboat: "), misuse + ": " + err);
      assertFalse(err.contains("\tat "), misuse + ": " + err);
      assertEquals("", out, misuse::toString);
    }
  }

  @Test
  void checkpointWithoutARunIsTwo() {
    assertEquals(2, run("checkpoint", "--store", url));
    assertTrue(err.contains("no run of " + url), err);
  }

  /** The task's arguments are its own, whatever they look like. */
  @Test
  void regression_theTasksArgumentsAreLeftAlone() throws IOException {
    Path file = Files.writeString(folder.resolve("args"), "expanded --every 5m");
    List<String> command =
        List.of(
            "prog",
            "@" + file,
            "@@x",
            "--",
            "--store",
            "-v",
            "",
            "a b",
            "\"q\"",
            "${HOME}",
            "--help");
    List<String> args = new ArrayList<>(List.of("run", "--store", url, "--every", "5m", "--"));
    args.addAll(command);
    CommandLine.ParseResult parsed =
        Main.line().parseArgs(args.toArray(String[]::new)).subcommand();
    assertEquals(
        command,
        parsed.matchedPositionals().stream()
            .flatMap(positional -> positional.stringValues().stream())
            .toList());
    assertEquals(command, parsed.matchedPositionalValue(0, List.of()));
  }

  // ---- list, inspect, verify, rm

  @Test
  void listsNothing() {
    assertEquals(0, run("list", "--store", url));
    assertEquals("nothing was ever saved in " + url + "\n", out);
    assertEquals(0, run("list", "--store", url, "--json"));
    assertEquals(0, json().path("dumps").size());
  }

  @Test
  void listsWhatThereIs() throws IOException {
    fill();
    assertEquals(0, run("list", "--store", url));
    assertTrue(out.contains("command  sh -c echo 'a b'\n"), out);
    assertTrue(out.contains("running on host-of-me"), out);
    assertTrue(out.matches("(?s).*\n +1  COMPLETE .*\n +2  COMPLETE .*\n +3  FAILED .*"), out);
    assertEquals(0, run("list", "--store", url, "--json"));
    assertEquals(url, json().path("store").asString());
    assertEquals(3, json().path("dumps").size());
    assertEquals("COMPLETE", json().path("dumps").get(0).path("state").asString());
    assertEquals("ACTIVE", json().path("task").path("state").asString());
  }

  @Test
  void aDamagedStoreIsOneLine() throws IOException {
    fill();
    Path metadata = folder.resolve(".fusion/dump/dump_metadata");
    Files.writeString(metadata, Files.readString(metadata).replace("COMPLETE", "FAILED"));
    assertEquals(1, run("list", "--store", url));
    assertTrue(err.startsWith("lifeboat: " + url + "/.fusion/dump/dump_metadata: "), err);
    assertEquals(1, err.lines().count(), err);
  }

  @Test
  void inspectsTheNewestOrTheNamed() throws IOException {
    fill();
    assertEquals(0, run("inspect", "--store", url));
    assertTrue(out.contains("dump       2 (FULL, COMPLETE)"), out);
    assertTrue(out.contains("tree       3 processes, root 500"), out);
    assertEquals(0, run("inspect", "--store", url, "1", "--json"));
    assertEquals(1, json().path("dump").path("id").asInt());
    assertEquals("fpu", json().path("manifest").path("host").path("cpuFlags").get(0).asString());
    assertEquals(0, run("inspect", "--store", url, "3"));
    assertTrue(out.contains("it was not committed"), out);
    assertEquals(2, run("inspect", "--store", url, "9"));
    assertTrue(err.contains("has no dump 9"), err);
  }

  @Test
  void inspectsNothingThatCanBeRestored() throws IOException {
    Documents.put(
        store,
        Documents.document(
            Documents.owner("me", 0, true), Documents.dump(1, DumpMetadata.DumpState.FAILED, 1)));
    assertEquals(1, run("inspect", "--store", url));
    assertTrue(out.contains("no snapshot"), out);
  }

  @Test
  void verifyNamesWhatIsDamaged() throws IOException {
    fill();
    assertEquals(176, run("verify", "--store", url, "1"), "its index is three zero bytes");
    assertTrue(out.contains("snapshot 1: DAMAGED"), out);
    assertTrue(out.contains("pages.index"), out);
    assertFalse(out.contains("core-500.img"), out);
    store.delete(".fusion/dump/1/core-500.img");
    assertEquals(176, run("verify", "--store", url, "1", "--json"));
    assertFalse(json().get(0).path("whole").asBoolean());
    assertTrue(json().get(0).path("damage").toString().contains("core-500.img"), out);
    assertEquals(176, run("verify", "--store", url, "3"));
    assertTrue(out.contains("never committed"), out);
  }

  @Test
  void removesButNotTheLast() throws IOException {
    fill();
    assertEquals(0, run("rm", "--store", url, "1", "1"));
    assertEquals(1, out.lines().count(), out);
    assertEquals(List.of(2, 3), ids());
    assertEquals(2, run("rm", "--store", url, "2"));
    assertTrue(err.contains("--force"), err);
    assertEquals(2, run("rm", "--store", url, "--all"));
    assertEquals(List.of(2, 3), ids());
    assertEquals(0, run("rm", "--store", url, "--all", "--force", "--json"));
    assertEquals(2, json().size());
    assertEquals(List.of(), ids());
  }

  @Test
  void aDumpUnderWayIsNotRemoved() throws IOException {
    DumpMetadata document =
        Documents.document(
            Documents.owner("me", 0, false),
            Documents.committed(store, 1),
            Documents.dump(2, DumpMetadata.DumpState.DUMPING, 1));
    Documents.put(store, document);
    assertEquals(2, run("rm", "--store", url, "2"));
    assertTrue(err.contains("under way on host-of-me"), err);
    assertEquals(List.of(1, 2), ids());
    assertEquals(0, run("rm", "--store", url, "2", "--force"));
    Documents.put(store, document.released());
    assertEquals(0, run("rm", "--store", url, "2"));
    assertEquals(List.of(1), ids());
  }

  @Test
  void ofAnEndedTaskAllMayGo() throws IOException {
    fill();
    DumpMetadata document = new Catalog(store).metadata().orElseThrow();
    Documents.put(
        store, document.withTask(new DumpMetadata.Task(DumpMetadata.TaskState.ENDED, 3, 9, 1)));
    assertEquals(0, run("list", "--store", url));
    assertTrue(out.contains("ended with exit code 3"), out);
    assertEquals(0, run("rm", "--store", url, "--all"));
    assertEquals(List.of(), ids());
  }

  // ---- gc, and run --keep

  @Test
  void gcShowsFirstAndRemovesWhenTold() throws IOException {
    String above = url;
    url += "/ab/cd";
    store = Documents.store(folder.resolve("ab/cd"));
    Documents.put(
        store,
        Documents.document(
            Documents.owner("me", 0, true),
            Documents.committed(store, 1),
            Documents.dump(2, DumpMetadata.DumpState.FAILED, 1)));
    store.put(
        ".fusion/dump/2/core-1.img",
        java.nio.ByteBuffer.allocate(2048),
        org.lifeboat.store.Precondition.NONE);
    assertEquals(0, run("gc", url));
    assertTrue(out.contains("less than --older-than: left alone"), out);
    assertTrue(out.contains("could be removed: 0 objects"), out);
    // in a folder of tasks, and so that nothing is young
    assertEquals(0, run("gc", "--older-than", "1ms", "--json", above));
    JsonNode task = json().path("tasks").get(0);
    assertEquals(url, task.path("url").asString());
    assertEquals("WAITING", task.path("state").asString());
    assertEquals(2048, task.path("items").get(0).path("bytes").asInt());
    assertEquals("failed", task.path("items").get(0).path("why").asString());
    assertFalse(json().path("deleted").asBoolean());
    assertTrue(store.head(".fusion/dump/2/core-1.img").isPresent());
    assertEquals(0, run("gc", "--older-than", "1ms", "--delete", above));
    assertTrue(out.contains("snapshots that can be restored: [1], kept"), out);
    assertTrue(out.contains("removed 1 objects and 0 unfinished uploads, 2.0 KiB"), out);
    assertTrue(store.head(".fusion/dump/2/core-1.img").isEmpty());
    assertEquals(0, run("gc", "--older-than", "1ms", "--delete", "--give-up", url));
    assertTrue(store.head(".fusion/dump/1/manifest.json").isEmpty());
  }

  @Test
  void gcSaysWhenThereIsNothing() {
    assertEquals(0, run("gc", url + "/empty"));
    assertTrue(out.startsWith("no task has anything below " + url + "/empty"), out);
    assertEquals(2, run("gc"));
    assertEquals(2, run("gc", "nonsense"));
    assertEquals(2, run("gc", "--older-than", "soon", url));
  }

  @ParameterizedTest
  @ValueSource(strings = {"0", "-1", "1001", "many", "99999999999"})
  void theNumberToKeepIsChecked(String keep) {
    assertEquals(2, run("run", "--store", url, "--keep", keep, "--", "true"));
    assertTrue(err.contains("--keep"), err);
    assertTrue(err.contains(keep), err);
  }
}
