package org.lifeboat.store;

import static java.nio.charset.StandardCharsets.UTF_8;
import static java.nio.file.StandardCopyOption.ATOMIC_MOVE;
import static java.nio.file.StandardOpenOption.CREATE;
import static java.nio.file.StandardOpenOption.CREATE_NEW;
import static java.nio.file.StandardOpenOption.READ;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.zip.CRC32C;
import org.lifeboat.store.ObjectStore.ObjectInfo;
import org.lifeboat.store.ObjectStore.PendingUpload;
import org.lifeboat.store.StoreException.Kind;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A multipart upload in a directory.
 *
 * <pre>
 * ID/key          the key, in UTF-8; ID appears with it
 * ID/slot         the slot size in bytes: that of the first part of at least 5 MiB
 * ID/data         sparse; part N of at most a slot's size lies at (N - 1) * slot size
 * ID/claim.N      empty: somebody has begun to write slot N
 * ID/file.N.UUID  a part that is not in its slot: larger, or sent again
 * ID/part.N       the part is there: "SIZE CRC32C PLACE BOOT", PLACE is "slot" or the file's name
 * ID/lock         held while the upload is completed
 * </pre>
 *
 * <p>Parts of one size, which is what Lifeboat sends, are so written once: completing truncates,
 * syncs and renames {@code data}. A slot is written by one sender only, ever: a part that is sent
 * again goes to a file of its own, so that what {@code part.N} vouches for is never torn, and is
 * copied into its slot at the end. Numbers with gaps or parts of mixed sizes are concatenated.
 *
 * <p>Parts are not synced one by one. That the page cache lost one in a crash of the host shows by
 * its boot id, then its checksum is verified before it is counted.
 */
final class FileUpload implements MultipartUpload {

  static final int MIN_PART = 5 << 20;
  static final int MAX_NUMBER = 10_000;

  private static final Logger log = LoggerFactory.getLogger(FileUpload.class);
  private static final String KEY = "key";
  private static final String SLOT = "slot";
  private static final String DATA = "data";
  private static final String PART = "part.";

  private final FileStore store;
  private final String key;
  private final Path directory;
  private final ReadWriteLock sending = new ReentrantReadWriteLock();
  private volatile long slotSize = -1;

  FileUpload(FileStore store, String key, Path directory) {
    this.store = store;
    this.key = key;
    this.directory = directory;
  }

  /** Begins one: it has its key from its first moment on, or nobody could find it to abort it. */
  static FileUpload create(FileStore store, String key, Path directory) throws IOException {
    Path made = store.newTemporary();
    try {
      Files.createDirectory(made, FileStore.DIRECTORY_MODE);
      new FileUpload(store, key, made).replace(KEY, key, true);
      Files.move(made, directory, ATOMIC_MOVE);
    } catch (IOException | RuntimeException e) {
      try {
        FileStore.removeRecursively(made);
      } catch (IOException suppressed) {
        e.addSuppressed(suppressed);
      }
      throw e;
    }
    return new FileUpload(store, key, directory);
  }

  static Optional<PendingUpload> describe(Path directory) throws IOException {
    Path file = directory.resolve(KEY);
    FileStore.Stat stat = FileStore.stat(file);
    Path id = directory.getFileName();
    if (stat == null || id == null) {
      return Optional.empty();
    }
    try {
      return Optional.of(
          new PendingUpload(Files.readString(file), id.toString(), stat.modified().toEpochMilli()));
    } catch (NoSuchFileException e) {
      return Optional.empty();
    }
  }

  @Override
  public String key() {
    return key;
  }

  @Override
  public String id() {
    return directory.getFileName().toString();
  }

  @Override
  public Part part(int number, ByteBuffer body) throws StoreException {
    String operation = "part " + number;
    checkNumber(number);
    return store.on(
        operation,
        key,
        () -> {
          sending.readLock().lock();
          try {
            checkThere(operation);
            return send(number, body);
          } catch (NoSuchFileException e) {
            checkThere(operation);
            throw e;
          } finally {
            sending.readLock().unlock();
          }
        });
  }

  static void checkNumber(int number) {
    if (number < 1 || number > MAX_NUMBER) {
      throw new IllegalArgumentException("a part's number is 1 to 10000, not " + number);
    }
  }

