package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.lifeboat.store.Blob;
import org.lifeboat.store.Fuzz;
import org.lifeboat.store.Keys;
import org.lifeboat.store.ObjectStore;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * {@code dump_metadata} and {@code manifest.json} as somebody edited them, with a seal that is
 * right: each is a document that makes sense, or is refused with the field's name.
 */
final class DocumentsFuzzTest {

  private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
  private static final String[] TEXTS = {
    "",
    "..",
    "../../../etc/passwd",
    "/etc/passwd",
    ".fusion/dump/1/../../x",
    ".fusion/dump//x",
    "a\nb",
    "\u0000",
    "\ud800",
    "-1",
    "COMPLETE",
    "00".repeat(32),
    "x".repeat(5000)
  };

  @TempDir private Path folder;

  private static JsonNode value(Random random) {
    return switch (random.nextInt(9)) {
      case 0 -> NODES.nullNode();
      case 1 -> NODES.booleanNode(random.nextBoolean());
      case 2 -> NODES.numberNode(1.5);
      case 3 -> NODES.arrayNode();
      case 4 -> NODES.objectNode();
      case 5 -> NODES.numberNode(new java.math.BigInteger("9".repeat(40)));
      case 6 -> NODES.numberNode(Fuzz.number(random));
      default -> NODES.stringNode(TEXTS[random.nextInt(TEXTS.length)]);
    };
  }

  /** Every object and list of the document. */
  private static void collect(JsonNode node, List<JsonNode> into) {
    if (node.isObject() || node.isArray()) {
      into.add(node);
      for (JsonNode child : node) {
        collect(child, into);
      }
    }
  }

  private static byte[] mutate(Random random, Object document) {
    ObjectNode tree = SealedJson.mapper().valueToTree(document);
    for (int n = 1 + random.nextInt(2); n > 0; n--) {
      List<JsonNode> all = new ArrayList<>();
      collect(tree, all);
      JsonNode at = all.get(random.nextInt(all.size()));
      if (at instanceof ObjectNode object) {
        List<String> names = new ArrayList<>();
        object.properties().forEach(field -> names.add(field.getKey()));
        if (names.isEmpty() || random.nextInt(10) == 0) {
          object.set(TEXTS[random.nextInt(TEXTS.length)], value(random));
        } else if (random.nextInt(5) == 0) {
          object.remove(names.get(random.nextInt(names.size())));
        } else {
          object.set(names.get(random.nextInt(names.size())), value(random));
        }
      } else if (at instanceof ArrayNode array) {
        if (array.isEmpty() || random.nextInt(3) == 0) {
          array.add(value(random));
        } else if (random.nextBoolean()) {
          array.add(array.get(random.nextInt(array.size())));
        } else {
          array.set(random.nextInt(array.size()), value(random));
        }
      }
    }
    byte[] sealed = SealedJson.write(tree);
    return random.nextInt(10) == 0 ? Fuzz.mutate(random, sealed, 3) : sealed;
  }

  @Test
  void metadata() {
    DumpMetadata good =
        Documents.document(
            Documents.owner("me", 2, true),
            Documents.dump(1, DumpMetadata.DumpState.COMPLETE, 1),
            Documents.dump(2, DumpMetadata.DumpState.RESTORED, 1),
            Documents.dump(3, DumpMetadata.DumpState.DUMPING, 1));
    int[] refused = {0};
    Fuzz.run(
        "dump_metadata",
        1_500,
        4 << 20,
        random -> {
          byte[] bytes = mutate(random, good);
          DumpMetadata document;
          try {
            document = DumpMetadata.read(bytes, "URL");
          } catch (SnapshotException e) {
            assertTrue(e.getMessage().startsWith("URL: "), e.getMessage());
            assertFalse(e.getMessage().contains("malformed: Cannot"), e.getMessage());
            refused[0]++;
            return;
          }
          // whatever is taken can be worked with, and written and read again
          document.restorable().forEach(dump -> Keys.check(Layout.manifest(dump.id())));
          DumpMetadata next =
              document
                  .withOwner(document.epoch() + 1, Documents.owner("you", 0, false))
                  .adding(Documents.dump(document.nextId(), DumpMetadata.DumpState.DUMPING, 0));
          assertTrue(document.nextId() > 0);
          for (DumpMetadata.Dump dump : next.dumps()) {
            assertTrue(java.time.Instant.ofEpochMilli(dump.startedAt()).toString().length() < 40);
          }
          assertEquals(next, DumpMetadata.read(SealedJson.write(next), "URL"));
        });
    assertTrue(refused[0] > 500 || Long.getLong("lifeboat.seed") != null, refused[0] + " refused");
  }

