package org.lifeboat.store;

import static java.nio.charset.StandardCharsets.UTF_8;
import static java.nio.file.LinkOption.NOFOLLOW_LINKS;
import static java.nio.file.StandardCopyOption.ATOMIC_MOVE;
import static java.nio.file.StandardOpenOption.CREATE_NEW;
import static java.nio.file.StandardOpenOption.READ;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLockInterruptionException;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;
import org.lifeboat.store.StoreException.Kind;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The store in a directory: the object {@code a/b} is the plain file {@code DIRECTORY/a/b}, so that
 * any tool can read what is there. What else the store needs is in one hidden folder of the same
 * file system:
 *
 * <pre>
 * DIRECTORY/.lifeboat-store/lock         taken for every change of the name space
 *                           tmp/UUID     objects being written; removed after a day
 *                           uploads/ID/  multipart uploads, see {@link FileUpload}; removed after a week
 * </pre>
 *
 * <p><b>Writes</b> go to {@code tmp}, are synced, and are renamed over the key while the lock is
 * held; then the directory is synced. A precondition is checked under the same lock, which is what
 * makes conditional writes atomic between threads, processes and, on NFS, hosts. link(2) instead of
 * a lock would do for {@link Precondition.Absent} but not for {@link Precondition.Matches}. The
 * lock is held for some metadata operations only, never while data moves.
 *
 * <p><b>The version</b> is inode number, modification time and size. The time is not the kernel's,
 * which ticks every few milliseconds, but is set by us under the lock to something later than that
 * of the object being replaced, read back and, on a file system with coarse times, pushed further.
 * So within the life of a key the version never comes back, not even when the clock is set back; it
 * survives restarts, needs nothing beside the file, and changes also when somebody edits the file
 * by hand. A random nonce in an extended attribute was rejected because it does not change then,
 * and because not every file system has them; one in a sidecar, because file and sidecar can't be
 * renamed at once.
 *
 * <p><b>Crash safety.</b> Whatever dies when, a key has its old content or its new one. Leftovers
 * lie in the hidden folder, are never listed, and are removed by age at the first write of a later
 * store.
 */
public final class FileStore implements ObjectStore {

  static final FileAttribute<?> FILE_MODE =
      PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"));
  static final FileAttribute<?> DIRECTORY_MODE =
      PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"));

  private static final Logger log = LoggerFactory.getLogger(FileStore.class);
  private static final String HIDDEN = ".lifeboat-store";
  private static final int PAGE = 1000;

  /** Each page of a directory reads all its names, so that a small one would cost too much. */
  private static final int DIRECTORY_PAGE = 10_000;

  private static final int NAME_MAX = 255;
  private static final int SLICE = 1 << 20;
  private static final Duration TEMPORARY_LIFE = Duration.ofDays(1);
  private static final Duration UPLOAD_LIFE = Duration.ofDays(7);

  private final StoreUrl url;
  private final InstantSource clock;
  private final Path root;
  private final Path hidden;
  private final Path temporary;
  private final Path uploads;
  private final int directoryPage;
  private final AtomicBoolean swept = new AtomicBoolean();

  /**
   * Opens the store; nothing is touched before the first request, and nothing is created before the
   * first write.
   *
   * @throws IllegalArgumentException when the URL is not a {@code file} URL
   */
  public FileStore(StoreUrl url) {
    this(url, InstantSource.system(), DIRECTORY_PAGE);
  }

  FileStore(StoreUrl url, InstantSource clock) {
    this(url, clock, DIRECTORY_PAGE);
  }

  /**
   * @param directoryPage how many names of a directory are looked at for one page; more than a name
   *     has bytes, see {@link #listDirectory}
   */
  FileStore(StoreUrl url, InstantSource clock, int directoryPage) {
    if (!url.scheme().equals("file")) {
      throw new IllegalArgumentException("not a file:/// URL: " + url);
    }
    this.url = url;
    this.clock = clock;
    this.directoryPage = directoryPage;
    this.root = Path.of(url.path());
    this.hidden = root.resolve(HIDDEN);
    this.temporary = hidden.resolve("tmp");
    this.uploads = hidden.resolve("uploads");
  }

  @Override
  public StoreUrl url() {
    return url;
  }

