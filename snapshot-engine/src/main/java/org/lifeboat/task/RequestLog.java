package org.lifeboat.task;

import static java.nio.charset.StandardCharsets.UTF_8;
import static java.nio.file.StandardOpenOption.CREATE;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Clock;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.lifeboat.receive.ReceivedPages;
import org.lifeboat.snapshot.DumpObserver;
import org.lifeboat.snapshot.SealedJson;
import org.lifeboat.store.ObservedStore;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import tools.jackson.databind.ObjectWriter;
import tools.jackson.databind.SerializationFeature;

/**
 * Every request to the store, and a dump's turning points among them: shows what was uploaded when,
 * and what a slow checkpoint waited for. Written where LIFEBOAT_REQUEST_LOG says, a line of JSON
 * each, in the order in which they ended; times are microseconds since 1970.
 *
 * <pre>
 *  {"startMicros":1795..,"endMicros":1795..,"operation":"part","key":"..","part":7,"bytes":8388608,"outcome":"ok"}
 *  {"atMicros":1795..,"event":"freezing","dump":1,"bytes":0}            CRIU is about to freeze the tree
 *  {"atMicros":1795..,"event":"received","dump":1,"bytes":2147..}       it has sent its last page; bytes of pages
 *  {"atMicros":1795..,"event":"committed","dump":1,"bytes":0}           the snapshot can be restored
 * </pre>
 *
 * The outcome is {@code ok} or the kind of the failure. A request that the client library repeated
 * by itself is one line. An existing file is appended to; a line is one write, so that runs may
 * share a file. That it can't be written is said once and disturbs nothing else. Thread-safe; it
 * lives as long as the process.
 */
final class RequestLog implements ObservedStore.Observer, DumpObserver {

  private static final Logger log = LoggerFactory.getLogger(RequestLog.class);

  static final String VARIABLE = "LIFEBOAT_REQUEST_LOG";

  private final Path file;
  private final FileOutputStream out;
  private final Clock clock;
  private final ObjectWriter json =
      SealedJson.mapper().writer().without(SerializationFeature.INDENT_OUTPUT);
  private boolean failed;

  RequestLog(Path file, Clock clock) throws IOException {
    this.file = file;
    this.clock = clock;
    FileChannel.open(
            file,
            Set.of(CREATE, WRITE),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")))
        .close();
    // not a channel: that is closed for all when one thread is interrupted in it
    this.out = new FileOutputStream(file.toFile(), true);
  }

  /**
   * The log that the environment asks for.
   *
   * @throws StoreException of kind INVALID when it can't be opened
   */
  static Optional<RequestLog> of(Map<String, String> environment) throws StoreException {
    String value = environment.getOrDefault(VARIABLE, "");
    if (value.isEmpty()) {
      return Optional.empty();
    }
    Path file = Path.of(value).toAbsolutePath();
    try {
      return Optional.of(new RequestLog(file, Clock.systemUTC()));
    } catch (IOException e) {
      throw new StoreException(
          StoreException.Kind.INVALID,
          "open",
          file.toString(),
          "the log of requests can't be written: " + Preflight.reason(e),
          "correct or unset " + VARIABLE,
          e);
    }
  }

  /** Where it is written. */
  Path file() {
    return file;
  }

  private record Request(
      long startMicros,
      long endMicros,
      String operation,
      String key,
      int part,
      long bytes,
      String outcome) {}

  private record Event(long atMicros, String event, int dump, long bytes) {}

  @Override
  public void done(ObservedStore.Done call) {
    long end = now();
    write(
        new Request(
            end - (call.endNanos() - call.startNanos()) / 1000,
            end,
            call.operation().name().toLowerCase(Locale.ROOT),
            call.key(),
            call.part(),
            call.bytes(),
            call.failure().map(RequestLog::word).orElse("ok")));
  }

  private static String word(Throwable failure) {
    return failure instanceof StoreException e
        ? e.kind().name().toLowerCase(Locale.ROOT)
        : failure.getClass().getSimpleName();
  }

  @Override
  public void freezing(int dump) {
    write(new Event(now(), "freezing", dump, 0));
  }

  @Override
  public void received(int dump, ReceivedPages pages) {
    write(new Event(now(), "received", dump, pages.rawBytes()));
  }

  @Override
  public void committed(int dump) {
    write(new Event(now(), "committed", dump, 0));
  }

  private long now() {
    return ChronoUnit.MICROS.between(Instant.EPOCH, clock.instant());
  }

  private synchronized void write(Record line) {
    if (failed) {
      return;
    }
    try {
      out.write((json.writeValueAsString(line) + "\n").getBytes(UTF_8));
    } catch (IOException e) {
      failed = true;
      log.warn("the log of requests {} ends here: {}", file, e.getMessage());
    }
  }
}
