package org.lifeboat.snapshot;

import java.util.List;
import java.util.Map;

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

  /** An object's size in bytes and its SHA-256 in hexadecimal. */
  public record Item(long size, String sha256) {}

  /** The packs that hold the files' content: key, size, part size, digests of the parts. */
  public record FilePack(List<Pack> packs) {
    public FilePack {
      packs = List.copyOf(packs);
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
