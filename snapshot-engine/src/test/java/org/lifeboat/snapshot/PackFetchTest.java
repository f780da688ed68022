package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.FaultStore;
import org.lifeboat.store.FaultStore.Fault;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException;

/** Packs of files, and the small parts of a restore. */
final class PackFetchTest {

  private static final int PART = 1000;

  @TempDir private Path folder;
  private ObjectStore store;
  private byte[] bytes;
  private Manifest.Pack pack;

  @BeforeEach
  void begin() throws IOException {
    store = Documents.store(folder.resolve("store"));
    bytes = new byte[20 * PART + 77];
    new Random(3).nextBytes(bytes);
    List<String> parts = new ArrayList<>();
    for (int at = 0; at < bytes.length; at += PART) {
      parts.add(
          SealedJson.sha256(Arrays.copyOfRange(bytes, at, Math.min(at + PART, bytes.length))));
    }
    pack = new Manifest.Pack("a/b.pack", bytes.length, PART, parts);
    store.put(pack.key(), ByteBuffer.wrap(bytes), Precondition.NONE);
  }

  private SnapshotException damaged(ObjectStore from, Manifest.Pack what) {
    SnapshotException e =
        assertThrows(SnapshotException.class, () -> new PackFetch(from).fetch(what, null));
    assertEquals(SnapshotException.Kind.DAMAGED, e.kind());
    return e;
  }

  @Test
  void bringsEveryByte() throws Exception {
    Path file = folder.resolve("pack");
    new PackFetch(store).fetch(pack, file);
    assertArrayEquals(bytes, Files.readAllBytes(file));
    new PackFetch(store).fetch(pack, null);
  }

  @Test
  void noWrongBitGetsThrough() {
    for (int part = 1; part <= 21; part++) {
      FaultStore faults =
          new FaultStore(
              store,
              FaultStore.once(
                  part, call -> call.operation() == Operation.GET, new Fault.FlipBit(part)));
      assertTrue(damaged(faults, pack).getMessage().contains("is not what was stored"));
    }
  }

  @Test
  void missingShortAndLongAreDamage() throws IOException {
    store.put(pack.key(), ByteBuffer.wrap(bytes, 0, bytes.length - 1), Precondition.NONE);
    damaged(store, pack);
    store.put(
        pack.key(), ByteBuffer.wrap(Arrays.copyOf(bytes, bytes.length + 1)), Precondition.NONE);
    damaged(store, pack);
    store.delete(pack.key());
    damaged(store, pack);
  }

  @Test
  void aDescriptionThatCannotBeIsDamage() {
    for (Manifest.Pack bad :
        List.of(
            new Manifest.Pack(pack.key(), 0, PART, List.of()),
            new Manifest.Pack(pack.key(), -1, PART, pack.parts()),
            new Manifest.Pack(pack.key(), bytes.length, 0, pack.parts()),
            new Manifest.Pack(pack.key(), bytes.length, -5, pack.parts()),
            new Manifest.Pack(pack.key(), bytes.length, PART, pack.parts().subList(1, 21)),
            new Manifest.Pack(pack.key(), 1L << 60, Integer.MAX_VALUE, List.of()))) {
      damaged(store, bad);
    }
  }

  @Test
  void aStoreThatDoesNotAnswerIsNoDamage() {
    FaultStore away =
        new FaultStore(store, call -> new Fault.Before(StoreException.Kind.UNREACHABLE));
    StoreException e =
        assertThrows(StoreException.class, () -> new PackFetch(away).fetch(pack, null));
    assertEquals(StoreException.Kind.UNREACHABLE, e.kind());
  }

  // ---- the host, folders

  private static Manifest.Host host(String arch, int pageSize) {
    return new Manifest.Host("h", arch, "6", "4.2", pageSize, "", List.of(), "");
  }

  @Test
  void aHostOfAnotherKindIsRefusedWithTheDifference() throws SnapshotException {
    HostFacts.check(host("amd64", 4096), host("amd64", 4096));
    SnapshotException e =
        assertThrows(
            SnapshotException.class,
            () -> HostFacts.check(host("amd64", 4096), host("aarch64", 4096)));
    assertEquals(SnapshotException.Kind.ENVIRONMENT, e.kind());
    assertTrue(e.getMessage().contains("amd64") && e.getMessage().contains("aarch64"));
    assertTrue(
        assertThrows(
                SnapshotException.class,
                () -> HostFacts.check(host("aarch64", 65536), host("aarch64", 4096)))
            .getMessage()
            .contains("65536"));
  }

  @Test
  void thisHostIsOfItsOwnKind() throws IOException {
    Manifest.Host here = HostFacts.here("4.2");
    HostFacts.check(here, here);
    assertEquals(System.getProperty("os.arch"), here.arch());
    assertEquals(System.getProperty("os.version"), here.kernel());
    assertTrue(here.pageSize() >= 4096 && Integer.bitCount(here.pageSize()) == 1);
    assertTrue(!here.cpuFlags().isEmpty() && !here.name().isEmpty() && !here.os().isEmpty());
  }

  @Test
  void foldersAreForTheUserAlone() throws IOException {
    Path deep = folder.resolve("x/y/z");
    Folders.createPrivate(deep);
    Folders.createPrivate(deep);
    for (Path made : List.of(deep, deep.getParent(), folder.resolve("x"))) {
      assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(made)));
    }
    Path outside = Files.writeString(folder.resolve("outside"), "x");
    Files.createSymbolicLink(deep.resolve("link"), outside);
    Files.createSymbolicLink(deep.resolve("up"), folder);
    Files.writeString(deep.resolve("file"), "x");
    Folders.delete(folder.resolve("x"));
    assertTrue(Files.notExists(folder.resolve("x")));
    assertTrue(Files.exists(outside));
    Folders.delete(folder.resolve("x"));
  }
}
