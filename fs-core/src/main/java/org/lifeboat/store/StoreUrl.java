package org.lifeboat.store;

import java.net.URI;
import java.net.URISyntaxException;
import java.util.Locale;

/**
 * Where a store is: {@code file:///directory}, {@code s3://bucket/prefix} or {@code
 * gs://bucket/prefix}.
 *
 * @param scheme {@code file}, {@code s3} or {@code gs}
 * @param bucket the bucket; empty for {@code file}
 * @param path for {@code file} the absolute directory; otherwise the prefix without slashes at its
 *     ends, possibly empty
 */
public record StoreUrl(String scheme, String bucket, String path) {

  /**
   * @throws IllegalArgumentException with a message for the user when the text is no store URL
   */
  public static StoreUrl parse(String text) {
    String shown = withoutSecrets(text);
    URI uri;
    try {
      uri = new URI(text);
    } catch (URISyntaxException e) {
      throw new IllegalArgumentException("not a store URL: " + shown + " (" + e.getReason() + ")");
    }
    String scheme = uri.getScheme() == null ? "" : uri.getScheme().toLowerCase(Locale.ROOT);
    String path = uri.getPath() == null ? "" : uri.getPath();
    String authority = uri.getAuthority() == null ? "" : uri.getAuthority();
    if (uri.getQuery() != null || uri.getFragment() != null) {
      throw new IllegalArgumentException("not a store URL: " + shown + " (it has a ? or a #)");
    }
    for (String segment : path.split("/", -1)) {
      if (segment.equals(".") || segment.equals("..")) {
        throw new IllegalArgumentException(
            "not a store URL: " + shown + " (it has a " + segment + " segment)");
      }
    }
    switch (scheme) {
      case "file" -> {
        if (!authority.isEmpty() || !path.startsWith("/") || path.equals("/")) {
          throw new IllegalArgumentException(
              "not a store URL: " + shown + " (write file:///absolute/directory)");
        }
        return new StoreUrl("file", "", "/" + trim(path));
      }
      case "s3", "gs" -> {
        if (authority.isEmpty() || authority.contains("@") || authority.contains(":")) {
          throw new IllegalArgumentException(
              "not a store URL: " + shown + " (write " + scheme + "://bucket/prefix)");
        }
        return new StoreUrl(scheme, authority, trim(path));
      }
      default ->
          throw new IllegalArgumentException(
              "not a store URL: "
                  + shown
                  + " (write file:///directory, s3://bucket/prefix or gs://bucket/prefix)");
    }
  }

  /**
   * A URL as it may be shown: without what stands before an @ or behind a ?, where people put
   * passwords and signatures.
   */
  public static String withoutSecrets(String url) {
    String shown = url.replaceFirst("[?#].+", "?..");
    int at = shown.lastIndexOf('@');
    int scheme = shown.indexOf("://");
    int from = scheme >= 0 && scheme < at ? scheme + 3 : 0;
    return at < 0 ? shown : shown.substring(0, from) + ".." + shown.substring(at);
  }

  private static String trim(String path) {
    return String.join(
        "/", java.util.Arrays.stream(path.split("/")).filter(s -> !s.isEmpty()).toList());
  }

  /** The URL of an object below this store, for messages. */
  public String of(String key) {
    return this + "/" + key;
  }

  @Override
  public String toString() {
    if (scheme.equals("file")) {
      return "file://" + path;
    }
    return scheme + "://" + bucket + (path.isEmpty() ? "" : "/" + path);
  }
}