  @Override
  public Optional<ObjectInfo> head(String key) throws StoreException {
    Path path = path("head", key);
    return on(
        "head",
        key,
        () -> {
          Stat stat = stat(path);
          if (stat == null) {
            checkRoot("head");
          }
          return stat == null || !stat.regular ? Optional.empty() : Optional.of(stat.info(key));
        });
  }

  @Override
  public ObjectInfo get(String key, long offset, ByteBuffer into) throws StoreException {
    checkRange(offset, into);
    Path path = path("get", key);
    return on(
        "get",
        key,
        () -> {
          while (true) {
            Stat before = stat(path);
            if (before == null || !before.regular) {
              checkRoot("get");
              throw notFound("get", key, "there is no such object");
            }
            try (FileChannel channel = FileChannel.open(path, READ)) {
              if (!before.equals(stat(path))) {
                continue; // replaced just now: what was opened is the old or the new one
              }
              if (offset > before.size) {
                throw new StoreException(
                    Kind.INVALID,
                    "get",
                    url.of(key),
                    "offset " + offset + " lies behind the end at " + before.size,
                    "",
                    null);
              }
              int wanted = (int) Math.min(into.remaining(), before.size - offset);
              int got = read(channel, offset, into, wanted);
              if (got < wanted) {
                throw new StoreException(
                    Kind.CORRUPT,
                    "get",
                    url.of(key),
                    "ends after " + (offset + got) + " of " + before.size + " bytes",
                    "something else truncated the file",
                    null);
              }
              return before.info(key);
            } catch (NoSuchFileException e) {
              log.debug("{} was deleted just now: the next round says so", path, e);
            }
          }
        });
  }

  @Override
  public ObjectInfo put(String key, ByteBuffer body, Precondition precondition)
      throws StoreException {
    path("put", key);
    return on(
        "put",
        key,
        () -> {
          prepare("put");
          Path file = newTemporary();
          try {
            try (FileChannel channel =
                FileChannel.open(file, Set.of(CREATE_NEW, WRITE), FILE_MODE)) {
              write(channel, 0, body.duplicate());
              channel.force(true);
            }
            return commit("put", file, key, precondition);
          } catch (Throwable e) {
            removeAfter(e, file);
            throw e;
          }
        });
  }

  @Override
  public ListPage list(String prefix, String after) throws StoreException {
    return on(
        "list",
        prefix,
        () -> {
          checkRoot("list");
          List<ObjectInfo> found = new ArrayList<>();
          int slash = prefix.lastIndexOf('/');
          String folder = prefix.substring(0, slash + 1);
          Path start = root;
          if (slash >= 0) {
            try {
              start = path("list", prefix.substring(0, slash));
            } catch (IllegalArgumentException e) {
              return new ListPage(List.of(), false); // no well-formed key starts so
            }
          }
          boolean more = !walk(start, folder, prefix, after, found);
          return new ListPage(List.copyOf(found), more);
        });
  }

  /**
   * Adds the objects below a directory, in order.
   *
   * @return false when the page was full before the end
   */
  private boolean walk(
      Path directory, String folder, String prefix, String after, List<ObjectInfo> found)
      throws IOException {
    record Entry(String name, Stat stat) {}
    List<Entry> entries = new ArrayList<>();
    try (DirectoryStream<Path> children = Files.newDirectoryStream(directory)) {
      for (Path child : children) {
        Path last = child.getFileName();
        Stat stat = last == null ? null : stat(child);
        if (stat == null || (!stat.regular && !stat.directory)) {
          continue;
        }
        // with the slash, so that siblings sort as the keys do: a.b before a/b
        String name = folder + last + (stat.directory ? "/" : "");
        boolean relevant = (stat.directory && prefix.startsWith(name)) || name.startsWith(prefix);
        boolean behind =
            Keys.compare(name, after) > 0 || (stat.directory && after.startsWith(name));
        if (relevant && behind && !name.equals(HIDDEN + "/")) {
          entries.add(new Entry(name, stat));
        }
      }
    } catch (NoSuchFileException | NotDirectoryException e) {
      return true; // nothing there, or removed meanwhile
    } catch (FileSystemException e) {
      if (blockedBy(directory) != null) {
        return true;
      }
      throw e;
    } catch (java.nio.file.DirectoryIteratorException e) {
      throw e.getCause();
    }
    entries.sort((a, b) -> Keys.compare(a.name, b.name));
    for (Entry entry : entries) {
      if (entry.stat.directory) {
        String name = entry.name.substring(folder.length(), entry.name.length() - 1);
        if (!walk(directory.resolve(name), entry.name, prefix, after, found)) {
          return false;
        }
      } else if (found.size() == PAGE) {
        return false;
      } else {
        found.add(entry.stat.info(entry.name));
      }
    }
    return true;
  }