  @Test
  void manifests() throws Exception {
    ObjectStore store = Documents.store(folder);
    Documents.committed(store, 1);
    ObjectNode good =
        (ObjectNode)
            SealedJson.mapper()
                .readTree(Blob.read(store, Layout.manifest(1), 1 << 20).orElseThrow().bytes());
    ObjectNode pack = NODES.objectNode();
    pack.put("key", Layout.files(1) + "x.pack").put("size", 10).put("partSize", 8 << 20);
    pack.putArray("parts").add("00".repeat(32));
    ((ArrayNode) good.path("filePack").path("packs")).add(pack);
    int[] refused = {0};
    Fuzz.run(
        "manifest.json",
        1_500,
        4 << 20,
        random -> {
          Manifest manifest;
          try {
            manifest = Manifest.read(mutate(random, good), "URL");
          } catch (SnapshotException e) {
            assertTrue(e.getMessage().startsWith("URL: "), e.getMessage());
            assertFalse(e.getMessage().contains("malformed: Cannot"), e.getMessage());
            refused[0]++;
            return;
          }
          for (String image : manifest.images().keySet()) {
            assertEquals(folder, folder.resolve(image).normalize().getParent());
            Keys.check(Layout.image(manifest.id(), image));
          }
          manifest.packs().keySet().forEach(Keys::check);
          manifest.filePack().packs().forEach(each -> Keys.check(each.key()));
          HostFacts.check(manifest.host(), manifest.host());
          for (Manifest.Pack each : manifest.filePack().packs()) {
            SnapshotException e =
                assertThrows(SnapshotException.class, () -> new PackFetch(store).fetch(each, null));
            assertEquals(SnapshotException.Kind.DAMAGED, e.kind()); // there is no such pack
          }
        });
    assertTrue(refused[0] > 500 || Long.getLong("lifeboat.seed") != null, refused[0] + " refused");
  }

  /** What people do to the document: the message names the field and what it must be. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "dumps[0].id | -3 | a whole number from 1",
        "dumps[1].id | 1 | another than that of an earlier dump",
        "dumps[0].id | 99999999999 | a whole number from 1",
        "dumps[0].state | \"DONE\" | one of DUMPING, COMPLETE",
        "dumps[0].manifestSha256 | null | a SHA-256",
        "dumps[0].manifestSha256 | \"../../x\" | a SHA-256",
        "dumps[0].epoch | 2 | a whole number from 1 to 1",
        "dumps[0].startedAt | 9223372036854775807 | a whole number from 0",
        "dumps[0].parent | 1 | a whole number from 1 to 0",
        "dumps | {} | a list",
        "epoch | 9223372036854775807 | a whole number from 1",
        "epoch | 1.5 | a whole number",
        "epoch | \"1\" | a whole number",
        "owner | null | an object",
        "owner.id | \"a b\" | a word",
        "owner.released | \"yes\" | true or false",
        "task.state | null | one of ACTIVE, ENDED",
        "task.generation | -1 | a whole number from 0",
        "command | \"sh -c x\" | a list of texts",
      })
  void anEditedFieldIsNamed(String field, String value, String must) {
    ObjectNode tree =
        SealedJson.mapper()
            .valueToTree(
                Documents.document(
                    Documents.owner("me", 0, true),
                    Documents.dump(1, DumpMetadata.DumpState.COMPLETE, 1),
                    Documents.dump(2, DumpMetadata.DumpState.COMPLETE, 1)));
    JsonNode at = tree;
    String[] names = field.replace("[", ".").replace("]", "").split("\\.", -1);
    for (int i = 0; i < names.length - 1; i++) {
      at = at.isArray() ? at.get(Integer.parseInt(names[i])) : at.get(names[i]);
    }
    ((ObjectNode) at).set(names[names.length - 1], SealedJson.mapper().readTree(value));
    SnapshotException e =
        assertThrows(
            SnapshotException.class, () -> DumpMetadata.read(SealedJson.write(tree), "URL"));
    assertEquals(SnapshotException.Kind.DAMAGED, e.kind());
    assertTrue(
        e.getMessage().startsWith("URL: its " + field + " is ") && e.getMessage().contains(must),
        e.getMessage());
  }

  /** A seal is over bytes: what is no UTF-8 reads as one and the same character. */
  @Test
  void regression_bytesThatAreNoTextAreDamage() {
    DumpMetadata good =
        Documents.document(Documents.owner("a\ufffdb", 0, true)); // as it came from elsewhere
    byte[] bytes = SealedJson.write(good);
    int at = 0;
    while (bytes[at] != (byte) 0xef) {
      at++;
    }
    byte[] bad = new byte[bytes.length - 2];
    System.arraycopy(bytes, 0, bad, 0, at);
    bad[at] = (byte) 0xff;
    System.arraycopy(bytes, at + 3, bad, at + 1, bytes.length - at - 3);
    assertThrows(SnapshotException.class, () -> DumpMetadata.read(bad, "URL"));
  }
}
