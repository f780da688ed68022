package org.lifeboat.snapshot;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.lifeboat.store.FileStore;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreUrl;

/** Documents and stores made by hand. */
public final class Documents {

  private static final AtomicInteger NONCE = new AtomicInteger();

  private Documents() {}

  public static FileStore store(Path folder) {
    return new FileStore(StoreUrl.parse("file://" + folder));
  }

  public static String nonce() {
    return "nonce-" + NONCE.incrementAndGet();
  }

  public static DumpMetadata.Owner owner(String id, int attempt, boolean released) {
    return new DumpMetadata.Owner(id, "host-of-" + id, 7, attempt, 1000, released);
  }

  public static DumpMetadata document(DumpMetadata.Owner owner, DumpMetadata.Dump... dumps) {
    return new DumpMetadata(
        DumpMetadata.FORMAT,
        1,
        "",
        owner,
        List.of("sh", "-c", "echo 'a b'"),
        "/work",
        new DumpMetadata.Task(DumpMetadata.TaskState.ACTIVE, null, 1000, 1),
        List.of(dumps));
  }

  public static DumpMetadata.Dump dump(int id, DumpMetadata.DumpState state, int generation) {
    boolean done =
        state != DumpMetadata.DumpState.DUMPING && state != DumpMetadata.DumpState.FAILED;
    return new DumpMetadata.Dump(
        id,
        DumpMetadata.DumpType.FULL,
        state,
        null,
        generation,
        0,
        1,
        1000,
        0,
        done ? 2000 : 0,
        done ? 4096 : 0,
        done ? 100 : 0,
        done ? 5 : 0,
        done ? 10 : 0,
        done ? "00".repeat(32) : null,
        null);
  }

  /** Writes the document into the store. */
  public static void put(ObjectStore store, DumpMetadata document) throws StoreException {
    store.put(Layout.METADATA, ByteBuffer.wrap(SealedJson.write(document)), Precondition.NONE);
  }

  /** A manifest, with its dump, that the store vouches for; its objects are only named. */
  public static DumpMetadata.Dump committed(ObjectStore store, int id) throws StoreException {
    Manifest manifest =
        new Manifest(
            Manifest.FORMAT,
            id,
            1,
            "test",
            List.of("sh", "-c", "echo 'a b'"),
            "/work",
            new Manifest.Host("h", "amd64", "6.1", "4.2", 4096, "a cpu", List.of("fpu"), "an os"),
            500,
            510,
            1,
            2,
            3,
            4096,
            100,
            7,
            5,
            java.util.Map.of("core-500.img", new Manifest.Item(3, SealedJson.sha256(new byte[3]))),
            new Manifest.Item(1, "00".repeat(32)),
            new Manifest.Item(1, "00".repeat(32)),
            java.util.Map.of(),
            new Manifest.FilePack(List.of()));
    byte[] bytes = SealedJson.write(manifest);
    store.put(Layout.manifest(id), ByteBuffer.wrap(bytes), Precondition.NONE);
    for (String name : List.of("core-500.img", "pages.index", "dump_" + id + ".log")) {
      store.put(Layout.dump(id) + name, ByteBuffer.wrap(new byte[3]), Precondition.NONE);
    }
    return dump(id, DumpMetadata.DumpState.DUMPING, 1)
        .complete(2000, manifest, bytes.length, SealedJson.sha256(bytes));
  }

  static List<Integer> ids(List<DumpMetadata.Dump> dumps) {
    return new ArrayList<>(dumps.stream().map(DumpMetadata.Dump::id).toList());
  }
}