  /**
   * {@inheritDoc}
   *
   * <p>All names are read for each page, but only those of the page are looked at. They are chosen
   * by their plain names, and a directory's key is longer than its name by a slash; so one whose
   * key is behind a name that was not chosen waits for the next page. Such a directory's name is
   * the beginning of that name: there are fewer of them than a name has bytes, and never a page of
   * them.
   */
  @Override
  public DirectoryPage listDirectory(String directory, String after) throws StoreException {
    Keys.checkDirectory(directory);
    Path path =
        directory.isEmpty()
            ? root
            : path("list directory", directory.substring(0, directory.length() - 1));
    return on(
        "list directory",
        directory,
        () -> {
          checkRoot("list directory");
          for (String behind = after; ; ) {
            Names names = names(path, directory, behind);
            List<DirectoryEntry> entries = entries(path, directory, after, names);
            if (!entries.isEmpty() || names.next.isEmpty()) {
              return new DirectoryPage(entries, names.next.isPresent());
            }
            behind = names.chosen.getLast(); // none of them was a file or had one below
          }
        });
  }

  /**
   * Some of a directory's names, with what is before them in the key.
   *
   * @param chosen in ascending order; none is behind one that was not chosen
   * @param next the first that was not chosen
   */
  private record Names(List<String> chosen, Optional<String> next) {}

  private Names names(Path directory, String folder, String after) throws IOException {
    PriorityQueue<String> smallest = new PriorityQueue<>((a, b) -> Keys.compare(b, a));
    String next = null;
    try (DirectoryStream<Path> children = Files.newDirectoryStream(directory)) {
      for (Path child : children) {
        String key = folder + child.getFileName();
        // it may be a directory
        if (Keys.compare(key + "/", after) <= 0 || key.equals(HIDDEN)) {
          continue;
        }
        smallest.add(key);
        if (smallest.size() > directoryPage) {
          String most = smallest.remove();
          next = next == null || Keys.compare(most, next) < 0 ? most : next;
        }
      }
    } catch (NoSuchFileException | NotDirectoryException e) {
      return new Names(List.of(), Optional.empty());
    } catch (FileSystemException e) {
      if (blockedBy(directory) != null) {
        return new Names(List.of(), Optional.empty());
      }
      throw e;
    } catch (java.nio.file.DirectoryIteratorException e) {
      throw e.getCause();
    }
    return new Names(smallest.stream().sorted(Keys::compare).toList(), Optional.ofNullable(next));
  }

  private List<DirectoryEntry> entries(Path directory, String folder, String after, Names names)
      throws IOException {
    List<DirectoryEntry> entries = new ArrayList<>();
    for (String key : names.chosen) {
      Path path;
      try {
        path = directory.resolve(key.substring(folder.length()));
      } catch (InvalidPathException e) {
        log.debug("a name in {} has characters that this locale does not", directory, e);
        continue;
      }
      Stat stat = stat(path); // of a name that is no UTF-8, so no key, there is none
      if (stat == null) {
        continue;
      }
      String full = stat.directory ? key + "/" : key;
      boolean inPage =
          Keys.compare(full, after) > 0
              && (names.next.isEmpty() || Keys.compare(full, names.next.get()) < 0);
      if (inPage && stat.regular) {
        entries.add(stat.info(key));
      } else if (inPage && stat.directory && hasObject(path)) {
        entries.add(new Directory(full));
      }
    }
    entries.sort((a, b) -> Keys.compare(a.key(), b.key()));
    return List.copyOf(entries);
  }

