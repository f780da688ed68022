package org.lifeboat.snapshot;

import java.io.IOException;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import org.lifeboat.criu.CriuImages;
import org.lifeboat.page.PackInfo;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Makes a snapshot of what CRIU and the receiver have brought: captures the files, fixes every byte
 * and commits. A final dump does all of it in the hook, a leave-running one the last part behind
 * it; that a commit may be in doubt, and what then, is here too.
 */
final class DumpCommit {

  private static final Logger log = LoggerFactory.getLogger(DumpCommit.class);

  /** How long a leave-running dump waits to know whether its commit took effect. */
  static final Duration COMMIT_PATIENCE = Duration.ofSeconds(60);

  private final Context context;
  private final DumpObserver observer;
  private final TreeHold hold;
  private final DumpFate fate;
  private final DumpAttempt dump;
  private final DumpCourse course;

  DumpCommit(
      Context context,
      DumpObserver observer,
      TreeHold hold,
      DumpFate fate,
      DumpAttempt dump,
      DumpCourse course) {
    this.context = context;
    this.observer = observer;
    this.hold = hold;
    this.fate = fate;
    this.dump = dump;
    this.course = course;
  }

  /**
   * Decides, the tree frozen, whether there is a snapshot: captures the files, seals everything
   * and, for a final dump, commits.
   *
   * @param early the images on their way to the store; null for a leave-running dump
   */
  void decide(EarlyImages early) throws IOException, InterruptedException {
    dump.phase = "files";
    // the tree has gone on since the census before the freeze: children have ended and begun
    dump.tree = Census.take().living(dump.root);
    Namespaces.requireShared(dump.root, dump.tree);
    dump.captured =
        context
            .files()
            .capture(
                dump.tree,
                dump.fileSink,
                dump.memory.fileParts(),
                dump.folder.resolve("files.manifest"));
    context.crashPoints().at(DumpPoint.DUMP_FILES_CAPTURED);
    course.checkNotGivenUp();
    dump.phase = "uploading";
    dump.pages = dump.receiver.finish();
    context.crashPoints().at(DumpPoint.DUMP_PACKED);
    seal(early == null ? SealedDump.images(dump.images) : early.items());
    context.crashPoints().at(DumpPoint.DUMP_SEALED);
    if (!dump.request.leaveRunning()) {
      finish();
    }
  }

  /** Fixes every byte, the tree still frozen. */
  private void seal(Map<String, Manifest.Item> imageItems) throws IOException {
    List<PackInfo> filePacks = dump.captured.packs();
    Map<String, Long> packs = new LinkedHashMap<>();
    dump.pages.packs().forEach(pack -> packs.put(pack.key(), pack.length()));
    filePacks.forEach(pack -> packs.put(pack.key(), pack.length()));
    List<CriuImages.TreeProcess> processes = CriuImages.processes(dump.images);
    long highest =
        processes.stream()
            .flatMap(process -> process.threads().stream())
            .mapToLong(Integer::longValue)
            .max()
            .orElseThrow();
    dump.sealed =
        SealedDump.seal(
            context,
            dump.folder,
            new Manifest(
                Manifest.FORMAT,
                dump.id,
                context.epoch(),
                context.lifeboatVersion(),
                context.command(),
                context.directory().toString(),
                HostFacts.here(context.criu().version()),
                dump.root,
                highest,
                context.stdoutInode(),
                context.stderrInode(),
                processes.size(),
                dump.pages.rawBytes(),
                dump.pages.storedBytes() + dump.captured.storedBytes(),
                dump.captured.result().bytes(),
                (System.nanoTime() - dump.frozenSince) / 1000,
                imageItems,
                new Manifest.Item(dump.pages.indexSize(), dump.pages.indexSha256()),
                SealedDump.item(dump.folder.resolve("files.manifest")),
                packs,
                new Manifest.FilePack(
                    filePacks.stream()
                        .map(
                            pack ->
                                new Manifest.Pack(
                                    pack.key(), pack.length(), pack.partLength(), pack.sha256()))
                        .toList())));
  }

  /** Brings what is not there yet to the store and commits. */
  void finish() throws IOException, InterruptedException {
    dump.phase = "uploading";
    if (dump.pageSpill.isPresent()) {
      dump.pageSpill.get().awaitUploaded();
    }
    if (dump.fileSpill.isPresent()) {
      dump.fileSpill.get().awaitUploaded();
    }
    context.crashPoints().at(DumpPoint.DUMP_PACKS_STORED);
    course.checkNotGivenUp();
    if (dump.request.leaveRunning()) {
      dump.sealed.upload(dump.transfer);
    } else {
      dump.sealed.upload(dump.transfer, Map.of()); // EarlyImages has sent them
    }
    context.crashPoints().at(DumpPoint.DUMP_MANIFEST_STORED);
    course.checkNotGivenUp();
    commit();
  }

  private void commit() throws IOException {
    course.beginCommit();
    dump.phase = "committing";
    if (!dump.request.leaveRunning()) {
      Set<Long> moving = new LinkedHashSet<>(dump.tree);
      moving.removeAll(dump.stopped);
      hold.hold(moving);
    }
    context.crashPoints().at(DumpPoint.DUMP_COMMITTING);
    boolean wasInterrupted = Thread.interrupted();
    try {
      dump.committed = dump.request.leaveRunning() ? commitBehind() : commitFrozen();
      context.crashPoints().at(DumpPoint.DUMP_COMMITTED);
      course.committed();
      observer.committed(dump.id);
    } finally {
      if (wasInterrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** The task runs: nobody is harmed when it is not known in time. */
  private DumpMetadata.Dump commitBehind() throws StoreException, SnapshotException {
    return dump.sealed.commit(false, MetadataStore.Pause.upTo(COMMIT_PATIENCE));
  }

  /** The tree stands still, and may go on only when the snapshot is certain not to exist. */
  private DumpMetadata.Dump commitFrozen() throws StoreException, SnapshotException {
    AtomicBoolean doubtful = new AtomicBoolean();
    try {
      return dump.sealed.commit(
          true,
          last -> {
            if (last.kind() == StoreException.Kind.UNKNOWN_OUTCOME) {
              doubtful.set(true);
            }
            if (course.overdue()) {
              throw last;
            }
            MetadataStore.Pause.FOR_EVER.await(last);
          });
    } catch (StoreException e) {
      if (e.kind() != StoreException.Kind.UNKNOWN_OUTCOME && !doubtful.get()) {
        throw e; // it was refused each time: nothing is on its way
      }
      log.warn(
          "whether dump {} is committed is not known, it is given up by a write in its place: {}",
          dump.id,
          e.getMessage());
      Optional<DumpMetadata.Dump> now =
          fate.decide(dump.id, "its commit was given up: " + e.getMessage());
      return now.orElseThrow(() -> e);
    }
  }
}
