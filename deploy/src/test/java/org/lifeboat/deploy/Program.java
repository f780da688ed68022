package org.lifeboat.deploy;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;
import java.util.regex.Pattern;

/**
 * A program under way on a host, and every line that it has printed. Waits are for lines or for its
 * end, never for a time; their limit only keeps a broken test from hanging, and what was printed so
 * far is in the error. Thread-safe.
 */
final class Program {

  /** Generous: the machines that run this are small, and shared. */
  static final Duration LIMIT = Duration.ofSeconds(90);

  private final String name;
  private final Process process;
  private final List<String> out = new ArrayList<>();
  private final List<String> err = new ArrayList<>();
  private int open = 2;

  Program(String name, Process process, Path folder) throws IOException {
    this.name = name;
    this.process = process;
    read(process.getInputStream(), out, folder.resolve(name + ".out"));
    read(process.getErrorStream(), err, folder.resolve(name + ".err"));
  }

  private void read(InputStream stream, List<String> lines, Path copy) throws IOException {
    Writer writer = Files.newBufferedWriter(copy);
    Thread.ofVirtual()
        .start(
            () -> {
              try (writer;
                  BufferedReader reader =
                      new BufferedReader(new InputStreamReader(stream, StandardCharsets.UTF_8))) {
                for (String line = reader.readLine(); line != null; line = reader.readLine()) {
                  writer.write(line + "\n");
                  writer.flush();
                  synchronized (this) {
                    lines.add(line);
                    notifyAll();
                  }
                }
              } catch (IOException e) {
                throw new UncheckedIOException(e);
              } finally {
                synchronized (this) {
                  open--;
                  notifyAll();
                }
              }
            });
  }

  /** Waits for the end and for the last line; returns the exit code. */
  int await() throws InterruptedException {
    long limit = System.nanoTime() + LIMIT.toNanos();
    synchronized (this) {
      while (open > 0 && System.nanoTime() < limit) {
        wait(500);
      }
    }
    if (open > 0 || !process.waitFor(LIMIT)) {
      throw new AssertionError(name + " does not end\n" + this);
    }
    return process.exitValue();
  }

  /** Waits for the end, which must have this exit code. */
  Program expect(int code) throws InterruptedException {
    int found = await();
    if (found != code) {
      throw new AssertionError(name + " ended with " + found + ", expected " + code + "\n" + this);
    }
    return this;
  }

  /** Waits for a line on stdout or stderr in which the pattern is found, and returns it. */
  String awaitLine(String pattern) throws InterruptedException {
    return awaitLine(pattern, 1);
  }

  /** Waits for the n-th such line. */
  String awaitLine(String pattern, int n) throws InterruptedException {
    Predicate<String> found = Pattern.compile(pattern).asPredicate();
    long limit = System.nanoTime() + LIMIT.toNanos();
    synchronized (this) {
      while (true) {
        List<String> lines = matching(found);
        if (lines.size() >= n) {
          return lines.get(n - 1);
        }
        if (open == 0 || System.nanoTime() > limit) {
          throw new AssertionError(
              name + " never printed a line " + n + " like '" + pattern + "'\n" + this);
        }
        wait(500);
      }
    }
  }

  private List<String> matching(Predicate<String> found) {
    List<String> lines = new ArrayList<>(out.stream().filter(found).toList());
    lines.addAll(err.stream().filter(found).toList());
    return lines;
  }

  /** The lines so far, of both streams, in which the pattern is found. */
  synchronized List<String> lines(String pattern) {
    return matching(Pattern.compile(pattern).asPredicate());
  }

  synchronized List<String> out() {
    return List.copyOf(out);
  }

  synchronized String text() {
    return String.join("\n", out);
  }

  /** Sends a signal to the program itself. */
  void signal(String signal) throws IOException, InterruptedException {
    Host.command("kill", "-" + signal, Long.toString(process.pid()));
  }

  boolean running() {
    return process.isAlive();
  }

  Process process() {
    return process;
  }

  @Override
  public synchronized String toString() {
    return "--- stdout of "
        + name
        + "\n"
        + last(out)
        + "\n--- stderr of "
        + name
        + "\n"
        + last(err);
  }

  private static String last(List<String> lines) {
    return String.join("\n", lines.subList(Math.max(0, lines.size() - 60), lines.size()));
  }
}