  /** Whether a file is below a directory; one that may not be read is taken to have one. */
  private static boolean hasObject(Path directory) throws IOException {
    List<Path> below = new ArrayList<>();
    try (DirectoryStream<Path> children = Files.newDirectoryStream(directory)) {
      for (Path child : children) {
        Stat stat = stat(child);
        if (stat != null && stat.regular) {
          return true;
        }
        if (stat != null && stat.directory) {
          below.add(child);
        }
      }
    } catch (NoSuchFileException | NotDirectoryException e) {
      return false; // removed meanwhile
    } catch (AccessDeniedException e) {
      log.debug("{} cannot be looked into", directory, e);
      return true;
    } catch (java.nio.file.DirectoryIteratorException e) {
      throw e.getCause();
    }
    for (Path child : below) {
      if (hasObject(child)) {
        return true;
      }
    }
    return false;
  }

  @Override
  public void delete(String key) throws StoreException {
    Path path = path("delete", key);
    on(
        "delete",
        key,
        () -> {
          Stat stat = stat(path);
          if (stat == null || !stat.regular) {
            checkRoot("delete");
            return null;
          }
          prepare("delete");
          try (StoreLock _ = lock()) {
            Files.deleteIfExists(path);
            for (Path parent = path.getParent();
                parent != null && !parent.equals(root);
                parent = parent.getParent()) {
              try {
                Files.delete(parent);
              } catch (DirectoryNotEmptyException e) {
                break;
              }
            }
          }
          return null;
        });
  }

  @Override
  public ObjectInfo copy(String from, String to, Precondition precondition) throws StoreException {
    Path source = path("copy", from);
    path("copy", to);
    return on(
        "copy",
        from,
        () -> {
          prepare("copy");
          Path file = newTemporary();
          try {
            Stat stat = stat(source);
            if (stat == null || !stat.regular) {
              throw notFound("copy", from, "there is no such object");
            }
            try (FileChannel in = FileChannel.open(source, READ);
                FileChannel out = FileChannel.open(file, Set.of(CREATE_NEW, WRITE), FILE_MODE)) {
              transfer(in, 0, in.size(), out);
              out.force(true);
            } catch (NoSuchFileException e) {
              throw notFound("copy", from, "there is no such object");
            }
            return commit("copy", file, to, precondition);
          } catch (Throwable e) {
            removeAfter(e, file);
            throw e;
          }
        });
  }

  @Override
  public MultipartUpload upload(String key) throws StoreException {
    path("upload", key);
    return on(
        "upload",
        key,
        () -> {
          prepare("upload");
          return FileUpload.create(this, key, uploads.resolve(UUID.randomUUID().toString()));
        });
  }

  @Override
  public MultipartUpload resume(String key, String uploadId) throws StoreException {
    path("resume", key);
    try {
      UUID.fromString(uploadId);
    } catch (IllegalArgumentException e) {
      throw new StoreException(
          Kind.NOT_FOUND, "resume", url.of(key), "there is no upload " + uploadId, "", e);
    }
    return new FileUpload(this, key, uploads.resolve(uploadId));
  }

  @Override
  public List<PendingUpload> uploads(String prefix) throws StoreException {
    return on(
        "uploads",
        prefix,
        () -> {
          checkRoot("uploads");
          List<PendingUpload> pending = new ArrayList<>();
          for (Path directory : children(uploads)) {
            Optional<PendingUpload> upload = FileUpload.describe(directory);
            if (upload.isPresent() && upload.get().key().startsWith(prefix)) {
              pending.add(upload.get());
            }
          }
          pending.sort(
              (a, b) ->
                  a.key().equals(b.key())
                      ? a.uploadId().compareTo(b.uploadId())
                      : Keys.compare(a.key(), b.key()));
          return pending;
        });
  }

  @Override
  public void close() {
    // holds nothing between calls
  }

  // ---------------------------------------------------------------- for FileUpload

  Path newTemporary() {
    return temporary.resolve(UUID.randomUUID().toString());
  }

  StoreLock lock() throws IOException {
    return StoreLock.acquire(hidden.resolve("lock"));
  }

