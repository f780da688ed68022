package org.lifeboat.snapshot;

import java.io.IOException;
import java.net.InetAddress;
import java.net.NetworkInterface;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletionService;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorCompletionService;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.lifeboat.criu.CriuException;
import org.lifeboat.criu.CriuImages;
import org.lifeboat.criu.CriuLog;
import org.lifeboat.criu.HookServer;
import org.lifeboat.files.FilesException;
import org.lifeboat.init.InitException;
import org.lifeboat.init.WaitStatus;
import org.lifeboat.page.IndexReader;
import org.lifeboat.page.PageFormatException;
import org.lifeboat.serve.PageRestorer;
import org.lifeboat.serve.RestoreConfig;
import org.lifeboat.serve.RestoreObserver;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.Transfer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Brings a task back from the newest snapshot that can be.
 *
 * <p>Everything is fetched to the cache disk and verified against the manifest before anything on
 * this host is changed: then the files are rolled back, then CRIU starts. A snapshot that is
 * damaged is passed over for the next older one, with a line that says which and why; when none is
 * left although there was one, that is an error and never a clean start. A host of another kind is
 * an error at once: an older snapshot would fare no better.
 */
public final class Restorer {

  private static final Logger log = LoggerFactory.getLogger(Restorer.class);

  private static final int DOWNLOADS = 16;
  private static final int FETCHES = 32;

  /**
   * How often a restore is tried again when an id is still taken by a process that is just ending.
   */
  private static final int ATTEMPTS = 5;

  private static final String KILLED = "CRIU was killed";
  private static final String TAKEN = "is taken on this host"; // in CriuLog's words

  private final Context context;
  private final Catalog catalog;

  public Restorer(Context context) {
    this.context = context;
    this.catalog = new Catalog(context.store());
  }

  /**
   * Restores the newest restorable snapshot.
   *
   * @return the PID of the task's root, or empty when no snapshot was ever committed
   * @throws SnapshotException when there were some and none could be restored; they are kept
   */
  public Optional<Long> restoreNewest(DumpMetadata document)
      throws IOException, InterruptedException {
    for (DumpMetadata.Dump dump : document.dumps().reversed()) {
      if (dump.generation() == document.task().generation()
          && dump.type() == DumpMetadata.DumpType.FULL
          && !dump.restorable()) {
        log.info(
            "dump {} was never committed ({}): it is passed over",
            dump.id(),
            dump.error() == null ? "its host was taken while it was under way" : dump.error());
      }
    }
    List<DumpMetadata.Dump> candidates = document.restorable();
    if (candidates.isEmpty()) {
      log.info("no snapshot of {} was ever committed: starting the command", context.store().url());
      return Optional.empty();
    }
    SnapshotException first = null;
    Map<Integer, String> passedOver = new HashMap<>();
    for (DumpMetadata.Dump dump : candidates) {
      try {
        return Optional.of(restoreUnlessKilled(dump, passedOver));
      } catch (SnapshotException e) {
        switch (e.kind()) {
          case ENVIRONMENT -> {
            notRestoring(dump.id());
            throw e;
          }
          case DAMAGED, NEWER_FORMAT, CRIU, FAILED -> {
            notRestoring(dump.id());
            log.warn("snapshot {} cannot be restored: {}", dump.id(), e.getMessage());
            passedOver.put(dump.id(), String.valueOf(e.getMessage()));
            if (first == null) {
              first = e;
            } else {
              first.addSuppressed(e);
            }
          }
          default -> throw e;
        }
      }
    }
    throw new SnapshotException(
        SnapshotException.Kind.FAILED,
        "none of the "
            + candidates.size()
            + " committed snapshots of "
            + context.store().url()
            + " can be restored; they are kept. The newest: "
            + first.getMessage(),
        "lifeboat verify --store " + context.store().url() + " tells more; --fresh starts anew",
        first);
  }

  private void notRestoring(int id) throws StoreException, SnapshotException {
    context
        .metadata()
        .update(
            context.ownerId(),
            d ->
                d.changing(
                    id,
                    x ->
                        x.state() == DumpMetadata.DumpState.RESTORING
                            ? x.with(DumpMetadata.DumpState.COMPLETE)
                            : x));
  }

