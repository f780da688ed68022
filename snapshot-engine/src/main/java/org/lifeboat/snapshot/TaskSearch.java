package org.lifeboat.snapshot;

import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.ObjectStore.ObjectInfo;
import org.lifeboat.store.ObjectStore.PendingUpload;
import org.lifeboat.store.StoreException;

/**
 * Finds the tasks below a URL by listing, as Nextflow's work directory has thousands of them, among
 * data of every size.
 *
 * <p>A listing comes in the order of keys, and {@code .fusion} stands before almost everything else
 * of its folder: so once a task is found, the rest of its folder is leapt over, and a task costs
 * one request however much data lies there. A folder without snapshots is paged through, a thousand
 * names a request. A task inside the folder of another is not found; where the URL is a task's own,
 * it is the only one.
 */
public final class TaskSearch {

  private static final String DUMPS = "/" + Layout.ROOT;

  /** What {@code file://} keeps beside a store's objects: uploads that were not finished. */
  private static final String HIDDEN = "/.lifeboat-store/";

  private final ObjectStore store;

  public TaskSearch(ObjectStore store) {
    this.store = store;
  }

  /**
   * The folders that hold {@code .fusion/dump}, or uploads to it: keys below the store's URL, empty
   * for the URL itself.
   */
  public List<String> folders() throws StoreException {
    Set<String> folders = new TreeSet<>();
    String after = "";
    boolean more = true;
    while (more) {
      ObjectStore.ListPage page = store.list("", after);
      for (ObjectInfo object : page.objects()) {
        folder(object.key()).ifPresent(folders::add);
      }
      more = page.more() && !page.objects().isEmpty() && !folders.contains("");
      if (more) {
        after = behind(page.objects().getLast().key(), folders);
      }
    }
    for (PendingUpload upload : Sweep.uploadsOrNone(store, "")) {
      folder(upload.key()).ifPresent(folders::add);
    }
    return folders.contains("") ? List.of("") : List.copyOf(folders);
  }

  /** Where to go on: behind the key, or behind all of the task's folder that it is in. */
  private static String behind(String key, Set<String> folders) {
    for (int slash = key.indexOf('/'); slash >= 0; slash = key.indexOf('/', slash + 1)) {
      String leap = key.substring(0, slash) + "/~";
      if (folders.contains(key.substring(0, slash)) && key.compareTo(leap) < 0) {
        return leap;
      }
    }
    return key;
  }

  private static Optional<String> folder(String key) {
    String rooted = "/" + key;
    for (String part : List.of(DUMPS, HIDDEN)) {
      int at = rooted.indexOf(part);
      if (at >= 0) {
        return Optional.of(at == 0 ? "" : rooted.substring(1, at));
      }
    }
    return Optional.empty();
  }
}