  /**
   * Makes a synced file of this file system the object, if the precondition holds; the file is gone
   * then.
   */
  ObjectInfo commit(String operation, Path file, String key, Precondition precondition)
      throws IOException {
    Path target = path(operation, key);
    Deque<Path> changed = new ArrayDeque<>();
    Stat written;
    try (StoreLock _ = lock()) {
      Stat old = stat(target);
      Path blocking = old != null && !old.regular ? target : blockedBy(target);
      if (blocking != null) {
        throw new StoreException(
            Kind.INVALID,
            operation,
            url.of(key),
            blocking + (blocking.equals(target) ? " is a directory" : " is a file"),
            "a store never holds both a and a/b",
            null);
      }
      boolean holds =
          switch (precondition) {
            case Precondition.None() -> true;
            case Precondition.Absent() -> old == null;
            case Precondition.Matches(String version) ->
                old != null && old.version().equals(version);
          };
      if (!holds) {
        throw new StoreException(
            Kind.PRECONDITION_FAILED,
            operation,
            url.of(key),
            old == null
                ? "the object is gone"
                : precondition instanceof Precondition.Absent
                    ? "the object exists already"
                    : "the object was changed by somebody else",
            "",
            null);
      }
      Path parent = target.getParent();
      changed.add(parent);
      for (Path missing = parent; !Files.isDirectory(missing); missing = missing.getParent()) {
        changed.add(missing.getParent());
      }
      Files.createDirectories(parent, DIRECTORY_MODE);
      written = stamp(file, old);
      Files.move(file, target, ATOMIC_MOVE);
    }
    try {
      for (Path directory : changed) {
        try (FileChannel channel = FileChannel.open(directory, READ)) {
          channel.force(true);
        }
      }
    } catch (NoSuchFileException e) {
      log.debug("{} was deleted as soon as it was written", url.of(key), e);
    } catch (IOException e) {
      if (precondition instanceof Precondition.None || isInterrupt(e)) {
        throw e;
      }
      throw new StoreException(
          Kind.UNKNOWN_OUTCOME,
          operation,
          url.of(key),
          "was written, but its directory could not be synced: " + e.getMessage(),
          "",
          e);
    }
    return written.info(key);
  }

  /** Sets a modification time later than the old version's; see the essay above. */
  private Stat stamp(Path file, Stat old) throws IOException {
    Instant time = clock.instant();
    if (old != null && !time.isAfter(old.modified)) {
      time = old.modified.plusNanos(1);
    }
    for (long step : new long[] {1_000, 1_000_000, 2_000_000_000L, 4_000_000_000L}) {
      Files.setLastModifiedTime(file, FileTime.from(time));
      Stat stat = stat(file);
      if (stat == null) {
        throw new NoSuchFileException(file.toString());
      }
      if (old == null || stat.modified.isAfter(old.modified)) {
        return stat;
      }
      time = old.modified.plusNanos(step);
    }
    throw new FileSystemException(
        file.toString(), null, "the file system does not keep modification times");
  }

  static Stat stat(Path path) throws IOException {
    Map<String, Object> attributes;
    try {
      attributes =
          Files.readAttributes(
              path, "unix:ino,size,lastModifiedTime,isRegularFile,isDirectory", NOFOLLOW_LINKS);
    } catch (NoSuchFileException e) {
      return null;
    } catch (AccessDeniedException e) {
      throw e;
    } catch (FileSystemException e) {
      if (blockedBy(path) != null) {
        return null;
      }
      throw e;
    }
    return new Stat(
        ((Number) attributes.get("ino")).longValue(),
        ((FileTime) attributes.get("lastModifiedTime")).toInstant(),
        ((Number) attributes.get("size")).longValue(),
        (Boolean) attributes.get("isRegularFile"),
        (Boolean) attributes.get("isDirectory"));
  }

  /** What the file system says of a file, at one instant. */
  record Stat(long inode, Instant modified, long size, boolean regular, boolean directory) {

    String version() {
      return Long.toHexString(inode)
          + "-"
          + Long.toHexString(modified.getEpochSecond())
          + "."
          + Integer.toHexString(modified.getNano())
          + "-"
          + Long.toHexString(size);
    }

    ObjectInfo info(String key) {
      return new ObjectInfo(key, size, version(), modified.toEpochMilli());
    }
  }

