package org.lifeboat.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.lifeboat.snapshot.Catalog;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.SealedJson;
import org.lifeboat.snapshot.Verifier;
import org.lifeboat.store.FileStore;
import org.lifeboat.store.StoreUrl;
import tools.jackson.databind.node.ObjectNode;

/**
 * Snapshots that are damaged in the store: the older one is taken, or it is said that none is left;
 * never a clean start.
 */
final class DamageIT {

  private static final int STEPS = 150;

  /** The other kinds of object; that each is found at all shows {@link #verifyNamesEachObject}. */
  @Tag("long")
  @ParameterizedTest
  @ValueSource(
      strings = {
        "pages.index",
        "files.manifest",
        "pstree.img",
        "files.img",
        "core-.*\\.img",
        "mm-.*\\.img",
        "fs-.*\\.img",
        "inventory.img"
      })
  void passesOverAnyKind(String what) throws Exception {
    passesOverWhatIsDamaged(Site.Kind.FILE, what);
  }

  @ParameterizedTest
  @CsvSource({"FILE,pages/.*", "FILE,manifest.json", "FILE,files/.*", "VERSITYGW,pages/.*"})
  void passesOverWhatIsDamaged(Site.Kind kind, String what) throws Exception {
    String name = "damaged-" + what.replaceAll("\\W+", "-");
    try (Scene scene = new Scene(name, kind)) {
      Host first = scene.host();
      Program before = scene.run(first, Workload.TREE, STEPS);
      before.awaitLine("^step 3 ");
      int printed = 0;
      for (int i = 1; i <= 2; i++) {
        scene.checkpoint(first, "--leave-running").expect(0);
        if (i == 1) {
          printed = before.lines("^step ").size();
        }
        before.awaitLine("^step " + (before.lines("^step ").size() + 3) + " ");
      }
      first.kill();
      String damaged = scene.keys(2, what).getFirst();
      if (what.equals("manifest.json")) {
        Files.delete(scene.site().object(Scene.NAME, damaged));
      } else {
        scene.site().damage(Scene.NAME, damaged);
      }

      Host second = scene.host();
      Program verify = scene.command(second, "verify").expect(176);
      assertEquals(1, verify.lines("snapshot 1: whole").size(), verify::toString);
      assertEquals(1, verify.lines("snapshot 2: DAMAGED").size(), verify::toString);

      Program after = scene.run(second, Workload.TREE, STEPS);
      after.awaitLine("^step ");
      List<String> said = after.lines("snapshot 2 cannot be restored: ");
      assertEquals(1, said.size(), after::toString);
      String file = damaged.substring(damaged.lastIndexOf('/') + 1);
      assertTrue(said.getFirst().contains(file), () -> file + " is not named: " + said);
      scene.finish(second, after, Workload.TREE);
      int step = Workload.TREE.assertGoesOn(STEPS, before, after);
      int last = printed;
      assertTrue(
          step <= last + 1, () -> "went on with step " + step + ", snapshot 1 was at " + last);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FILE", "VERSITYGW"})
  void keepsThemWhenNoneIsLeft(Site.Kind kind) throws Exception {
    try (Scene scene = new Scene("all-damaged", kind)) {
      Host first = scene.host();
      Program before = scene.run(first, Workload.COUNTER, STEPS);
      before.awaitLine("^step 3 ");
      scene.checkpoint(first, "--leave-running").expect(0);
      scene.checkpoint(first).expect(0);
      before.expect(75);
      first.kill();
      for (int dump : List.of(1, 2)) {
        for (String pack : scene.keys(dump, "pages/.*\\.pack")) {
          scene.site().damage(Scene.NAME, pack);
        }
      }
      List<String> objects = scene.site().keys(Scene.NAME, ".fusion/dump/1/");

      Host second = scene.host();
      Program after = scene.run(second, Workload.COUNTER, STEPS).expect(176);
      assertEquals(List.of(), after.out());
      assertEquals(1, after.lines("none of the 2 committed snapshots").size(), after::toString);
      assertTrue(
          scene.site().keys(Scene.NAME, ".fusion/dump/1/").containsAll(objects),
          "snapshots are kept");

      Program fresh = scene.run(second, Workload.COUNTER, STEPS, "--fresh");
      fresh.awaitLine("^step 1 ");
      scene.finish(second, fresh, Workload.COUNTER);
      Workload.COUNTER.assertExact(STEPS, fresh);
    }
  }

  /** Everything that can be wrong with an object. */
  private enum Harm {
    FLIPPED_AT_ITS_BEGIN,
    FLIPPED_IN_ITS_MIDDLE,
    FLIPPED_AT_ITS_END,
    TRUNCATED,
    EMPTY,
    GROWN,
    MISSING,
    SWAPPED;

    void doTo(Path file, Path other) throws IOException {
      byte[] bytes = Files.readAllBytes(file);
      switch (this) {
        case FLIPPED_AT_ITS_BEGIN -> bytes[0] ^= 1;
        case FLIPPED_IN_ITS_MIDDLE -> bytes[bytes.length / 2] ^= 0x10;
        case FLIPPED_AT_ITS_END -> bytes[bytes.length - 1] ^= (byte) 0x80;
        case TRUNCATED -> bytes = Arrays.copyOf(bytes, bytes.length - 1);
        case EMPTY -> bytes = new byte[0];
        case GROWN -> bytes = Arrays.copyOf(bytes, bytes.length + 1);
        case SWAPPED -> {
          byte[] others = Files.readAllBytes(other);
          Files.write(other, bytes);
          bytes = others;
        }
        case MISSING -> {
          Files.delete(file);
          return;
        }
      }
      Files.write(file, bytes);
    }
  }

  private static String kind(String key) {
    String name = key.replaceFirst("^\\.fusion/dump/\\d+/", "");
    return name.replaceFirst("[^/]*\\.pack$", "*.pack").replaceFirst("-.*\\.img$", "-*.img");
  }

  /** Of two snapshots: each kind of object, harmed in each way, is named, and nothing else is. */
  @Test
  void verifyNamesEachObject() throws Exception {
    try (Scene scene = new Scene("verify", Site.Kind.FILE)) {
      Host host = scene.host();
      List<String> task =
          List.of(
              "/bin/bash",
              "-c",
              "for ((i = 1; ; i++)); do head -c 70000 /dev/urandom >data; echo step $i; sleep 0.1; done");
      Program run = scene.run(host, task);
      run.awaitLine("^step 3$");
      scene.checkpoint(host, "--leave-running").expect(0);
      run.awaitLine("^step " + (run.lines("^step ").size() + 3) + "$");
      scene.checkpoint(host).expect(0);
      run.expect(75);
      Path root = scene.site().object(Scene.NAME, "");
      Map<String, String> chosen = new TreeMap<>();
      Map<String, String> others = new TreeMap<>();
      for (String key : scene.keys(2, ".*(?<!\\.log)")) {
        chosen.putIfAbsent(kind(key), key);
      }
      for (String key : scene.keys(1, ".*(?<!\\.log)")) {
        others.putIfAbsent(kind(key), key);
      }
      assertTrue(
          chosen
              .keySet()
              .containsAll(
                  List.of(
                      "pages/*.pack",
                      "files/*.pack",
                      "pages.index",
                      "files.manifest",
                      "manifest.json",
                      "pstree.img",
                      "core-*.img",
                      "mm-*.img")),
          () -> "kinds of object: " + chosen);
      boolean all = "long".equals(System.getProperty("lifeboat.suite"));
      int harms = 0;
      try (FileStore store = new FileStore(StoreUrl.parse("file://" + root))) {
        assertEquals(Map.of(1, List.of(), 2, List.of()), verify(store));
        for (String key : all ? scene.keys(2, ".*(?<!\\.log)") : chosen.values()) {
          Path file = root.resolve(key);
          Path other = root.resolve(others.getOrDefault(kind(key), others.get("manifest.json")));
          byte[] good = Files.readAllBytes(file);
          byte[] otherGood = Files.readAllBytes(other);
          for (Harm harm : Harm.values()) {
            boolean same = harm == Harm.SWAPPED && Arrays.equals(good, otherGood);
            if (same || (good.length == 0 && harm != Harm.GROWN && harm != Harm.MISSING)) {
              continue;
            }
            harm.doTo(file, other);
            Map<Integer, List<String>> found = verify(store);
            String what = key + " " + harm + ": " + found;
            assertEquals(1, found.get(2).size(), what);
            assertTrue(found.get(2).getFirst().contains(key), what);
            assertEquals(harm == Harm.SWAPPED ? 1 : 0, found.get(1).size(), what);
            Files.write(file, good);
            Files.write(other, otherGood);
            harms++;
          }
        }
        assertEquals(Map.of(1, List.of(), 2, List.of()), verify(store));
        for (String key : chosen.values()) { // all at once: each is named
          Harm.FLIPPED_IN_ITS_MIDDLE.doTo(root.resolve(key), null);
        }
        Files.delete(root.resolve(chosen.get("pages/*.pack")));
        assertEquals(1, verify(store).get(2).size(), "the manifest itself is damaged");
      }
      assertTrue(harms > 80, harms + " harms");
    }
  }

  private static Map<Integer, List<String>> verify(FileStore store) throws Exception {
    Map<Integer, List<String>> found = new TreeMap<>();
    for (DumpMetadata.Dump dump : new Catalog(store).metadata().orElseThrow().restorable()) {
      found.put(dump.id(), new Verifier(store).verify(dump));
    }
    return found;
  }

  /** The one object on which all hang: a copy of it is gone on from, without anybody's doing. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void goesOnWithoutDumpMetadata(boolean removed) throws Exception {
    try (Scene scene = new Scene("metadata-" + removed, Site.Kind.FILE)) {
      Host first = scene.host();
      Program before = scene.run(first, Workload.COUNTER, STEPS);
      before.awaitLine("^step 3 ");
      scene.checkpoint(first).expect(0);
      before.expect(75);
      first.kill();
      String key = ".fusion/dump/dump_metadata";
      if (removed) {
        Files.delete(scene.site().object(Scene.NAME, key));
      } else {
        scene.site().damage(Scene.NAME, key);
      }
      Host second = scene.host();
      Program verify = scene.command(second, "verify").expect(176);
      assertEquals(1, verify.lines("^dump_metadata: DAMAGED").size(), verify::toString);
      assertEquals(1, verify.lines("^snapshot 1: whole").size(), verify::toString);
      Program after = scene.run(second, Workload.COUNTER, STEPS);
      after.awaitLine("dump_metadata: it.* going on from the copy of it, of epoch 1");
      after.awaitLine("restored snapshot 1");
      scene.finish(second, after, Workload.COUNTER);
      Workload.COUNTER.assertExact(STEPS, before, after);
      scene.command(second, "verify").expect(0);
    }
  }

  /** Dumps of which nobody knows whether they were committed are neither restored nor run over. */
  @Test
  void isNoCleanStartWithoutAnyMetadata() throws Exception {
    try (Scene scene = new Scene("no-metadata", Site.Kind.FILE)) {
      Host first = scene.host();
      Program before = scene.run(first, Workload.COUNTER, STEPS);
      before.awaitLine("^step 3 ");
      scene.checkpoint(first).expect(0);
      before.expect(75);
      Files.delete(scene.site().object(Scene.NAME, ".fusion/dump/dump_metadata"));
      Scene.delete(scene.site().object(Scene.NAME, ".fusion/dump/copies"));
      List<String> objects = scene.site().keys(Scene.NAME, ".fusion/dump/1/");

      for (int i = 0; i < 2; i++) {
        Program after = scene.run(first, Workload.COUNTER, STEPS).expect(176);
        assertEquals(List.of(), after.out());
        List<String> said = after.lines("lifeboat (ERROR|WARN)");
        assertEquals(1, said.size(), after::toString);
        assertTrue(said.getFirst().contains("dumps [1]"), after::toString);
        assertTrue(said.getFirst().contains("--fresh"), after::toString);
      }
      Program list = scene.command(first, "list").expect(1);
      assertEquals(1, list.lines("dump_metadata: it is missing").size(), list::toString);
      scene.command(first, "verify").expect(176);
      assertEquals(objects, scene.site().keys(Scene.NAME, ".fusion/dump/1/"));

      Program fresh = scene.run(first, Workload.COUNTER, STEPS, "--fresh");
      fresh.awaitLine("^step 1 ");
      scene.finish(first, fresh, Workload.COUNTER);
      Workload.COUNTER.assertExact(STEPS, fresh);
    }
  }

  /**
   * A snapshot that a later version wrote is whole, but not for this one: the older one is taken.
   */
  @Test
  void passesOverAManifestOfANewerFormat() throws Exception {
    try (Scene scene = new Scene("newer-format", Site.Kind.FILE)) {
      Host first = scene.host();
      Program before = scene.run(first, Workload.COUNTER, STEPS);
      before.awaitLine("^step 3 ");
      scene.checkpoint(first, "--leave-running").expect(0);
      before.awaitLine("^step " + (before.lines("^step ").size() + 3) + " ");
      scene.checkpoint(first).expect(0);
      before.expect(75);
      first.kill();
      Path manifest = scene.site().object(Scene.NAME, scene.keys(2, "manifest.json").getFirst());
      ObjectNode newer = (ObjectNode) Scene.json(Files.readString(manifest));
      newer.put("format", 2);
      byte[] bytes = SealedJson.write(newer);
      Files.write(manifest, bytes);
      Path metadata = scene.site().object(Scene.NAME, ".fusion/dump/dump_metadata");
      ObjectNode document = (ObjectNode) Scene.json(Files.readString(metadata));
      ((ObjectNode) document.path("dumps").get(1))
          .put("manifestSize", bytes.length)
          .put("manifestSha256", SealedJson.sha256(bytes));
      Files.write(metadata, SealedJson.write(document));

      Host second = scene.host();
      Program verify = scene.command(second, "verify").expect(176);
      assertEquals(1, verify.lines("manifest.json: its format is 2").size(), verify::toString);
      Program after = scene.run(second, Workload.COUNTER, STEPS);
      after.awaitLine("snapshot 2 cannot be restored: .*/2/manifest.json: its format is 2, this");
      after.awaitLine("restored snapshot 1");
      scene.finish(second, after, Workload.COUNTER);
      Workload.COUNTER.assertGoesOn(STEPS, before, after);

      document.put("format", 2);
      Files.write(metadata, SealedJson.write(document));
      Program refused = scene.run(second, Workload.COUNTER, STEPS).expect(176);
      assertEquals(1, refused.lines("dump_metadata: its format is 2").size(), refused::toString);
      assertEquals(List.of(), refused.out());
    }
  }
}
