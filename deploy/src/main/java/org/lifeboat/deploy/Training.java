package org.lifeboat.deploy;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import org.lifeboat.cli.Main;
import picocli.CommandLine;

/**
 * What the build runs once to make the AOT cache: the JVM remembers the classes that are loaded
 * here and starts with them. So this walks through what every command does at its start, in one JVM
 * (a cache is made from one run), on a machine that may have neither root nor CRIU. It is part of
 * the distribution because the class path of a run must begin with that of the training.
 */
public final class Training {

  private Training() {}

  /** Takes no arguments; ends with an exception when a command does not do what it should. */
  public static void main(String[] args) throws IOException {
    Path store = Files.createTempDirectory("lifeboat-training-");
    String url = store.toUri().toString();
    try {
      expect(0, "--version");
      expect(0, "--help");
      expect(0, "run", "--help");
      expect(2, "run");
      expect(0, "list", "--store", url);
      expect(0, "list", "--store", url, "--json");
    } finally {
      Files.delete(store);
    }
  }

  private static void expect(int exitCode, String... command) {
    StringWriter output = new StringWriter();
    PrintWriter printer = new PrintWriter(output);
    int code = new CommandLine(new Main()).setOut(printer).setErr(printer).execute(command);
    if (code != exitCode) {
      throw new IllegalStateException(
          String.join(" ", command) + " ended with " + code + ", not " + exitCode + ":\n" + output);
    }
  }
}
