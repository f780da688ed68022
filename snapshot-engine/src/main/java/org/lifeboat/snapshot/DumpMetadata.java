package org.lifeboat.snapshot;

import static java.util.Objects.requireNonNull;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;

/**
 * The object {@code .fusion/dump/dump_metadata}: the one place where it is decided what exists. A
 * snapshot is restorable from the moment on in which a conditional write makes its state here
 * COMPLETE, and not before; everything else in the store is either vouched for from here, by
 * digest, or is rubbish.
 *
 * <p>Times are milliseconds since 1970, UTC.
 *
 * @param format the version of this format: {@value #FORMAT}
 * @param epoch raised by every run that takes the store over; a run whose epoch is no longer here
 *     has lost it
 * @param nonce a random word of the write that made this document, so that a writer whose reply was
 *     lost can tell whether it won
 * @param owner who writes here now
 * @param command what the task's snapshots are of
 * @param directory the task's working directory
 * @param task how the task stands
 * @param dumps all dumps, in the order of their ids
 */
public record DumpMetadata(
    int format,
    long epoch,
    String nonce,
    Owner owner,
    List<String> command,
    String directory,
    Task task,
    List<Dump> dumps) {

  public static final int FORMAT = 1;

  public DumpMetadata {
    requireNonNull(owner, "owner is null");
    command = List.copyOf(command);
    dumps = List.copyOf(dumps);
  }

  /**
   * A run that owns or owned the store.
   *
   * @param id random; no two runs share it
   * @param attempt the attempt number that the batch system gave, 0 without one
   * @param released true when it ended by itself, so that nobody needs to wait for it
   */
  public record Owner(
      String id, String host, long pid, int attempt, long since, boolean released) {}

  /**
   * How the task stands.
   *
   * @param generation counts the fresh starts of the command, from 1; snapshots of an earlier
   *     generation are not restored
   */
  public record Task(TaskState state, Integer exitCode, long since, int generation) {}

  /** Whether the owner has this dump under way, or was taken with its host meanwhile. */
  public boolean underWay(Dump dump) {
    return dump.state() == DumpState.DUMPING && dump.epoch() == epoch && !owner.released();
  }

  /** Whether the task of this generation goes on. */
  public enum TaskState {
    ACTIVE,
    ENDED
  }

  /**
   * One dump.
   *
   * @param id its number, from 1; its objects stand below {@code .fusion/dump/<id>/}
   * @param parent the dump that it builds on, when it is incremental
   * @param deadline when it must be committed or is given up; 0 without one
   * @param manifestSize the size of its manifest in bytes, once COMPLETE
   * @param manifestSha256 the digest of its manifest, once COMPLETE
   * @param error why it failed, in words
   */
  public record Dump(
      int id,
      DumpType type,
      DumpState state,
      Integer parent,
      int generation,
      int attempt,
      long epoch,
      long startedAt,
      long deadline,
      long endedAt,
      long rawBytes,
      long storedBytes,
      long frozenMicros,
      long manifestSize,
      String manifestSha256,
      String error) {

    /** Whether a restore may use it. */
    public boolean restorable() {
      return type == DumpType.FULL
          && (state == DumpState.COMPLETE
              || state == DumpState.RESTORING
              || state == DumpState.RESTORED)
          && manifestSha256 != null;
    }

    Dump with(DumpState next) {
      return new Dump(
          id,
          type,
          next,
          parent,
          generation,
          attempt,
          epoch,
          startedAt,
          deadline,
          endedAt,
          rawBytes,
          storedBytes,
          frozenMicros,
          manifestSize,
          manifestSha256,
          error);
    }

    Dump complete(long at, Manifest manifest, long size, String sha256) {
      return new Dump(
          id,
          type,
          DumpState.COMPLETE,
          parent,
          generation,
          attempt,
          epoch,
          startedAt,
          deadline,
          at,
          manifest.rawBytes(),
          manifest.storedBytes(),
          manifest.frozenMicros(),
          size,
          sha256,
          null);
    }

    Dump failed(String why, long at) {
      return new Dump(
          id,
          type,
          DumpState.FAILED,
          parent,
          generation,
          attempt,
          epoch,
          startedAt,
          deadline,
          at,
          rawBytes,
          storedBytes,
          frozenMicros,
          manifestSize,
          manifestSha256,
          why);
    }
  }

  /** What a dump holds. */
  public enum DumpType {
    PRE,
    FULL
  }

  /** Where a dump stands. */
  public enum DumpState {
    DUMPING,
    COMPLETE,
    FAILED,
    RESTORING,
    RESTORED
  }

  /** The dumps that a restore may use, newest first; none once the task has ended. */
  public List<Dump> restorable() {
    if (task.state() == TaskState.ENDED) {
      return List.of();
    }
    return dumps.stream()
        .filter(dump -> dump.restorable() && dump.generation() == task.generation())
        .sorted(Comparator.comparingInt(Dump::id).reversed())
        .toList();
  }

  public Optional<Dump> dump(int id) {
    return dumps.stream().filter(dump -> dump.id() == id).findFirst();
  }

  int nextId() {
    return dumps.stream().mapToInt(Dump::id).max().orElse(0) + 1;
  }

  DumpMetadata withNonce(String next) {
    return new DumpMetadata(format, epoch, next, owner, command, directory, task, dumps);
  }

  DumpMetadata withOwner(long nextEpoch, Owner next) {
    return new DumpMetadata(format, nextEpoch, nonce, next, command, directory, task, dumps);
  }

  public DumpMetadata released() {
    return withOwner(
        epoch,
        new Owner(owner.id(), owner.host(), owner.pid(), owner.attempt(), owner.since(), true));
  }

  public DumpMetadata withTask(Task next, List<String> nextCommand, String nextDirectory) {
    return new DumpMetadata(format, epoch, nonce, owner, nextCommand, nextDirectory, next, dumps);
  }

  public DumpMetadata withTask(Task next) {
    return withTask(next, command, directory);
  }

  DumpMetadata adding(Dump dump) {
    List<Dump> next = new ArrayList<>(dumps);
    next.add(dump);
    return new DumpMetadata(format, epoch, nonce, owner, command, directory, task, next);
  }

  DumpMetadata changing(int id, UnaryOperator<Dump> change) {
    return new DumpMetadata(
        format,
        epoch,
        nonce,
        owner,
        command,
        directory,
        task,
        dumps.stream().map(dump -> dump.id() == id ? change.apply(dump) : dump).toList());
  }

  DumpMetadata without(int id) {
    return new DumpMetadata(
        format,
        epoch,
        nonce,
        owner,
        command,
        directory,
        task,
        dumps.stream().filter(dump -> dump.id() != id).toList());
  }
}
