package org.lifeboat.snapshot;

import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import org.lifeboat.receive.PageReceiver;
import org.lifeboat.receive.PageSet;
import org.lifeboat.receive.SpillSink;
import org.lifeboat.store.Transfer;

/**
 * What is known of a dump under way: filled in by {@link DumpJob} as it goes, by {@link DumpHook}
 * and {@link DumpCommit} in the hook, and read by whatever has to clean up, report or explain.
 *
 * <p>The hook, the deadline and the log have threads of their own.
 */
final class DumpAttempt {

  final long root;
  final DumpRequest request;
  final Consumer<DumpProgress> progress;
  final long start = System.nanoTime();

  /** What the names of its packs begin with. */
  final String stem;

  int id;
  Path folder;
  Path images;
  Path logFile;
  volatile PageReceiver receiver;
  MemoryBudget memory;
  Transfer transfer;
  Optional<SpillSink> pageSpill = Optional.empty();
  Optional<SpillSink> fileSpill = Optional.empty();
  LateAbort pageSink;
  LateAbort fileSink;
  PageSet pages;
  SealedDump sealed;
  volatile String phase = "starting";
  volatile Exception failure;
  volatile TaskFiles.Captured captured;
  Set<Long> tree = Set.of();
  Set<Long> stopped = Set.of();
  long expectedBytes;
  DumpMetadata.Dump committed;
  volatile long frozenSince = start;
  boolean recorded;
  boolean begun;
  volatile boolean thawed;

  DumpAttempt(long root, DumpRequest request, Consumer<DumpProgress> progress, String stem) {
    this.root = root;
    this.request = request;
    this.progress = progress;
    this.stem = stem;
  }

  boolean ownerLost() {
    return failure instanceof SnapshotException e && e.kind() == SnapshotException.Kind.OWNER_LOST;
  }
}
