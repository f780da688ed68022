package org.lifeboat.s3;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.net.URLEncoder;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The tags that objects get by their names, as Nextflow hands them over in {@code FUSION_TAGS}:
 *
 * <pre>
 * [.command.*|.exitcode|.fusion.*](nextflow.io/metadata=true),[*](nextflow.io/temporary=true)
 * </pre>
 *
 * <p>Each rule has patterns of file names ({@code *} stands for anything, {@code ?} for one
 * character) and tags, of which there may be several with {@code &} or {@code ,} between them. The
 * first rule that matches the last segment of a key counts. Empty or {@code false} means no tags.
 */
final class ObjectTags {

  private static final Pattern RULE =
      Pattern.compile("\\[([^\\]]*)\\]\\(([^)]*)\\)\\s*(?:,\\s*|$)");

  private record Rule(List<Pattern> names, String header) {}

  private final List<Rule> rules;

  private ObjectTags(List<Rule> rules) {
    this.rules = rules;
  }

  /**
   * @throws IllegalArgumentException with a message for the user
   */
  static ObjectTags parse(String text) {
    String rest = text.strip();
    if (rest.isEmpty() || rest.equals("false")) {
      return new ObjectTags(List.of());
    }
    List<Rule> rules = new ArrayList<>();
    Matcher matcher = RULE.matcher(rest);
    int end = 0;
    while (end < rest.length()) {
      if (!matcher.find(end) || matcher.start() != end) {
        throw new IllegalArgumentException(
            "not [PATTERN|...](KEY=VALUE),...: " + rest.substring(end));
      }
      List<Pattern> names = new ArrayList<>();
      for (String glob : matcher.group(1).split("\\|", -1)) {
        names.add(glob(glob.strip()));
      }
      rules.add(new Rule(names, encode(matcher.group(2))));
      end = matcher.end();
    }
    return new ObjectTags(rules);
  }

  private static Pattern glob(String glob) {
    StringBuilder regex = new StringBuilder();
    for (int i = 0; i < glob.length(); i++) {
      char c = glob.charAt(i);
      regex.append(
          switch (c) {
            case '*' -> ".*";
            case '?' -> ".";
            default -> Pattern.quote(String.valueOf(c));
          });
    }
    return Pattern.compile(regex.toString(), Pattern.DOTALL);
  }

  private static String encode(String tags) {
    List<String> encoded = new ArrayList<>();
    for (String tag : tags.split("[,&]", -1)) {
      int equals = tag.indexOf('=');
      String name = (equals < 0 ? tag : tag.substring(0, equals)).strip();
      if (name.isEmpty()) {
        throw new IllegalArgumentException("a tag without a name: " + tags);
      }
      String value = equals < 0 ? "" : tag.substring(equals + 1).strip();
      encoded.add(URLEncoder.encode(name, UTF_8) + "=" + URLEncoder.encode(value, UTF_8));
    }
    return String.join("&", encoded);
  }

  boolean isEmpty() {
    return rules.isEmpty();
  }

  /** The value of the x-amz-tagging header for an object. */
  Optional<String> header(String key) {
    String name = key.substring(key.lastIndexOf('/') + 1);
    return rules.stream()
        .filter(rule -> rule.names.stream().anyMatch(p -> p.matcher(name).matches()))
        .map(Rule::header)
        .findFirst();
  }
}
