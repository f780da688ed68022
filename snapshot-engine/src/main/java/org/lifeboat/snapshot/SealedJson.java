package org.lifeboat.snapshot;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * JSON documents that carry their own checksum, in a form that a person can read and that any later
 * version can check without knowing all fields: the checksum is over the bytes that stand before
 * it.
 *
 * <pre>
 * {
 *   "format" : 1,
 *   ...
 *   "checksum" : "sha256:9f86..."        the last field; the digest of all bytes before the quote that opens its name
 * }
 * </pre>
 */
public final class SealedJson {

  /** Made when it is first used: who needs only a digest has no use for it. */
  private static final class Mapper {
    static final JsonMapper INSTANCE =
        JsonMapper.builder()
            .enable(SerializationFeature.INDENT_OUTPUT)
            .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
            .build();
  }

  private static final String FIELD = "\"checksum\" : \"sha256:";
  private static final String END = "\"\n}\n";

  /** The bytes behind the field: the digest in hexadecimal, and the end. */
  private static final int SEAL = 64 + END.length();

  private SealedJson() {}

  /** The mapper that reads and writes Lifeboat's JSON. */
  public static JsonMapper mapper() {
    return Mapper.INSTANCE;
  }

  /** Serialises a record and seals it. */
  public static byte[] write(Object document) {
    ObjectNode tree = (ObjectNode) Mapper.INSTANCE.valueToTree(document);
    tree.remove("checksum");
    tree.put("checksum", "sha256:");
    String text = Mapper.INSTANCE.writeValueAsString(tree);
    int at = text.lastIndexOf(FIELD);
    String sealed = text.substring(0, at);
    String digest = sha256(sealed.getBytes(StandardCharsets.UTF_8));
    return (sealed + FIELD + digest + END).getBytes(StandardCharsets.UTF_8);
  }

  /** Looks for what makes no sense in a document whose seal is whole. */
  @FunctionalInterface
  interface Check {
    void run(Fields document) throws Fields.FieldException;
  }

  /**
   * Checks the seal, the format's version and each field, and reads the document.
   *
   * @param what the document's URL, for the message
   * @param newest the newest format version that this program knows
   */
  static <T> T read(byte[] bytes, Class<T> type, String what, int newest, Check check)
      throws SnapshotException {
    checkSeal(bytes, what);
    try {
      JsonNode tree = Mapper.INSTANCE.readTree(bytes);
      long format = tree.path("format").asLong(0);
      if (!tree.isObject() || !tree.path("format").isIntegralNumber() || format < 1) {
        throw SnapshotException.damaged(what, "it has no format version");
      }
      if (format > newest) {
        throw SnapshotException.newer(what, format, newest);
      }
      check.run(new Fields(tree));
      ((ObjectNode) tree).remove("checksum");
      return Mapper.INSTANCE.treeToValue(tree, type);
    } catch (Fields.FieldException e) {
      throw SnapshotException.damaged(what, "its " + e.getMessage());
    } catch (JacksonException e) {
      throw SnapshotException.damaged(what, "malformed: " + e.getOriginalMessage());
    }
  }

  /** Over the bytes, not the text: what is no UTF-8 reads as one and the same character. */
  private static void checkSeal(byte[] bytes, String what) throws SnapshotException {
    byte[] field = FIELD.getBytes(StandardCharsets.UTF_8);
    int at = bytes.length - field.length - SEAL;
    boolean there = at >= 0 && Arrays.equals(bytes, at, at + field.length, field, 0, field.length);
    if (!there && !new String(bytes, StandardCharsets.UTF_8).contains(FIELD)) {
      throw SnapshotException.damaged(what, "it has no checksum: it is truncated or was edited");
    }
    MessageDigest digest = digest();
    digest.update(bytes, 0, Math.max(0, at));
    String seal = HexFormat.of().formatHex(digest.digest()) + END;
    if (!there
        || !seal.equals(
            new String(bytes, bytes.length - SEAL, SEAL, StandardCharsets.ISO_8859_1))) {
      throw SnapshotException.damaged(
          what, "its checksum does not match: it is damaged or was edited");
    }
  }

  /** The SHA-256 of some bytes, in hexadecimal. */
  public static String sha256(byte[] bytes) {
    return HexFormat.of().formatHex(digest().digest(bytes));
  }

  static MessageDigest digest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }
}
