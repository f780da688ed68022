package org.lifeboat.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

/** The short way through the command line of run agrees with picocli, or leaves it to it. */
final class PlainRunTest {

  private static final String[] WORDS = {
    "--store",
    "file:///a/b%20c",
    "s3://bucket/k",
    "nonsense",
    "--every",
    "5m",
    "90",
    "never",
    "--keep",
    "3",
    "0",
    "--preserve",
    "/x",
    "relative/y",
    "--after-dump",
    "exit",
    "park",
    "--fresh",
    "--takeover",
    "--",
    "true",
    "-c",
    "",
    "--help",
    "--store=file:///z",
    "--unknown",
    "@file",
  };

  private static Optional<RunCommand> plain(List<String> args) {
    return RunCommand.plain(Map.of(), args.toArray(String[]::new));
  }

  private static RunCommand byPicocli(List<String> args) {
    CommandLine.ParseResult parsed = Main.line().parseArgs(args.toArray(String[]::new));
    return (RunCommand) parsed.subcommand().commandSpec().userObject();
  }

  @Test
  void readsEveryOption() {
    List<String> args =
        List.of(
            "run",
            "--store",
            "file:///a/b%20c",
            "--every",
            "5m",
            "--keep",
            "7",
            "--preserve",
            "/x",
            "--preserve",
            "y",
            "--after-dump",
            "park",
            "--fresh",
            "--takeover",
            "--",
            "sh",
            "-c",
            "--",
            "--store");
    assertEquals(byPicocli(args).toString(), plain(args).orElseThrow().toString());
  }

  @Test
  void agreesWithPicocliWhereItDecides() {
    Random random = new Random(7);
    int decided = 0;
    for (int i = 0; i < 20_000; i++) {
      List<String> args = new ArrayList<>(List.of("run", "--store", "s3://bucket/k"));
      for (int n = random.nextInt(8); n > 0; n--) {
        args.add(WORDS[random.nextInt(WORDS.length)]);
      }
      args.addAll(List.of("--", "true"));
      Optional<RunCommand> plain = plain(args);
      if (plain.isPresent()) {
        decided++;
        assertEquals(byPicocli(args).toString(), plain.get().toString(), args::toString);
      }
    }
    assertTrue(decided > 1000, decided + " of 20000");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "list --store s3://b/k -- x",
        "run",
        "run --store s3://b/k",
        "run --store s3://b/k --",
        "run --store s3://b/k true",
        "run -- true",
        "run --help -- true",
        "run --store --fresh -- true",
        "run --store ftp://b/k -- true",
        "run --store s3://b/k --every never -- true",
        "run --store s3://b/k --keep 0 -- true",
        "run --store s3://b/k --keep many -- true",
        "run --store s3://b/k --after-dump sleep -- true",
        "run --store s3://b/k --store s3://b/l -- true",
        "run --store s3://b/k --unknown -- true",
        "run --store=s3://b/k -- true",
      })
  void leavesTheRestToPicocli(String line) {
    assertFalse(plain(List.of(line.split(" "))).isPresent());
  }
}
