package org.lifeboat.snapshot;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
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

  private static final JsonMapper MAPPER =
      JsonMapper.builder()
          .enable(SerializationFeature.INDENT_OUTPUT)
          .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .build();

  private static final String FIELD = "\"checksum\" : \"sha256:";

  private SealedJson() {}

  /** The mapper that reads and writes Lifeboat's JSON. */
  public static JsonMapper mapper() {
    return MAPPER;
  }

  /** Serialises a record and seals it. */
  public static byte[] write(Object document) {
    ObjectNode tree = (ObjectNode) MAPPER.valueToTree(document);
    tree.remove("checksum");
    tree.put("checksum", "sha256:");
    String text = MAPPER.writeValueAsString(tree);
    int at = text.lastIndexOf(FIELD);
    String sealed = text.substring(0, at);
    String digest = sha256(sealed.getBytes(StandardCharsets.UTF_8));
    return (sealed + FIELD + digest + "\"\n}\n").getBytes(StandardCharsets.UTF_8);
  }

  /**
   * Checks the seal and the format's version and reads the document.
   *
   * @param what the document's URL, for the message
   * @param newest the newest format version that this program knows
   */
  public static <T> T read(byte[] bytes, Class<T> type, String what, int newest)
      throws SnapshotException {
    String text = new String(bytes, StandardCharsets.UTF_8);
    int at = text.lastIndexOf(FIELD);
    if (at < 0 || text.length() < at + FIELD.length() + 64) {
      throw SnapshotException.damaged(what, "it has no checksum: it is truncated or was edited");
    }
    String digest = text.substring(at + FIELD.length(), at + FIELD.length() + 64);
    String rest = text.substring(at + FIELD.length() + 64);
    if (!rest.equals("\"\n}\n")
        || !sha256(text.substring(0, at).getBytes(StandardCharsets.UTF_8)).equals(digest)) {
      throw SnapshotException.damaged(
          what, "its checksum does not match: it is damaged or was edited");
    }
    try {
      JsonNode tree = MAPPER.readTree(text);
      int format = tree.path("format").asInt(0);
      if (format < 1) {
        throw SnapshotException.damaged(what, "it has no format version");
      }
      if (format > newest) {
        throw SnapshotException.newer(what, format, newest);
      }
      ((ObjectNode) tree).remove("checksum");
      return MAPPER.treeToValue(tree, type);
    } catch (JacksonException e) {
      throw SnapshotException.damaged(what, "malformed: " + e.getOriginalMessage());
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
