package org.lifeboat.snapshot;

import java.util.List;
import java.util.Map;
import org.lifeboat.store.Keys;

/**
 * The object {@code manifest.json} of a dump: every other object of it with size and SHA-256, and
 * what must be known of the host before anything is fetched. Nothing that is not named here is read
 * at a restore.
 *
 * @param format the version of this format: {@value #FORMAT}
 * @param images CRIU's images, by file name; the pages and pagemaps are not among them, they are
 *     made from the index
 * @param index the object {@code pages.index}
 * @param packs what the pages and the files stand in, key to size; the digests of their parts stand
 *     in index and file manifest
 * @param files the object {@code files.manifest}
 * @param root the PID of the tree's root
 * @param highestPid the highest process or thread id in the tree
 * @param rawBytes bytes of all pages
 * @param storedBytes bytes of all packs
 * @param fileBytes bytes of the captured files' content
 * @param frozenMicros how long the tree had been frozen when this was written
 * @param stdoutInode the pipe that was the task's stdout
 */
public record Manifest(
    int format,
    int id,
    long epoch,
    String lifeboat,
    List<String> command,
    String directory,
    Host host,
    long root,
    long highestPid,
    long stdoutInode,
    long stderrInode,
    int processes,
    long rawBytes,
    long storedBytes,
    long fileBytes,
    long frozenMicros,
    Map<String, Item> images,
    Item index,
    Item files,
    Map<String, Long> packs,
    FilePack filePack) {

  public static final int FORMAT = 1;

  public Manifest {
    command = List.copyOf(command);
    images = Map.copyOf(images);
    packs = Map.copyOf(packs);
  }

  private static final int MOST_PART = 64 << 20;

  /**
   * Reads a manifest and trusts no field of it: names and keys lead nowhere but into the store's
   * own folder and into the folder that images are fetched to.
   *
   * @param what its URL or path, for the message
   * @throws SnapshotException of kind DAMAGED or NEWER_FORMAT
   */
  public static Manifest read(byte[] bytes, String what) throws SnapshotException {
    return SealedJson.read(bytes, Manifest.class, what, FORMAT, Manifest::check);
  }

  private static void check(Fields manifest) throws Fields.FieldException {
    manifest.integer("id", 1, Integer.MAX_VALUE);
    manifest.integer("epoch", 1, Long.MAX_VALUE);
    manifest.text("lifeboat", 0);
    manifest.texts("command", 0);
    manifest.text("directory", 0);
    Fields host = manifest.object("host");
    for (String text : List.of("name", "arch", "kernel", "criu", "cpu", "os")) {
      host.text(text, 0);
    }
    host.texts("cpuFlags", 0);
    host.integer("pageSize", 1024, 1 << 20);
    for (String pid : List.of("root", "highestPid")) {
      manifest.integer(pid, 1, Integer.MAX_VALUE);
    }
    manifest.integer("stdoutInode", 0, Long.MAX_VALUE);
    manifest.integer("stderrInode", 0, Long.MAX_VALUE);
    manifest.integer("processes", 0, Integer.MAX_VALUE);
    for (String bytes : List.of("rawBytes", "storedBytes", "fileBytes")) {
      manifest.bytes(bytes);
    }
    manifest.integer("frozenMicros", 0, Long.MAX_VALUE);
    Fields images = manifest.object("images");
    for (String name : manifest.names("images")) {
      if (name.contains("/") || name.startsWith(".") || !SealedDump.isImage(name)) {
        throw images.wrong(name, "named as an image of CRIU is");
      }
      checkItem(images.object(name));
    }
    checkItem(manifest.object("index"));
    checkItem(manifest.object("files"));
    Fields packs = manifest.object("packs");
    for (String key : manifest.names("packs")) {
      if (!isKey(key)) {
        throw packs.wrong(key, "below a key of this store");
      }
      packs.bytes(key);
    }
    for (Fields pack : manifest.object("filePack").objects("packs")) {
      if (!isKey(pack.text("key", 1))) {
        throw pack.wrong("key", "a key of this store");
      }
      long size = pack.integer("size", 1, Fields.MOST_BYTES);
      long part = pack.integer("partSize", 1, MOST_PART);
      List<String> parts = pack.texts("parts", 1);
      if (parts.size() != (size + part - 1) / part || !parts.stream().allMatch(Fields::isDigest)) {
        throw pack.wrong("parts", "a SHA-256 for each part of " + part + " bytes");
      }
    }
  }

  private static void checkItem(Fields item) throws Fields.FieldException {
    item.bytes("size");
    item.digest("sha256");
  }

  private static boolean isKey(String key) {
    try {
      return Keys.check(key).startsWith(Layout.ROOT) && key.chars().noneMatch(c -> c < ' ');
    } catch (IllegalArgumentException e) {
      return false;
    }
  }

  /** What a restore fetches but the pages, in bytes. */
  long besidePages() {
    return images.values().stream().mapToLong(Item::size).sum()
        + index.size()
        + files.size()
        + filePack.bytes();
  }

  /** An object's size in bytes and its SHA-256 in hexadecimal. */
  public record Item(long size, String sha256) {}

  /** The packs that hold the files' content: key, size, part size, digests of the parts. */
  public record FilePack(List<Pack> packs) {
    public FilePack {
      packs = List.copyOf(packs);
    }

    long bytes() {
      return packs.stream().mapToLong(Pack::size).sum();
    }
  }

  /** One pack. */
  public record Pack(String key, long size, int partSize, List<String> parts) {
    public Pack {
      parts = List.copyOf(parts);
    }
  }

  /** The host that was dumped. */
  public record Host(
      String name,
      String arch,
      String kernel,
      String criu,
      int pageSize,
      String cpu,
      List<String> cpuFlags,
      String os) {
    public Host {
      cpuFlags = List.copyOf(cpuFlags);
    }
  }
}
