package org.lifeboat.cache;

import static java.nio.charset.StandardCharsets.UTF_8;

/**
 * What a content is a copy of.
 *
 * @param object the object's full URL, as errors name it; at most 4096 bytes of UTF-8
 * @param version an opaque name of exactly these bytes, such as an ETag; at most 1024 bytes
 * @param size bytes, from 0 on
 */
public record Origin(String object, String version, long size) {

  static final int MAX_OBJECT = 4096;
  static final int MAX_VERSION = 1024;

  public Origin {
    if (object.getBytes(UTF_8).length > MAX_OBJECT
        || version.getBytes(UTF_8).length > MAX_VERSION) {
      throw new IllegalArgumentException("name or version too long: " + object + " " + version);
    }
    if (version.isEmpty() || size < 0) {
      throw new IllegalArgumentException(object + ": version '" + version + "', size " + size);
    }
  }
}