  /** The ancestor of a path that is there and is no directory, so that the path can't be there. */
  private static Path blockedBy(Path path) {
    for (Path up = path.getParent(); up != null; up = up.getParent()) {
      if (Files.exists(up)) {
        return Files.isDirectory(up) ? null : up;
      }
    }
    return null;
  }

  /** Writes the buffer's remaining bytes; its position is advanced. */
  static void write(FileChannel channel, long offset, ByteBuffer body) throws IOException {
    long at = offset;
    int end = body.limit();
    while (body.position() < end) {
      // in slices: the JDK copies heap buffers through a direct one of the same size, and keeps it
      body.limit(body.isDirect() ? end : Math.min(end, body.position() + SLICE));
      at += channel.write(body, at);
    }
    body.limit(end);
  }

  /** Reads up to {@code wanted} bytes; returns how many there were. */
  static int read(FileChannel channel, long offset, ByteBuffer into, int wanted)
      throws IOException {
    int limit = into.limit();
    int end = into.position() + wanted;
    int start = into.position();
    try {
      while (into.position() < end) {
        into.limit(into.isDirect() ? end : Math.min(end, into.position() + SLICE));
        if (channel.read(into, offset + into.position() - start) < 0) {
          break;
        }
      }
    } finally {
      into.limit(limit);
    }
    return into.position() - start;
  }

  /** Appends a range of one file to another, inside the kernel where it can. */
  static void transfer(FileChannel in, long offset, long length, FileChannel out)
      throws IOException {
    for (long done = 0; done < length; ) {
      long moved = in.transferTo(offset + done, length - done, out);
      if (moved <= 0) {
        throw new IOException("a file shrank while it was copied");
      }
      done += moved;
    }
  }

  static List<Path> children(Path directory) throws IOException {
    try (Stream<Path> children = Files.list(directory)) {
      return children.toList();
    } catch (NoSuchFileException e) {
      return List.of();
    } catch (java.io.UncheckedIOException e) {
      throw e.getCause();
    }
  }

  static void removeRecursively(Path path) throws IOException {
    if (Files.isDirectory(path, NOFOLLOW_LINKS)) {
      for (Path child : children(path)) {
        removeRecursively(child);
      }
    }
    Files.deleteIfExists(path);
  }

  /** Removes a directory such that it is there or not, for everybody else. */
  void retire(Path directory) throws IOException {
    Path gone = newTemporary();
    try {
      Files.move(directory, gone, ATOMIC_MOVE);
    } catch (NoSuchFileException e) {
      return;
    }
    removeRecursively(gone);
  }

