package org.lifeboat.receive;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.lifeboat.page.PackInfo;
import org.lifeboat.page.PageFormat;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreException;

/**
 * What a {@link SpillSink} of an earlier process left behind. Belongs to one thread, and the
 * directory to one process.
 */
public final class Spill {

  private final Path directory;
  private final SpillJournal.State state;

  private Spill(Path directory, SpillJournal.State state) {
    this.directory = directory;
    this.state = state;
  }

  /**
   * Looks for a spill in the directory.
   *
   * @return empty when there is none
   */
  public static Optional<Spill> find(Path directory) throws IOException {
    if (!Files.exists(directory.resolve(SpillJournal.NAME))) {
      return Optional.empty();
    }
    return Optional.of(new Spill(directory, SpillJournal.read(directory)));
  }

  /** Whether all pages are there, so that {@link #upload} makes a snapshot's packs of it. */
  public boolean complete() {
    return state.sealed();
  }

  /** The packs, as the finished index has them. */
  public List<PackInfo> packs() throws IOException {
    if (!complete()) {
      throw new ReceiveException("the spill in " + directory + " is not complete: discard it");
    }
    List<PackInfo> infos = new ArrayList<>();
    for (SpillJournal.Pack pack : state.packs().values()) {
      try {
        infos.add(
            new PackInfo(
                pack.key(),
                pack.length(),
                PageFormat.PART_BYTES,
                List.copyOf(pack.digests().values())));
      } catch (IllegalArgumentException e) {
        throw new ReceiveException("the journal of the spill in " + directory + " is damaged", e);
      }
    }
    return infos;
  }

  /**
   * Finishes the upload and removes the files. Parts that the store has already are not sent again;
   * the others are checked against their SHA-256 first. After a failure it may be called again.
   *
   * @param uploads parts that are on their way at the same time; memory is that x 8 MiB
   */
  public void upload(ObjectStore store, int uploads) throws IOException {
    List<PackInfo> infos = packs();
    try (SpillJournal journal = SpillJournal.append(directory, state);
        SpillUploads sending = new SpillUploads(store, directory, journal, uploads)) {
      List<SpillJournal.Pack> left = new ArrayList<>();
      Iterator<PackInfo> next = infos.iterator();
      for (SpillJournal.Pack pack : state.packs().values()) {
        PackInfo info = next.next();
        if (pack.stored() || isStored(store, info)) {
          continue;
        }
        left.add(pack);
        Set<Integer> there = resume(store, pack, info, sending);
        for (int part = 1; part <= info.sha256().size(); part++) {
          if (!there.contains(part)) {
            sending.add(pack, part, info.partLength(part - 1), info.sha256().get(part - 1));
          }
        }
      }
      sending.await();
      for (SpillJournal.Pack pack : left) {
        sending.complete(pack, pack.length());
      }
    }
    removeFiles();
  }

  private static boolean isStored(ObjectStore store, PackInfo info) throws IOException {
    return store.head(info.key()).filter(object -> object.size() == info.length()).isPresent();
  }

  /** The parts that an upload of the earlier process has; none when it is gone. */
  private static Set<Integer> resume(
      ObjectStore store, SpillJournal.Pack pack, PackInfo info, SpillUploads sending)
      throws IOException {
    Set<Integer> there = new HashSet<>();
    if (pack.uploadId() == null) {
      return there;
    }
    try {
      MultipartUpload upload = store.resume(pack.key(), pack.uploadId());
      for (MultipartUpload.Part part : upload.parts()) {
        if (part.number() <= info.sha256().size()
            && part.size() == info.partLength(part.number() - 1)) {
          there.add(part.number());
        }
      }
      sending.remember(pack, upload);
    } catch (StoreException e) {
      if (e.kind() != StoreException.Kind.NOT_FOUND) {
        throw e;
      }
      there.clear();
    }
    return there;
  }

  /**
   * Throws away the files, and what the store has of packs that are not complete. Packs that are
   * objects already stay: a snapshot may refer to them.
   */
  public void discard(ObjectStore store) throws IOException {
    for (SpillJournal.Pack pack : state.packs().values()) {
      if (pack.uploadId() != null && !pack.stored()) {
        try {
          store.resume(pack.key(), pack.uploadId()).abort();
        } catch (StoreException e) {
          if (e.kind() != StoreException.Kind.NOT_FOUND) {
            throw e;
          }
        }
      }
    }
    removeFiles();
  }

  private void removeFiles() throws IOException {
    for (SpillJournal.Pack pack : state.packs().values()) {
      Files.deleteIfExists(SpillUploads.file(directory, pack.number()));
    }
    Files.deleteIfExists(directory.resolve(SpillJournal.NAME));
    Files.deleteIfExists(directory);
  }
}