  private Part send(int number, ByteBuffer body) throws IOException {
    int size = body.remaining();
    CRC32C crc = new CRC32C();
    crc.update(body.duplicate());
    String tag = String.format("%08x", crc.getValue());
    long slot = slotSize(size);
    String place;
    if (size <= slot && claim(number)) {
      place = SLOT;
      try (FileChannel data =
          FileChannel.open(directory.resolve(DATA), Set.of(CREATE, WRITE), FileStore.FILE_MODE)) {
        FileStore.write(data, (number - 1) * slot, body.duplicate());
      }
    } else {
      place = "file." + number + "." + UUID.randomUUID();
      try (FileChannel file =
          FileChannel.open(
              directory.resolve(place), Set.of(CREATE_NEW, WRITE), FileStore.FILE_MODE)) {
        FileStore.write(file, 0, body.duplicate());
      }
    }
    Optional<Sent> old = readRecord(number);
    replace(PART + number, new Sent(number, size, tag, place, bootId()).line(), false);
    if (old.isPresent() && !old.get().place.equals(SLOT)) {
      Files.deleteIfExists(directory.resolve(old.get().place));
    }
    return new Part(number, size, tag);
  }

  private boolean claim(int number) throws IOException {
    try {
      Files.createFile(directory.resolve("claim." + number), FileStore.FILE_MODE);
      return true;
    } catch (FileAlreadyExistsException e) {
      return false;
    }
  }

  /** The slot size, 0 while there is none. */
  private long slotSize(int size) throws IOException {
    if (slotSize < 0) {
      Path file = directory.resolve(SLOT);
      try {
        slotSize = Long.parseLong(Files.readString(file));
      } catch (NoSuchFileException e) {
        if (size < MIN_PART) {
          return 0;
        }
        try (StoreLock _ = store.lock()) {
          if (!Files.exists(file)) {
            replace(SLOT, Long.toString(size), true);
          }
          slotSize = Long.parseLong(Files.readString(file));
        }
      }
    }
    return slotSize;
  }

  private void replace(String name, String content, boolean synced) throws IOException {
    Path file = directory.resolve("tmp." + UUID.randomUUID());
    try (FileChannel channel =
        FileChannel.open(file, Set.of(CREATE_NEW, WRITE), FileStore.FILE_MODE)) {
      FileStore.write(channel, 0, ByteBuffer.wrap(content.getBytes(UTF_8)));
      if (synced) {
        channel.force(true);
      }
    }
    Files.move(file, directory.resolve(name), ATOMIC_MOVE);
  }

  /** What {@code part.N} says. */
  private record Sent(int number, long size, String tag, String place, String boot) {

    String line() {
      return size + " " + tag + " " + place + " " + boot;
    }
  }

  private Optional<Sent> readRecord(int number) throws IOException {
    String line;
    try {
      line = Files.readString(directory.resolve(PART + number));
    } catch (NoSuchFileException e) {
      return Optional.empty();
    }
    String[] fields = line.split(" ", -1);
    if (fields.length != 4) {
      return Optional.empty(); // its bytes were lost in a crash of the host
    }
    return Optional.of(
        new Sent(number, Long.parseLong(fields[0]), fields[1], fields[2], fields[3]));
  }

  private SortedMap<Integer, Sent> records() throws IOException {
    SortedMap<Integer, Sent> records = new TreeMap<>();
    String boot = bootId();
    for (Path child : FileStore.children(directory)) {
      String name = child.getFileName().toString();
      if (name.startsWith(PART)) {
        int number = Integer.parseInt(name.substring(PART.length()));
        Optional<Sent> found = readRecord(number);
        if (found.isPresent() && (found.get().boot.equals(boot) || isIntact(found.get()))) {
          records.put(number, found.get());
        }
      }
    }
    return records;
  }

  private boolean isIntact(Sent part) throws IOException {
    boolean inSlot = part.place.equals(SLOT);
    try (FileChannel file = FileChannel.open(directory.resolve(inSlot ? DATA : part.place), READ)) {
      CRC32C crc = new CRC32C();
      ByteBuffer buffer = ByteBuffer.allocateDirect(1 << 20);
      long start = inSlot ? (part.number - 1) * slotSize(0) : 0;
      for (long done = 0; done < part.size; ) {
        int wanted = (int) Math.min(buffer.clear().remaining(), part.size - done);
        if (FileStore.read(file, start + done, buffer, wanted) < wanted) {
          return false;
        }
        crc.update(buffer.flip());
        done += wanted;
      }
      return part.tag.equals(String.format("%08x", crc.getValue()));
    } catch (NoSuchFileException e) {
      return false;
    }
  }

