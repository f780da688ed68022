package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.FaultStore;
import org.lifeboat.store.FaultStore.Fault;
import org.lifeboat.store.StoreCall.Operation;

final class TaskSearchTest {

  @TempDir private Path folder;
  private FaultStore store;

  @BeforeEach
  void begin() {
    store = new FaultStore(Documents.store(folder), call -> Fault.NONE);
  }

  private void file(String key) throws IOException {
    Path file = folder.resolve(key);
    Files.createDirectories(file.getParent());
    Files.write(file, new byte[1]);
  }

  private List<String> folders() throws IOException {
    return new TaskSearch(store).folders();
  }

  @Test
  void findsNothingWhereNothingIs() throws IOException {
    assertEquals(List.of(), folders());
    file("data/x");
    file("data.fusion/dump/1/x");
    file("a/.fusion/dump");
    file("b/.fusion/other/dump_metadata");
    assertEquals(List.of(), folders());
  }

  @Test
  void aTasksOwnUrlIsTheOnlyOne() throws IOException {
    file(".fusion/dump/dump_metadata");
    file("sub/.fusion/dump/dump_metadata");
    assertEquals(List.of(""), folders());
  }

  @Test
  void findsTasksAmongData() throws IOException {
    file("work/ab/cd/.command.sh");
    file("work/ab/cd/.fusion/dump/dump_metadata");
    file("work/ab/ef/out.bam");
    file("work/ab/gh/.fusion/dump/3/dump_3.log");
    file("work/ij/.fusion/dump/heartbeat");
    file("zz/.fusion/dump/dump_metadata");
    file("zz/inner/.fusion/dump/dump_metadata");
    assertTrue(
        folders().containsAll(List.of("work/ab/cd", "work/ab/gh", "work/ij", "zz")),
        () -> "found too little");
  }

  /** One request a task, however much data it has; a page has a thousand names. */
  @Test
  void leapsOverTheDataOfATask() throws IOException {
    for (String task : List.of("a/1", "a/2", "b/3")) {
      file(task + "/.fusion/dump/dump_metadata");
      for (int i = 0; i < 3500; i++) {
        file(task + "/data/part-" + i);
      }
    }
    assertEquals(List.of("a/1", "a/2", "b/3"), folders());
    assertTrue(store.calls(Operation.LIST) <= 4, store.calls(Operation.LIST) + " requests");
  }

  @Test
  void findsUploadsWithoutObjects() throws IOException {
    store.upload("x/y/.fusion/dump/1/pages/1-a-0.pack").part(1, ByteBuffer.allocate(1));
    store.upload("others/upload").part(1, ByteBuffer.allocate(1));
    Documents.store(folder.resolve("p/q"))
        .upload(".fusion/dump/1/pages/1-a-0.pack")
        .part(1, ByteBuffer.allocate(1));
    assertEquals(List.of("p/q", "x/y"), folders());
  }
}
