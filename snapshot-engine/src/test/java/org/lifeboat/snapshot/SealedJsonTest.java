package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.node.ObjectNode;

final class SealedJsonTest {

  private static final DumpMetadata DOCUMENT =
      Documents.document(
          Documents.owner("me", 2, true),
          Documents.dump(1, DumpMetadata.DumpState.COMPLETE, 1),
          Documents.dump(2, DumpMetadata.DumpState.DUMPING, 1)
              .failed("\u00e4 \"checksum\" : \"sha256:", 9));

  private static DumpMetadata read(byte[] bytes) throws SnapshotException {
    return DumpMetadata.read(bytes, "the document");
  }

  @Test
  void comesBackAsItWas() throws SnapshotException {
    assertEquals(DOCUMENT, read(SealedJson.write(DOCUMENT)));
  }

  @Test
  void noBitCanBeFlipped() {
    byte[] good = SealedJson.write(DOCUMENT);
    for (int bit = 0; bit < 8 * good.length; bit++) {
      byte[] bad = good.clone();
      bad[bit / 8] ^= (byte) (1 << (bit % 8));
      int at = bit;
      SnapshotException e =
          assertThrows(SnapshotException.class, () -> read(bad), () -> "bit " + at);
      assertEquals(SnapshotException.Kind.DAMAGED, e.kind());
      assertTrue(e.getMessage().startsWith("the document: "), e.getMessage());
    }
  }

  @Test
  void nothingCanBeCutOffOrAdded() {
    byte[] good = SealedJson.write(DOCUMENT);
    for (int length = 0; length < good.length; length++) {
      byte[] bad = Arrays.copyOf(good, length);
      assertThrows(SnapshotException.class, () -> read(bad), length + " bytes");
    }
    assertThrows(SnapshotException.class, () -> read(Arrays.copyOf(good, good.length + 1)));
  }

  @Test
  void aNewerFormatIsNamedAsSuch() {
    ObjectNode tree = SealedJson.mapper().valueToTree(DOCUMENT);
    tree.put("format", DumpMetadata.FORMAT + 1);
    SnapshotException e = assertThrows(SnapshotException.class, () -> read(SealedJson.write(tree)));
    assertEquals(SnapshotException.Kind.NEWER_FORMAT, e.kind());
    assertTrue(e.getMessage().contains("its format is 2"), e.getMessage());
  }

  @Test
  void noFormatAtAllIsDamage() {
    ObjectNode tree = SealedJson.mapper().valueToTree(DOCUMENT);
    tree.remove("format");
    SnapshotException e = assertThrows(SnapshotException.class, () -> read(SealedJson.write(tree)));
    assertEquals(SnapshotException.Kind.DAMAGED, e.kind());
  }

  @Test
  void unknownFieldsAreTolerated() throws SnapshotException {
    ObjectNode tree = SealedJson.mapper().valueToTree(DOCUMENT);
    tree.put("aFieldOfTheFuture", 1);
    ((ObjectNode) tree.path("owner")).put("another", "x");
    assertEquals(DOCUMENT, read(SealedJson.write(tree)));
  }

  @Test
  void aSealedDocumentWithoutAnOwnerIsDamage() {
    ObjectNode tree = SealedJson.mapper().valueToTree(DOCUMENT);
    tree.remove("owner");
    SnapshotException e = assertThrows(SnapshotException.class, () -> read(SealedJson.write(tree)));
    assertEquals(SnapshotException.Kind.DAMAGED, e.kind());
  }

  @Test
  void aPersonCanCheckTheSeal() {
    String text = new String(SealedJson.write(DOCUMENT), StandardCharsets.UTF_8);
    int at = text.lastIndexOf("\"checksum\"");
    String digest = SealedJson.sha256(text.substring(0, at).getBytes(StandardCharsets.UTF_8));
    assertTrue(text.endsWith("\"checksum\" : \"sha256:" + digest + "\"\n}\n"), text);
  }
}
