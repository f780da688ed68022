package org.lifeboat.files;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.ZstdInputStream;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.Fuzz;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Libc;

/**
 * A file manifest whose lines lie and whose footer vouches for them, and a baseline likewise: each
 * is read or refused, in bounded memory, and no roll-back that begins does more than it says.
 */
class FilesFuzzTest {

  @TempDir Path temp;
  private Task task;
  private byte[] manifest;

  @BeforeEach
  void capture() throws Exception {
    task = new Task(temp);
    Path work = Path.of(task.work.toString());
    Files.writeString(work.resolve("same"), "same");
    task.start();
    task.tick();
    Files.writeString(work.resolve("a"), "a".repeat(5000));
    byte[] noise = new byte[1_500_000];
    new SplittableRandom(1).nextBytes(noise);
    Files.write(work.resolve("noise"), noise);
    Files.createLink(work.resolve("link"), work.resolve("a"));
    Files.createSymbolicLink(work.resolve("symlink"), Path.of("a"));
    Files.createDirectory(work.resolve("folder"));
    Libc.setXattr(task.work.resolve("a"), "user.k".getBytes(UTF_8), new byte[] {1});
    manifest = unpack(Files.newInputStream(task.capture("m").manifest()));
  }

  private static byte[] unpack(InputStream packed) throws IOException {
    try (ZstdInputStream in = new ZstdInputStream(packed)) {
      return in.readAllBytes();
    }
  }

  private static final String[] VALUES = {
    "-1",
    "0",
    "2147483647",
    "2147483648",
    "9223372036854775807",
    "99999999999999999999",
    "1.5",
    "1e9",
    "true",
    "null",
    "[]",
    "{}",
    "\"\"",
    "\"/\"",
    "\"/../etc/passwd\"",
    "\"+1000000000-12-31T23:59:59.999999999Z\"",
    "\"-1000000000-01-01T00:00:00Z\"",
    "\"deleted\"",
    "\"directory\"",
    "\"link\""
  };

  /** Replaces a value of the line, whatever it is. */
  private static String edit(Random random, String line) {
    List<Integer> colons = new ArrayList<>();
    for (int i = line.indexOf("\":"); i >= 0; i = line.indexOf("\":", i + 1)) {
      colons.add(i + 2);
    }
    if (colons.isEmpty()) {
      return line;
    }
    int from = colons.get(random.nextInt(colons.size()));
    int to = from;
    while (to < line.length() && line.charAt(to) != ',' && line.charAt(to) != '}') {
      to++;
    }
    return line.substring(0, from) + VALUES[random.nextInt(VALUES.length)] + line.substring(to);
  }

  @Test
  void manifests() {
    Path bad = temp.resolve("bad");
    BytePath elsewhere = BytePath.of(temp.resolve("elsewhere"));
    int[] refused = {0};
    Fuzz.run(
        "files.manifest",
        800,
        24 << 20,
        random -> {
          List<String> lines =
              new ArrayList<>(Arrays.asList(new String(manifest, ISO_8859_1).split("\n")));
          for (int n = 1 + random.nextInt(2); n > 0; n--) {
            int at = random.nextInt(lines.size());
            switch (random.nextInt(6)) {
              case 0 -> lines.remove(at);
              case 1 -> lines.add(random.nextInt(lines.size()), lines.get(at));
              case 2 -> Collections.swap(lines, at, random.nextInt(lines.size()));
              case 3 ->
                  lines.set(
                      at,
                      new String(
                          Fuzz.mutate(random, lines.get(at).getBytes(ISO_8859_1), 2), ISO_8859_1));
              default -> lines.set(at, edit(random, lines.get(at)));
            }
            if (lines.isEmpty()) {
              lines.add("");
            }
          }
          String text = String.join("\n", lines) + "\n";
          int footer = text.lastIndexOf("{\"kind\":\"end\"");
          if (footer > 0) {
            byte[] body = text.substring(0, footer).getBytes(ISO_8859_1);
            String sum =
                HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(body));
            text =
                text.substring(0, footer) + text.substring(footer).replaceAll("[0-9a-f]{64}", sum);
          }
          byte[] packed = Zstd.compress(text.getBytes(ISO_8859_1), 1);
          Files.write(bad, random.nextInt(10) == 0 ? Fuzz.mutate(random, packed, 2) : packed);
          try {
            Manifest loaded = Manifest.load(bad);
            new RollBack(loaded, task.pack, elsewhere, 1).plan();
          } catch (FilesException e) {
            assertTrue(e.getMessage().length() > 20, e.getMessage());
            refused[0]++;
          }
        });
    assertTrue(refused[0] > 300 || Long.getLong("lifeboat.seed") != null, refused[0] + " refused");
  }

  @Test
  void baselines() throws Exception {
    byte[] whole = Files.readAllBytes(temp.resolve("baseline"));
    byte[] good = unpack(new ByteArrayInputStream(whole, 8, whole.length - 8));
    Path bad = temp.resolve("bad");
    int[] refused = {0};
    Fuzz.run(
        "baseline",
        1_500,
        8 << 20,
        random -> {
          byte[] packed = Zstd.compress(Fuzz.mutate(random, good, 3), 1);
          byte[] bytes = Arrays.copyOf(whole, 8 + packed.length);
          System.arraycopy(packed, 0, bytes, 8, packed.length);
          Files.write(bad, random.nextInt(10) == 0 ? Fuzz.mutate(random, bytes, 2) : bytes);
          try {
            Baseline.load(bad);
          } catch (FilesException e) {
            assertTrue(e.getMessage().contains(bad.toString()), e.getMessage());
            refused[0]++;
          }
        });
    assertTrue(refused[0] > 300 || Long.getLong("lifeboat.seed") != null, refused[0] + " refused");
  }
}