  /**
   * That CRIU was killed, or met a process with one of the task's numbers, says nothing about the
   * snapshot; but the tree may have run for a moment then, and the images may be consumed, so
   * everything is done again, the files first of all.
   */
  private long restoreUnlessKilled(DumpMetadata.Dump dump, Map<Integer, String> passedOver)
      throws IOException, InterruptedException {
    for (int attempt = 1; ; attempt++) {
      try {
        return restore(dump, passedOver);
      } catch (SnapshotException e) {
        String why = String.valueOf(e.getMessage());
        boolean killed = why.startsWith(KILLED);
        if (attempt == ATTEMPTS || !(killed || why.contains(TAKEN))) {
          throw e;
        }
        if (killed) {
          CriuDeath.tidy();
        } else {
          Thread.sleep(200L << attempt);
        }
        log.warn("the restore of snapshot {} begins again: {}", dump.id(), why);
      }
    }
  }

  private long restore(DumpMetadata.Dump dump, Map<Integer, String> passedOver)
      throws IOException, InterruptedException {
    long start = System.nanoTime();
    log.info("restoring snapshot {} of {}", dump.id(), context.store().url());
    Manifest manifest = catalog.manifest(dump);
    HostFacts.check(manifest.host(), HostFacts.here(context.criu().version()));
    MemoryBudget budget = MemoryBudget.now(context.memory());
    Path folder = context.cache().resolve("restore-" + dump.id());
    Folders.delete(folder);
    Path images = folder.resolve("images");
    Folders.createPrivate(images);
    String what = "snapshot " + dump.id();
    context.crashPoints().at(RestorePoint.RESTORE_CHOSEN);
    try {
      CacheDisk.require(context.cache(), what, manifest.besidePages());
      boolean consume = CacheDisk.punches(folder);
      long memory = consume ? manifest.rawBytes() : 2 * manifest.rawBytes(); // the task's is part
      CacheDisk.warnOfTmpfs(context.cache(), what, manifest.besidePages() + memory);
      Path index = folder.resolve("pages.index");
      Path filesManifest = folder.resolve("files.manifest");
      try (Transfer transfer = new Transfer(context.store(), budget.transfers())) {
        List<Callable<Void>> gets = new ArrayList<>();
        gets.add(() -> fetch(transfer, Layout.index(dump.id()), manifest.index(), index));
        gets.add(
            () ->
                fetch(transfer, Layout.filesManifest(dump.id()), manifest.files(), filesManifest));
        manifest
            .images()
            .forEach(
                (name, image) ->
                    gets.add(
                        () ->
                            fetch(
                                transfer,
                                Layout.image(dump.id(), name),
                                image,
                                images.resolve(name))));
        together(gets);
      }
      context.crashPoints().at(RestorePoint.RESTORE_IMAGES_FETCHED);
      HostFiles.check(images, org.lifeboat.files.Manifest.load(filesManifest).entries());
      CacheDisk.require(context.cache(), what, pageBytes(index) + manifest.filePack().bytes());
      List<Path> packs = new ArrayList<>();
      List<Callable<Void>> fetches = new ArrayList<>();
      fetches.add(() -> fetchPages(index, images, budget));
      fetches.add(
          () -> {
            for (Manifest.Pack pack : manifest.filePack().packs()) {
              Path file = folder.resolve("files-" + packs.size() + ".pack");
              new PackFetch(context.store(), budget.transfers()).fetch(pack, file);
              packs.add(file);
            }
            return null;
          });
      together(fetches);
      context.crashPoints().at(RestorePoint.RESTORE_PAGES_FETCHED);
      List<CriuImages.TreeProcess> processes;
      List<Integer> joined;
      try {
        processes = CriuImages.processes(images);
        joined = CriuImages.joinOrphanSessions(images);
        CriuImages.connectedAddresses(images);
        context.crashPoints().at(RestorePoint.RESTORE_FETCHED);
        context.files().rollBack(filesManifest, packs);
      } catch (CriuException | FilesException e) {
        if (e instanceof FilesException f && f.errno().isPresent()) {
          throw e; // a full disk of this host's, not the snapshot's fault
        }
        throw new SnapshotException(SnapshotException.Kind.DAMAGED, e.getMessage(), "", e);
      }
      context.crashPoints().at(RestorePoint.RESTORE_ROLLED_BACK);
      long fetched = System.nanoTime();
      if (!joined.isEmpty()) {
        log.debug("processes {} join the root's session", joined);
      }
      context
          .metadata()
          .update(
              context.ownerId(),
              d -> d.changing(dump.id(), x -> x.with(DumpMetadata.DumpState.RESTORING)));
      context.crashPoints().at(RestorePoint.RESTORE_BEGUN);
      runCriu(dump.id(), manifest, images, processes, consume);
      context.crashPoints().at(RestorePoint.RESTORE_RESUMED);
      long pid = processes.getFirst().pid();
      context
          .metadata()
          .update(
              context.ownerId(),
              d -> {
                DumpMetadata next = d.changing(dump.id(), DumpMetadata.Dump::restored);
                for (Map.Entry<Integer, String> other : passedOver.entrySet()) {
                  next = next.changing(other.getKey(), x -> x.passedOver(other.getValue()));
                }
                return next;
              });
      context.crashPoints().at(RestorePoint.RESTORE_DONE);
      long end = System.nanoTime();
      log.info(
          "restored snapshot {}: {} processes, {} MiB of memory; fetched in {} s, resumed {} s"
              + " later",
          dump.id(),
          manifest.processes(),
          manifest.rawBytes() >> 20,
          seconds(fetched - start),
          seconds(end - fetched));
      return pid;
    } catch (IOException e) {
      if (CacheDisk.explained(context.cache(), what, e) instanceof IOException explained) {
        throw explained;
      }
      throw e;
    } finally {
      Folders.delete(folder);
    }
  }

