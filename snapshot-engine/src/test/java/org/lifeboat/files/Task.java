package org.lifeboat.files;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.Collection;
import java.util.List;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Libc;

/** A task's directories below one of the test's, with what capture and roll-back need. */
final class Task {

  /** So late that no file counts as changed within the scan's tick. */
  private static final Clock LATER = Clock.offset(Clock.systemUTC(), Duration.ofHours(1));

  final Path temp;
  final BytePath home;
  final BytePath work;
  final BytePath scratch;
  final Scope scope;
  final PackFile pack;
  Baseline baseline;

  Task(Path temp) throws Exception {
    this.temp = temp;
    home = BytePath.of(Files.createDirectories(temp.resolve("home")).toRealPath());
    work = home.resolve("work");
    scratch = home.resolve("scratch");
    Libc.mkdir(work, 0755);
    Libc.mkdir(scratch, 01777);
    scope = Scope.of(work, List.of(scratch), List.of(), List.of());
    pack = new PackFile(temp.resolve("0.pack"));
  }

  Baseline start() throws Exception {
    baseline = Baseline.scan(scope, temp.resolve("baseline"), LATER);
    return baseline;
  }

  CaptureResult capture(String name, Integer... pids) throws Exception {
    return capture(name, baseline, List.of(pids));
  }

  CaptureResult capture(String name, Baseline against, Collection<Integer> pids) throws Exception {
    return new Capture(scope, against, pack, Clock.systemUTC(), 2).run(pids, temp.resolve(name));
  }

  RollBack rollBack(CaptureResult captured, BytePath prefix) throws Exception {
    return new RollBack(Manifest.load(captured.manifest()), pack, prefix, 2);
  }

  /** Waits until the clock that stamps files has moved on: what follows is later. */
  void tick() throws Exception {
    Path probe = temp.resolve("probe");
    Files.writeString(probe, "a");
    Instant first = Libc.lstat(BytePath.of(probe)).ctime();
    Instant now = first;
    while (!now.isAfter(first.plus(Baseline.TICK))) {
      Files.writeString(probe, now.toString());
      now = Libc.lstat(BytePath.of(probe)).ctime();
    }
  }

  BytePath empty(String name) throws Exception {
    return BytePath.of(Files.createDirectories(temp.resolve(name)));
  }

  static Clock at(Instant instant) {
    return Clock.fixed(instant, ZoneOffset.UTC);
  }
}