  /** Names the life of the kernel whose page cache may hold what no disk has yet. */
  private static String bootId() throws IOException {
    return Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip();
  }

  @Override
  public List<Part> parts() throws StoreException {
    return store.on(
        "parts",
        key,
        () -> {
          checkThere("parts");
          return records().values().stream()
              .map(record -> new Part(record.number, record.size, record.tag))
              .toList();
        });
  }

  private void checkThere(String operation) throws IOException {
    Optional<PendingUpload> upload = describe(directory);
    if (upload.isEmpty() || !upload.get().key().equals(key)) {
      throw store.notFound(operation, key, "there is no upload " + id());
    }
  }

  @Override
  public ObjectInfo complete(Precondition precondition) throws StoreException {
    return store.on(
        "complete",
        key,
        () -> {
          sending.writeLock().lock();
          try {
            checkThere("complete");
            try (StoreLock _ = StoreLock.acquire(directory.resolve("lock"))) {
              checkThere("complete");
              ObjectInfo info = join(List.copyOf(records().values()), precondition);
              try {
                store.retire(directory);
              } catch (IOException e) {
                log.warn("cannot remove {}, which is finished: {}", directory, e.toString());
              }
              return info;
            }
          } finally {
            sending.writeLock().unlock();
          }
        });
  }

  private ObjectInfo join(List<Sent> parts, Precondition precondition) throws IOException {
    if (parts.isEmpty()) {
      throw new StoreException(
          Kind.INVALID, "complete", store.url().of(key), "the upload has no part", "", null);
    }
    long slot = slotSize(0);
    boolean inPlace = true;
    long total = 0;
    for (int i = 0; i < parts.size(); i++) {
      Sent part = parts.get(i);
      boolean last = i == parts.size() - 1;
      if (!last && part.size < MIN_PART) {
        throw new StoreException(
            Kind.INVALID,
            "complete",
            store.url().of(key),
            "part " + part.number + " has " + part.size + " bytes",
            "all parts but the last need at least 5 MiB",
            null);
      }
      inPlace &= part.number == i + 1 && (last ? part.size <= slot : part.size == slot);
      total += part.size;
    }
    Path whole = inPlace ? directory.resolve(DATA) : store.newTemporary();
    try {
      if (inPlace) {
        fillSlots(whole, parts, slot, total);
      } else {
        concatenate(whole, parts, slot);
      }
      return store.commit("complete", whole, key, precondition);
    } catch (Throwable e) {
      if (!inPlace) {
        FileStore.removeAfter(e, whole);
      }
      throw e;
    }
  }

  private void fillSlots(Path data, List<Sent> parts, long slot, long total) throws IOException {
    try (FileChannel out = FileChannel.open(data, Set.of(CREATE, WRITE), FileStore.FILE_MODE)) {
      for (Sent part : parts) {
        if (!part.place.equals(SLOT)) {
          try (FileChannel in = FileChannel.open(directory.resolve(part.place), READ)) {
            out.position((part.number - 1) * slot);
            FileStore.transfer(in, 0, part.size, out);
          }
        }
      }
      out.truncate(total);
      out.force(true);
    }
  }

  private void concatenate(Path whole, List<Sent> parts, long slot) throws IOException {
    try (FileChannel out =
        FileChannel.open(whole, Set.of(CREATE_NEW, WRITE), FileStore.FILE_MODE)) {
      for (Sent part : parts) {
        boolean inSlot = part.place.equals(SLOT);
        Path source = directory.resolve(inSlot ? DATA : part.place);
        try (FileChannel in = FileChannel.open(source, READ)) {
          FileStore.transfer(in, inSlot ? (part.number - 1) * slot : 0, part.size, out);
        }
      }
      out.force(true);
    }
  }

  @Override
  public void abort() throws StoreException {
    store.on(
        "abort",
        key,
        () -> {
          store.retire(directory);
          return null;
        });
  }
}