  /** What CRIU's images of the pages will take: zero pages are holes. */
  private static long pageBytes(Path index) throws IOException {
    try (IndexReader reader = IndexReader.open(index)) {
      return (reader.totals().pages() - reader.totals().zeroPages()) * reader.pageSize();
    } catch (PageFormatException e) {
      throw new SnapshotException(SnapshotException.Kind.DAMAGED, e.getMessage(), "", e);
    }
  }

  private static String seconds(long nanos) {
    return String.format(java.util.Locale.ROOT, "%.2f", nanos / 1e9);
  }

  /** Does them all, some at once; the first that fails ends the others and is what is told. */
  private static void together(List<Callable<Void>> fetches)
      throws IOException, InterruptedException {
    Semaphore places = new Semaphore(FETCHES);
    try (ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor()) {
      CompletionService<Void> ended = new ExecutorCompletionService<>(executor);
      for (Callable<Void> fetch : fetches) {
        ended.submit(
            () -> {
              places.acquire();
              try {
                return fetch.call();
              } finally {
                places.release();
              }
            });
      }
      for (int i = 0; i < fetches.size(); i++) {
        try {
          ended.take().get();
        } catch (ExecutionException e) {
          executor.shutdownNow();
          if (e.getCause() instanceof IOException cause) {
            throw cause;
          }
          throw new IllegalStateException(e.getCause());
        }
      }
    }
  }

  private Void fetchPages(Path index, Path images, MemoryBudget budget) throws IOException {
    try {
      new PageRestorer(
              context.store(), new RestoreConfig(budget.pool(), DOWNLOADS), new RestoreLog())
          .restore(index, images);
      return null;
    } catch (PageFormatException e) {
      throw new SnapshotException(SnapshotException.Kind.DAMAGED, e.getMessage(), "", e);
    } catch (StoreException e) {
      throw damagedOr(e);
    }
  }

  private static IOException damagedOr(StoreException e) {
    return switch (e.kind()) {
      case NOT_FOUND, CORRUPT, INVALID ->
          new SnapshotException(SnapshotException.Kind.DAMAGED, e.getMessage(), "", e);
      default -> e;
    };
  }

  private Void fetch(Transfer transfer, String key, Manifest.Item item, Path file)
      throws IOException {
    try {
      transfer.get(key, file, item.size(), item.sha256());
      return null;
    } catch (StoreException e) {
      throw damagedOr(e);
    }
  }