  static void removeAfter(Throwable failure, Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      failure.addSuppressed(e);
    }
  }

  // ---------------------------------------------------------------- errors

  /** Something that a store does. */
  interface Work<T> {
    T run() throws IOException;
  }

  /** Runs it; every failure comes out as a {@link StoreException}. */
  <T> T on(String operation, String key, Work<T> work) throws StoreException {
    if (Thread.currentThread().isInterrupted()) {
      throw new StoreException(
          Kind.INTERRUPTED, operation, url.of(key), "the thread was interrupted", "", null);
    }
    try {
      return work.run();
    } catch (StoreException e) {
      throw e;
    } catch (IOException e) {
      throw translate(operation, key, e);
    }
  }

  StoreException notFound(String operation, String key, String detail) {
    return new StoreException(Kind.NOT_FOUND, operation, url.of(key), detail, "", null);
  }

  private static boolean isInterrupt(IOException e) {
    return e instanceof ClosedByInterruptException || e instanceof FileLockInterruptionException;
  }

  private StoreException translate(String operation, String key, IOException e) {
    String reason =
        e instanceof FileSystemException f && f.getReason() != null
            ? f.getFile() + ": " + f.getReason()
            : String.valueOf(e.getMessage());
    Kind kind = Kind.OTHER;
    String remedy = "";
    if (isInterrupt(e)) {
      Thread.currentThread().interrupt();
      kind = Kind.INTERRUPTED;
      reason = "the thread was interrupted";
    } else if (e instanceof AccessDeniedException) {
      kind = Kind.DENIED;
      reason = "no permission for " + e.getMessage();
      remedy = "give this user read and write permission for " + root;
    } else if (e instanceof FileAlreadyExistsException f) {
      kind = Kind.INVALID;
      reason = f.getFile() + " is in the way";
      remedy = "remove it, or choose another directory";
    } else if (reason.contains("No space left on device") || reason.contains("quota exceeded")) {
      kind = Kind.NO_SPACE;
      remedy = "free space in " + root + ", or choose another store";
    } else if (reason.contains("Read-only file system")) {
      kind = Kind.DENIED;
      remedy = "mount it read-write, or choose another store";
    } else if (reason.contains("File name too long")) {
      kind = Kind.INVALID;
      remedy = "use a shorter directory";
    } else if (reason.contains("File too large")) {
      kind = Kind.INVALID;
      remedy = "raise the limit (ulimit -f), or use a file system that takes such files";
    } else if (reason.contains("No locks available")) {
      kind = Kind.INVALID;
      remedy = "mount the file system with file locks";
    } else if (reason.contains(StoreLock.STUCK)) {
      kind = Kind.UNREACHABLE;
      remedy = "is it stopped, or its machine? lslocks names it";
    } else if (reason.contains("Too many open files")) {
      remedy = "raise the limit (ulimit -n)";
    } else if (reason.contains("Stale file handle")
        || reason.contains("Transport endpoint is not connected")
        || reason.contains("Host is down")) {
      kind = Kind.UNREACHABLE;
      remedy = "is the file server up?";
    } else if (e instanceof NoSuchFileException) {
      reason = e.getMessage() + " has disappeared";
      remedy = "something else removed it";
    }
    return new StoreException(kind, operation, url.of(key), reason, remedy, e);
  }

  private void checkRoot(String operation) throws StoreException {
    Path blocking = Files.exists(root) && !Files.isDirectory(root) ? root : blockedBy(root);
    if (blocking != null) {
      throw new StoreException(
          Kind.NO_STORE,
          operation,
          url.toString(),
          blocking + " is not a directory",
          "name a directory; it is created when it does not exist",
          null);
    }
  }

  /** Before a write: the directories are there, and old leftovers are not. */
  private void prepare(String operation) throws IOException {
    checkRoot(operation);
    Files.createDirectories(temporary, DIRECTORY_MODE);
    Files.createDirectories(uploads, DIRECTORY_MODE);
    if (swept.compareAndSet(false, true)) {
      sweep(temporary, TEMPORARY_LIFE);
      sweep(uploads, UPLOAD_LIFE);
    }
  }

  private void sweep(Path directory, Duration life) {
    Instant limit = clock.instant().minus(life);
    try {
      for (Path leftover : children(directory)) {
        Stat stat = stat(leftover);
        // a directory's time is that of the last part that came or went
        if (stat != null && stat.modified.isBefore(limit)) {
          log.info("removing {}, left over by a writer that died", leftover);
          removeRecursively(leftover);
        }
      }
    } catch (IOException e) {
      log.warn("cannot remove old leftovers in {}: {}", directory, e.toString());
    }
  }

  static void checkRange(long offset, ByteBuffer into) {
    if (offset < 0) {
      throw new IllegalArgumentException("the offset is negative: " + offset);
    }
    if (into.isReadOnly()) {
      throw new IllegalArgumentException("the buffer is read-only");
    }
  }

  private Path path(String operation, String key) throws StoreException {
    Keys.check(key);
    if (key.equals(HIDDEN) || key.startsWith(HIDDEN + "/")) {
      throw new StoreException(
          Kind.INVALID,
          operation,
          url.of(key),
          HIDDEN + " is the store's own",
          "use another key",
          null);
    }
    for (String name : key.split("/", -1)) {
      if (name.getBytes(UTF_8).length > NAME_MAX) {
        throw new StoreException(
            Kind.INVALID,
            operation,
            url.of(key),
            "a name in the key has more than " + NAME_MAX + " bytes",
            "use shorter names",
            null);
      }
    }
    try {
      return root.resolve(key);
    } catch (InvalidPathException e) {
      throw new StoreException(
          Kind.INVALID,
          operation,
          url.toString(),
          "a key that this locale has no characters for",
          "set LC_ALL=C.UTF-8",
          e);
    }
  }
}
