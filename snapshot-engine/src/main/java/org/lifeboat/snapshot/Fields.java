package org.lifeboat.snapshot;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import tools.jackson.databind.JsonNode;

/**
 * A JSON object whose fields are looked at one by one, so that a document which is sealed but makes
 * no sense is refused with the name of the field, before anything is made of it. Unknown fields are
 * passed over.
 */
final class Fields {

  /** 1 January 2200: a time behind it is none. */
  static final long LAST_MILLIS = 7_258_118_400_000L;

  /** More than any count of bytes can be, and far from an overflow. */
  static final long MOST_BYTES = 1L << 56;

  static final int MOST_TEXT = 64 << 10;

  private final JsonNode node;
  private final String path;

  Fields(JsonNode node) throws FieldException {
    this(node, "");
  }

  private Fields(JsonNode node, String path) throws FieldException {
    this.node = node;
    this.path = path;
    if (!node.isObject()) {
      throw new FieldException(path.isEmpty() ? "it is no object" : path + " is no object");
    }
  }

  /** What is wrong with a field, in words that begin with its name. */
  static final class FieldException extends Exception {
    private static final long serialVersionUID = 1L;

    FieldException(String message) {
      super(message, null, false, false);
    }
  }

  private String name(String field) {
    return path.isEmpty() ? field : path + "." + field;
  }

  FieldException wrong(String field, String must) {
    JsonNode value = node.path(field);
    if (value.isMissingNode()) {
      return new FieldException(name(field) + " is missing, and must be " + must);
    }
    String text = value.toString();
    return new FieldException(
        name(field)
            + " is "
            + (text.length() > 80 ? text.substring(0, 80) + ".." : text)
            + ", and must be "
            + must);
  }

  long integer(String field, long min, long max) throws FieldException {
    JsonNode value = node.path(field);
    if (!value.isIntegralNumber()
        || !value.canConvertToLong()
        || value.longValue() < min
        || value.longValue() > max) {
      throw wrong(field, "a whole number from " + min + " to " + max);
    }
    return value.longValue();
  }

  long bytes(String field) throws FieldException {
    return integer(field, 0, MOST_BYTES);
  }

  /** Milliseconds since 1970, or 0. */
  long time(String field) throws FieldException {
    return integer(field, 0, LAST_MILLIS);
  }

  boolean has(String field) {
    return !node.path(field).isMissingNode() && !node.path(field).isNull();
  }

  String text(String field, int least) throws FieldException {
    JsonNode value = node.path(field);
    if (!value.isString()
        || value.stringValue().length() < least
        || value.stringValue().length() > MOST_TEXT) {
      throw wrong(
          field, "a text of " + (least > 0 ? least + " to " : "at most ") + MOST_TEXT + " letters");
    }
    return value.stringValue();
  }

  /** One path segment: a name that leads nowhere else. */
  String word(String field) throws FieldException {
    String word = node.path(field).isString() ? node.path(field).stringValue() : "";
    if (word.isEmpty()
        || word.length() > 255
        || word.chars().anyMatch(c -> c <= ' ' || c == '/' || c == 0x7f)) {
      throw wrong(field, "a word");
    }
    return word;
  }

  String digest(String field) throws FieldException {
    JsonNode value = node.path(field);
    if (!value.isString() || !isDigest(value.stringValue())) {
      throw wrong(field, "a SHA-256 in hexadecimal");
    }
    return value.stringValue();
  }

  static boolean isDigest(String text) {
    return text.length() == 64
        && text.chars().allMatch(c -> (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
  }

  boolean flag(String field) throws FieldException {
    if (!node.path(field).isBoolean()) {
      throw wrong(field, "true or false");
    }
    return node.path(field).booleanValue();
  }

  <E extends Enum<E>> E choice(String field, Class<E> type) throws FieldException {
    JsonNode value = node.path(field);
    List<String> names = new ArrayList<>();
    for (E each : type.getEnumConstants()) {
      if (value.isString() && value.stringValue().equals(each.name())) {
        return each;
      }
      names.add(each.name());
    }
    throw wrong(field, "one of " + String.join(", ", names));
  }

  Fields object(String field) throws FieldException {
    if (!node.path(field).isObject()) {
      throw wrong(field, "an object");
    }
    return new Fields(node.path(field), name(field));
  }

  List<Fields> objects(String field) throws FieldException {
    if (!node.path(field).isArray()) {
      throw wrong(field, "a list");
    }
    List<Fields> objects = new ArrayList<>();
    for (JsonNode item : node.path(field)) {
      objects.add(new Fields(item, name(field) + "[" + objects.size() + "]"));
    }
    return objects;
  }

  List<String> texts(String field, int least) throws FieldException {
    List<String> texts = new ArrayList<>();
    for (JsonNode item : node.path(field)) {
      if (!item.isString()) {
        throw wrong(field, "a list of texts");
      }
      texts.add(item.stringValue());
    }
    if (!node.path(field).isArray() || texts.size() < least) {
      throw wrong(field, least > 0 ? "a list of one text or more" : "a list of texts");
    }
    return texts;
  }

  /** The names of the fields of an object that is a map. */
  Set<String> names(String field) throws FieldException {
    object(field);
    Set<String> names = new HashSet<>();
    for (Map.Entry<String, JsonNode> entry : node.path(field).properties()) {
      names.add(entry.getKey());
    }
    return names;
  }

  @Override
  public String toString() {
    return String.format(Locale.ROOT, "fields of %s", path.isEmpty() ? "a document" : path);
  }
}