  private void runCriu(
      int id,
      Manifest manifest,
      Path images,
      List<CriuImages.TreeProcess> processes,
      boolean consume)
      throws IOException, InterruptedException {
    Set<Integer> needed = new HashSet<>();
    processes.forEach(process -> needed.addAll(process.threads()));
    boolean close = !allHere(CriuImages.connectedAddresses(images));
    if (close) {
      log.info(
          "this host lacks an address that the task's TCP connections had: they come back closed");
    }
    Path logFile = images.resolveSibling("restore_" + id + ".log");
    Map<Integer, String> taken = Census.taken(needed);
    for (int attempt = 1; !taken.isEmpty(); attempt++) {
      if (attempt == ATTEMPTS) {
        Map.Entry<Integer, String> one = taken.entrySet().iterator().next();
        throw new SnapshotException(
            SnapshotException.Kind.ENVIRONMENT,
            "process id " + one.getKey() + ", which the task needs, is taken by " + one.getValue(),
            "end that process, or run in a container or namespace of its own",
            null);
      }
      log.warn("the restore waits: a process id is still taken");
      Thread.sleep(200L << attempt);
      taken = Census.taken(needed);
    }
    criu(id, manifest, images, logFile, close, consume);
  }

  private static boolean allHere(Set<InetAddress> addresses) throws IOException {
    for (InetAddress address : addresses) {
      NetworkInterface device = NetworkInterface.getByInetAddress(address);
      if (address.isLoopbackAddress()) {
        NetworkInterface loopback = NetworkInterface.getByName("lo");
        if (loopback == null || !loopback.isUp()) {
          return false;
        }
      } else if (device == null || !device.isUp()) {
        return false;
      }
    }
    return true;
  }

  private void criu(
      int id, Manifest manifest, Path images, Path logFile, boolean close, boolean consume)
      throws IOException, InterruptedException {
    Files.deleteIfExists(logFile);
    // never the same twice, be it by another engine of this run: its end is told once
    String spawnId = "restore-" + id + "-" + Long.toString(System.nanoTime(), 36);
    context.hooks().handler((action, path) -> preResume(action, spawnId, manifest));
    Path output = images.resolveSibling("criu.out");
    context
        .init()
        .spawn(
            spawnId,
            Optional.empty(),
            output,
            context
                .criu()
                .restore(
                    images,
                    logFile,
                    context.hook(),
                    manifest.stdoutInode(),
                    manifest.stderrInode(),
                    close,
                    consume));
    context.crashPoints().at(RestorePoint.RESTORE_CRIU_STARTED);
    Duration limit = limit(manifest);
    Optional<WaitStatus> inTime = await(spawnId, limit);
    putLog(id, logFile);
    if (inTime.isPresent() && inTime.get().success()) {
      return;
    }
    context.crashPoints().at(RestorePoint.RESTORE_FAILED);
    context.init().killAll(); // what a restore that failed may have left
    SnapshotException.Kind kind = SnapshotException.Kind.CRIU;
    String cause;
    if (inTime.isPresent() && inTime.get().signalled()) {
      cause = KILLED + " (signal " + inTime.get().signal() + ")";
    } else if (inTime.isEmpty()) {
      cause = "CRIU did not finish within " + limit.toSeconds() + " s";
    } else {
      String out = Files.exists(output) ? Files.readString(output).strip() : "";
      Optional<CriuLog.Failure> failure = CriuLog.explain(logFile);
      if (failure.isPresent() && failure.get().host()) {
        kind = SnapshotException.Kind.ENVIRONMENT;
      }
      cause =
          failure
              .map(f -> "CRIU: " + f)
              .orElse("CRIU ended with " + inTime.get() + (out.isEmpty() ? "" : ": " + out));
    }
    throw new SnapshotException(
        kind,
        cause,
        "log: " + context.store().url().of(Layout.dump(id) + "restore_" + id + ".log"),
        null);
  }

  private static Duration limit(Manifest manifest) {
    return Duration.ofSeconds(60 + manifest.rawBytes() / (50 << 20));
  }

