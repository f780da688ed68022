package org.lifeboat.task;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.lifeboat.init.InitClient;
import org.lifeboat.init.InitException;
import org.lifeboat.snapshot.Census;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Stops the task's processes, and lets exactly those go again: who was stopped before stays so.
 * Which they are stands in a file before the first is stopped, for the engine may die meanwhile.
 *
 * <p>SIGSTOP and not a cgroup's freezer, which a run does not have everywhere. Never while CRIU is
 * at work: it would save the processes as stopped. Belongs to one thread.
 */
final class Hold {

  private static final Logger log = LoggerFactory.getLogger(Hold.class);

  private static final int SIGCONT = 18;
  private static final int SIGSTOP = 19;

  /** Each finds what the ones before had forked meanwhile. */
  private static final int ROUNDS = 100;

  /** Sends signals. */
  @FunctionalInterface
  interface Signals {
    void send(long pid, int signal) throws InitException;
  }

  private final Signals signals;
  private final Path file;

  /**
   * @param file in the run's directory
   */
  Hold(Signals signals, Path file) {
    this.signals = signals;
    this.file = file;
  }

  boolean held() {
    return Files.exists(file);
  }

  /**
   * Stops all that run.
   *
   * @return how many there were
   */
  int stop(long root) throws IOException {
    Set<Long> stopped = new LinkedHashSet<>();
    for (int round = 0; round < ROUNDS; round++) {
      List<Long> running = new ArrayList<>(Census.take().running(root));
      running.removeAll(stopped);
      if (running.isEmpty()) {
        break;
      }
      write(running);
      for (long pid : running) {
        send(pid, SIGSTOP);
        stopped.add(pid);
      }
    }
    return stopped.size();
  }

  private void write(List<Long> pids) throws IOException {
    if (!held()) {
      Files.createFile(
          file, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    }
    Files.write(
        file, pids.stream().map(pid -> Long.toString(pid)).toList(), StandardOpenOption.APPEND);
  }

  /** Lets go what was stopped, also by an engine before this one. */
  void release() throws IOException {
    if (!held()) {
      return;
    }
    for (String line : Files.readAllLines(file)) {
      if (line.matches("[1-9][0-9]{0,9}")) { // the last one may be torn
        send(Long.parseLong(line), SIGCONT);
      }
    }
    Files.delete(file);
  }

  private void send(long pid, int signal) throws InitException {
    try {
      signals.send(pid, signal);
    } catch (InitException e) {
      if (e.errno() != InitClient.ESRCH) {
        throw e;
      }
      log.debug("process {} has ended", pid);
    }
  }
}
