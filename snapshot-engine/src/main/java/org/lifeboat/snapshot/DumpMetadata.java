package org.lifeboat.snapshot;

import static java.util.Objects.requireNonNull;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
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
 * @param lastId the highest id that a dump ever had, also one that is not listed any more: an id is
 *     never given twice, so that whoever still writes or removes what is of an old one cannot hurt
 *     a new one
 */
public record DumpMetadata(
    int format,
    long epoch,
    String nonce,
    Owner owner,
    List<String> command,
    String directory,
    Task task,
    List<Dump> dumps,
    Integer lastId) {

  public static final int FORMAT = 1;

  /** How many dumps that cannot be restored stay listed. */
  private static final int HISTORY = 50;

  public DumpMetadata {
    requireNonNull(owner, "owner is null");
    command = List.copyOf(command);
    dumps = List.copyOf(dumps);
    int highest = dumps.stream().mapToInt(Dump::id).max().orElse(0);
    lastId = Math.max(highest, lastId == null ? 0 : lastId);
  }

  /** A document whose highest id is that of a dump that it lists. */
  public DumpMetadata(
      int format,
      long epoch,
      String nonce,
      Owner owner,
      List<String> command,
      String directory,
      Task task,
      List<Dump> dumps) {
    this(format, epoch, nonce, owner, command, directory, task, dumps, null);
  }

  /** What a person who edits the document may do to a number that everything counts from. */
  private static final int MOST_DUMPS = 1_000_000_000;

  private static final long MOST_EPOCHS = 1L << 52;

  /**
   * Reads the document and trusts no field of it.
   *
   * @param what its URL, for the message
   * @throws SnapshotException of kind DAMAGED or NEWER_FORMAT
   */
  public static DumpMetadata read(byte[] bytes, String what) throws SnapshotException {
    return SealedJson.read(bytes, DumpMetadata.class, what, FORMAT, DumpMetadata::check);
  }

  private static void check(Fields document) throws Fields.FieldException {
    long epoch = document.integer("epoch", 1, MOST_EPOCHS);
    document.text("nonce", 0);
    Fields owner = document.object("owner");
    owner.word("id");
    owner.text("host", 0);
    owner.integer("pid", 0, Integer.MAX_VALUE);
    owner.integer("attempt", 0, Integer.MAX_VALUE);
    owner.time("since");
    owner.flag("released");
    document.texts("command", 0);
    document.text("directory", 0);
    Fields task = document.object("task");
    TaskState state = task.choice("state", TaskState.class);
    task.time("since");
    long generation = task.integer("generation", 0, MOST_DUMPS);
    if (state == TaskState.ENDED || task.has("exitCode")) {
      task.integer("exitCode", 0, 255);
    }
    Set<Long> ids = new HashSet<>();
    for (Fields dump : document.objects("dumps")) {
      if (!ids.add(checkDump(dump, epoch, generation))) {
        throw dump.wrong("id", "another than that of an earlier dump");
      }
    }
    if (document.has("lastId")) {
      document.integer("lastId", 0, MOST_DUMPS);
    }
  }

  private static long checkDump(Fields dump, long epoch, long generation)
      throws Fields.FieldException {
    long id = dump.integer("id", 1, MOST_DUMPS);
    dump.choice("type", DumpType.class);
    DumpState state = dump.choice("state", DumpState.class);
    if (dump.has("parent")) {
      dump.integer("parent", 1, id - 1);
    }
    dump.integer("generation", 0, generation);
    dump.integer("attempt", 0, Integer.MAX_VALUE);
    dump.integer("epoch", 1, epoch);
    dump.time("startedAt");
    dump.time("deadline");
    dump.time("endedAt");
    dump.bytes("rawBytes");
    dump.bytes("storedBytes");
    dump.integer("frozenMicros", 0, Fields.LAST_MILLIS * 1000);
    boolean committed = state != DumpState.DUMPING && state != DumpState.FAILED;
    if (committed || dump.has("manifestSha256")) {
      dump.digest("manifestSha256");
    }
    dump.integer("manifestSize", committed ? 1 : 0, Integer.MAX_VALUE);
    if (dump.has("error")) {
      dump.text("error", 0);
    }
    if (dump.has("packs")) {
      dump.word("packs");
    }
    return id;
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

  /**
   * Writes one and throws it away: the first time takes 50 ms, of what describes the fields to
   * Jackson and of its code, which can go by while something else is waited for.
   *
   * @return how many bytes
   */
  public static int prepare() {
    Owner owner = new Owner("", "", 0, 0, 0, false);
    Task task = new Task(TaskState.ACTIVE, null, 0, 1);
    return SealedJson.write(
            new DumpMetadata(FORMAT, 1, "", owner, List.of("true"), "/", task, List.of()))
        .length;
  }

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
   * @param error why it failed, or why a restore had to pass it over, in words
   * @param packs what the names of its packs begin with; null in documents that an older version
   *     wrote
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
      String error,
      String packs) {

    /** A dump whose packs are not known by name. */
    public Dump(
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
      this(
          id,
          type,
          state,
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
          error,
          null);
    }

    /** Whether a restore may use it. */
    public boolean restorable() {
      return type == DumpType.FULL
          && (state == DumpState.COMPLETE
              || state == DumpState.RESTORING
              || state == DumpState.RESTORED)
          && manifestSha256 != null;
    }

    /** Whether a restore may use it and none has had to pass it over. */
    public boolean sound() {
      return restorable() && error == null;
    }

    Dump with(DumpState next) {
      return with(next, error);
    }

    /** Committed as it is, but a restore could not use it and took an older one. */
    Dump passedOver(String why) {
      return with(state, brief("a restore passed it over: " + why));
    }

    /** A task goes on from it: whatever was said of it before is refuted. */
    Dump restored() {
      return with(DumpState.RESTORED, null);
    }

    /** The document is read often, and has to stay readable. */
    private static String brief(String why) {
      return why.length() <= 2000 ? why : why.substring(0, 2000) + "...";
    }

    private Dump with(DumpState next, String why) {
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
          why,
          packs);
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
          null,
          packs);
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
          brief(why),
          packs);
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
    return lastId + 1;
  }

  /**
   * The snapshots that a run which keeps {@code keep} does not need any more: those that are older
   * than that many sound ones. One that a restore had to pass over does not count, and goes when it
   * has become as old as the others.
   */
  List<Dump> surplus(int keep) {
    List<Dump> surplus = new ArrayList<>();
    int sound = 0;
    for (Dump dump : restorable()) {
      if (sound >= keep) {
        surplus.add(dump);
      } else if (dump.sound()) {
        sound++;
      }
    }
    return surplus;
  }

  /**
   * Of the dumps that cannot be restored only the newest stay listed. That an old one goes costs
   * its record only: what it has in the store is found without.
   */
  DumpMetadata forgetting() {
    List<Dump> candidates = restorable();
    List<Dump> history =
        dumps.stream().filter(dump -> !candidates.contains(dump) && !underWay(dump)).toList();
    if (history.size() <= HISTORY) {
      return this;
    }
    List<Dump> old = history.subList(0, history.size() - HISTORY);
    return withDumps(dumps.stream().filter(dump -> !old.contains(dump)).toList());
  }

  DumpMetadata withNonce(String next) {
    return new DumpMetadata(format, epoch, next, owner, command, directory, task, dumps, lastId);
  }

  DumpMetadata withOwner(long nextEpoch, Owner next) {
    return new DumpMetadata(
        format, nextEpoch, nonce, next, command, directory, task, dumps, lastId);
  }

  public DumpMetadata released() {
    return withOwner(
        epoch,
        new Owner(owner.id(), owner.host(), owner.pid(), owner.attempt(), owner.since(), true));
  }

  public DumpMetadata withTask(Task next, List<String> nextCommand, String nextDirectory) {
    return new DumpMetadata(
        format, epoch, nonce, owner, nextCommand, nextDirectory, next, dumps, lastId);
  }

  public DumpMetadata withTask(Task next) {
    return withTask(next, command, directory);
  }

  DumpMetadata adding(Dump dump) {
    List<Dump> next = new ArrayList<>(dumps);
    next.add(dump);
    return withDumps(next);
  }

  private DumpMetadata withDumps(List<Dump> next) {
    return new DumpMetadata(format, epoch, nonce, owner, command, directory, task, next, lastId);
  }

  DumpMetadata changing(int id, UnaryOperator<Dump> change) {
    return withDumps(
        dumps.stream().map(dump -> dump.id() == id ? change.apply(dump) : dump).toList());
  }

  /** As a newcomer makes it: what earlier owners had under way can never be committed any more. */
  DumpMetadata failingTorn(long at) {
    DumpMetadata next = this;
    for (Dump dump : dumps) {
      if (dump.state() == DumpState.DUMPING) {
        next =
            next.changing(
                dump.id(),
                torn -> torn.failed("its run on " + owner.host() + " ended in its middle", at));
      }
    }
    return next;
  }

  DumpMetadata without(int id) {
    return withDumps(dumps.stream().filter(dump -> dump.id() != id).toList());
  }
}