  /**
   * Waits for CRIU, and kills it with all that it made when it takes too long: empty then.
   *
   * <p>Nobody asks whether the tree runs then: it is init's task from the hook on, if CRIU ended
   * well.
   */
  private Optional<WaitStatus> await(String spawnId, Duration limit)
      throws IOException, InterruptedException {
    Future<WaitStatus> end = context.children().end(spawnId);
    try {
      try {
        return Optional.of(end.get(limit.toMillis(), TimeUnit.MILLISECONDS));
      } catch (TimeoutException e) {
        context.init().killAll();
        end.get();
        return Optional.empty();
      }
    } catch (ExecutionException e) {
      throw new InitException("wait for CRIU", 0, String.valueOf(e.getCause().getMessage()), e);
    } finally {
      context.hooks().handler(HookServer.REFUSING);
    }
  }

  /**
   * The tree stands ready and stopped: from here on init has it as the task, so that no engine's
   * death makes it start twice; and the next process must not get a number that the next engine's
   * threads have.
   */
  private int preResume(String action, String spawnId, Manifest manifest) {
    if (!action.equals("pre-resume")) {
      return 0;
    }
    context.crashPoints().at(RestorePoint.RESTORE_READY);
    try {
      context.init().adopt(manifest.root(), spawnId);
      context.init().lastPid(Math.max(1000, manifest.highestPid()));
      context.crashPoints().at(RestorePoint.RESTORE_RESUMING);
      return 0;
    } catch (InitException e) {
      log.error("the restored task cannot be resumed: {}", e.getMessage());
      return 1;
    }
  }

  /**
   * Sees a restore through whose engine died when init had the tree as its task already.
   *
   * @return false when CRIU failed after all: then nothing of it is left
   */
  public boolean resume(String spawnId, DumpMetadata document)
      throws IOException, InterruptedException {
    int id = Integer.parseInt(spawnId.split("-", -1)[1]);
    context
        .hooks()
        .handler(
            (action, path) -> {
              try {
                return preResume(
                    action, spawnId, catalog.manifest(document.dump(id).orElseThrow()));
              } catch (StoreException | SnapshotException e) {
                log.error("the restored task cannot be resumed: {}", e.getMessage());
                return 1;
              }
            });
    Optional<WaitStatus> end = await(spawnId, Duration.ofSeconds(60)); // its memory is there
    if (end.isEmpty() || !end.get().success()) {
      log.warn("the restore of snapshot {} did not survive its engine: starting over", id);
      context.init().killAll();
      context.children().end(spawnId).join();
      return false;
    }
    log.info("restored snapshot {}: its engine died meanwhile, the task did not notice", id);
    return true;
  }

  /** Does what an engine that died behind a restore has left to do. */
  public void tidy(DumpMetadata document) throws IOException {
    if (Files.isDirectory(context.cache())) {
      try (DirectoryStream<Path> folders = Files.newDirectoryStream(context.cache(), "restore-*")) {
        for (Path folder : folders) {
          int id = Integer.parseInt(folder.getFileName().toString().substring("restore-".length()));
          putLog(id, folder.resolve("restore_" + id + ".log"));
          Folders.delete(folder);
        }
      }
    }
    for (DumpMetadata.Dump dump : document.dumps()) {
      if (dump.state() == DumpMetadata.DumpState.RESTORING) {
        context
            .metadata()
            .update(context.ownerId(), d -> d.changing(dump.id(), DumpMetadata.Dump::restored));
      }
    }
  }

  private void putLog(int id, Path logFile) {
    try (Transfer transfer = new Transfer(context.store(), 2)) {
      if (Files.exists(logFile)) {
        transfer.put(Layout.dump(id) + "restore_" + id + ".log", logFile, Precondition.NONE);
      }
    } catch (IOException e) {
      log.warn("the log of restore {} could not be stored: {}", id, e.getMessage());
    }
  }

  /** A line every five seconds of how far the pages are. */
  private static final class RestoreLog implements RestoreObserver {
    private static final long INTERVAL = 5_000_000_000L;

    private final long start = System.nanoTime();
    private long last = start;
    private long fetched;
    private long raw;

    @Override
    public synchronized void partDone(long fetchedBytes, long rawBytes) {
      fetched += fetchedBytes;
      raw += rawBytes;
      long now = System.nanoTime();
      if (now - last >= INTERVAL) {
        last = now;
        log.info(
            "fetched {} MiB, {} MiB of memory, at {} MiB/s",
            fetched >> 20,
            raw >> 20,
            Math.round(fetched / 1048576.0 / ((now - start) / 1e9)));
      }
    }
  }
}
