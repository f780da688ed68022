package org.lifeboat.vfs;

import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Clock;
import java.time.Duration;
import java.time.InstantSource;
import java.util.EnumSet;
import java.util.Optional;
import org.lifeboat.cache.Cache;
import org.lifeboat.cache.Limits;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.store.FaultStore;
import org.lifeboat.store.FileStore;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.sys.BytePath;

/**
 * A {@link FileTree} over stores in directories of this machine, real cache and journal, that can
 * be ended, killed and opened again. The home is {@code /s3/bucket/home/task}.
 */
final class TreeRig implements AutoCloseable {

  static final String HOME = "s3/bucket/home/task";
  static final Caller ROOT = new Caller(0, 0, 1, 0);

  private final Path folder;
  private final Clock clock;
  TreeOptions options;

  /** What goes wrong at the stores; may be changed at any time. */
  volatile FaultStore.Plan plan = call -> FaultStore.Fault.NONE;

  FileTree tree;

  /** What the file system is given to wait in. */
  Waits waits = Waits.NONE;

  CacheContents contents;
  private Cache cache;

  TreeRig(Path folder, Clock clock) throws Exception {
    this.folder = folder;
    this.clock = clock;
    Files.createDirectories(folder.resolve("bucket"));
    Files.createDirectories(folder.resolve("other"));
    TreeOptions usual =
        TreeOptions.of(0, 0, Optional.of(new TreeOptions.Home("s3", "bucket", "home/task")));
    options = with(usual, usual.wholeBytes(), usual.passthrough(), usual.journalBytes());
  }

  static TreeOptions with(
      TreeOptions options, long wholeBytes, boolean passthrough, long journalBytes) {
    return new TreeOptions(
        options.uid(),
        options.gid(),
        options.fileMode(),
        options.directoryMode(),
        options.home(),
        Duration.ofHours(1),
        Duration.ofSeconds(1),
        wholeBytes,
        passthrough,
        1,
        journalBytes);
  }

  Path journal() {
    return folder.resolve("journal");
  }

  /** The store behind {@code /s3/NAME}, as another client sees it. */
  ObjectStore store(String name) {
    return new FileStore(StoreUrl.parse("file://" + folder.resolve(name)));
  }

  /** As another client would; not forced to the disk, which takes most of a put's time. */
  void put(String name, String key, byte[] bytes) throws IOException {
    Path file = folder.resolve(name).resolve(key);
    Files.createDirectories(file.getParent());
    Path beside = folder.resolve("put");
    Files.write(beside, bytes);
    Files.move(beside, file, StandardCopyOption.REPLACE_EXISTING);
  }

  private ObjectStore volume(String scheme, String name) throws StoreException {
    if (!scheme.equals("s3") || !Files.isDirectory(folder.resolve(name))) {
      throw new StoreException(
          StoreException.Kind.NO_STORE, "open", scheme + "://" + name, "there is none", "", null);
    }
    return new FaultStore(paged(store(name)), call -> plan.next(call));
  }

  static final int PAGE = 100;

  /** With pages of a directory that are as small as a test likes them. */
  private static ObjectStore paged(ObjectStore store) {
    return (ObjectStore)
        Proxy.newProxyInstance(
            TreeRig.class.getClassLoader(),
            new Class<?>[] {ObjectStore.class},
            (proxy, method, arguments) -> {
              try {
                Object result = method.invoke(store, arguments);
                if (result instanceof ObjectStore.DirectoryPage page
                    && page.entries().size() > PAGE) {
                  return new ObjectStore.DirectoryPage(page.entries().subList(0, PAGE), true);
                }
                return result;
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            });
  }

  /** Opens what was left, and mounts. */
  FileTree mount() throws Exception {
    open();
    tree.init(new Offer(45, 1 << 17, 1 << 20, EnumSet.allOf(Capability.class)));
    return tree;
  }

  /** Opens what was left, and takes over. */
  FileTree takeOver() throws Exception {
    open();
    EnumSet<Capability> agreed = EnumSet.of(Capability.ATOMIC_TRUNCATE, Capability.READDIRPLUS);
    if (options.passthrough()) {
      agreed.add(Capability.PASSTHROUGH);
    }
    tree.resume(new Capabilities(agreed, 1 << 17, 1));
    return tree;
  }

  /** Opens what was left, for a transport. */
  void open() throws Exception {
    BytePath at = BytePath.of(folder.resolve("cache"));
    cache = Cache.open(at, new Limits(1L << 30, 0), clock);
    contents = new CacheContents(cache, at);
    tree =
        FileTree.open(
            BytePath.of(journal()),
            contents,
            this::volume,
            options,
            waits,
            (InstantSource) clock,
            CrashPoints.NONE);
  }

  /** After a transport has destroyed it. */
  void ended() throws IOException {
    tree = null;
    cache.close();
  }

  /** As a kill would: nothing is told to anybody. */
  void kill() throws IOException {
    if (tree != null) {
      tree.close();
      tree = null;
      cache.close();
    }
  }

  /** As an unmount. */
  void unmount() throws IOException {
    tree.destroy();
    tree = null;
    cache.close();
  }

  PosixTree posix(String top) {
    return new PosixTree(tree, top, ROOT, () -> tree);
  }

  @Override
  public void close() throws IOException {
    kill();
  }
}
