package org.lifeboat.s3;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class ObjectTagsTest {

  @Test
  void the_first_rule_that_matches_the_name_counts() {
    ObjectTags tags =
        ObjectTags.parse(
            "[.command.*|.exitcode|.fusion.*](nextflow.io/metadata=true),"
                + "[*](nextflow.io/temporary=true)");
    Optional<String> metadata = Optional.of("nextflow.io%2Fmetadata=true");
    Optional<String> temporary = Optional.of("nextflow.io%2Ftemporary=true");
    assertEquals(metadata, tags.header("work/ab/.command.log"));
    assertEquals(metadata, tags.header(".exitcode"));
    assertEquals(temporary, tags.header("work/.exitcode2"));
    assertEquals(temporary, tags.header("work/xcommand.log"));
    assertEquals(temporary, tags.header(".fusion/dump/1/manifest.json"));
    ObjectTags two = ObjectTags.parse("[?.txt](a=1&b c=2/3, d)");
    assertEquals(Optional.of("a=1&b+c=2%2F3&d="), two.header("x/y.txt"));
    assertEquals(Optional.empty(), two.header("x/yy.txt"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", " ", "false"})
  void no_tags(String text) {
    assertTrue(ObjectTags.parse(text).isEmpty());
    assertEquals(Optional.empty(), ObjectTags.parse(text).header("a"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"true", "[*]", "[*](a=1", "[*](=1)", "[*](a=1),x", "[*](a=1) [*](b=2)"})
  void nonsense_is_refused(String text) {
    assertThrows(IllegalArgumentException.class, () -> ObjectTags.parse(text));
  }
}
