package org.lifeboat.receive;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.page.PackInfo;
import org.lifeboat.page.PackNames;
import org.lifeboat.store.FaultStore;
import org.lifeboat.store.FaultStore.Fault;
import org.lifeboat.store.FileStore;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreUrl;

@Timeout(60)
class UploadSinkTest {

  @TempDir Path directory;
  private FileStore store;

  @BeforeEach
  void open() throws IOException {
    store = new FileStore(StoreUrl.parse("file://" + directory));
  }

  private static UploadSink sink(ObjectStore store) {
    return new UploadSink(store, PackNames.unique("pages", 1, new Random(1)));
  }

  private int unfinished() throws StoreException {
    return store.uploads("").size();
  }

  @Test
  void aPreparedUploadBecomesTheFirstPack() throws IOException {
    UploadSink sink = sink(store);
    sink.prepare();
    String first = sink.begin(0);
    String second = sink.begin(1);
    assertEquals(2, unfinished());
    for (String key : List.of(first, second)) {
      sink.part(key, 1, ByteBuffer.allocate(100), "");
      sink.complete(new PackInfo(key, 100, 8 << 20, List.of("0".repeat(64))));
      assertEquals(100, store.head(key).orElseThrow().size());
    }
    sink.seal();
    assertEquals(0, unfinished());
  }

  @Test
  void aPreparedUploadThatIsNotUsedIsAborted() throws IOException {
    UploadSink aborted = sink(store);
    aborted.prepare();
    aborted.abort();
    assertEquals(0, unfinished());
    UploadSink sealed = sink(store);
    sealed.prepare();
    sealed.seal();
    assertEquals(0, unfinished());
    sealed.abort();
  }

  @Test
  void whatFailsWhilePreparingFailsTheFirstPack() throws IOException {
    FaultStore failing =
        new FaultStore(
            store,
            FaultStore.once(
                1,
                call -> call.operation() == Operation.UPLOAD,
                new Fault.Before(StoreException.Kind.DENIED)));
    UploadSink sink = sink(failing);
    sink.prepare();
    assertThrows(StoreException.class, () -> sink.begin(0));
    sink.abort();
    assertEquals(0, unfinished());
  }
}
