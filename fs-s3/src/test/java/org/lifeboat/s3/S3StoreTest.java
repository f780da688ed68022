package org.lifeboat.s3;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.lifeboat.s3.S3Server.Product;
import org.lifeboat.store.Blob;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.MultipartUpload.Part;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreCall.Operation;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreException.Kind;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.store.SubStore;
import org.lifeboat.store.TestData;
import software.amazon.awssdk.core.async.AsyncRequestBody;
import software.amazon.awssdk.services.s3.model.HeadObjectResponse;
import software.amazon.awssdk.services.s3.model.Tag;

/** S3 beyond the contract: settings, wrong credentials, servers that die. */
final class S3StoreTest {

  private static final int PART = 5 << 20;

  @TempDir private Path directory;
  private final TestData data = new TestData("S3StoreTest");

  private static ByteBuffer text(String text) {
    return ByteBuffer.wrap(text.getBytes(UTF_8));
  }

  private static StoreException failure(Executable call) {
    return assertThrows(StoreException.class, call);
  }

  private static ObjectStore open(S3Server server, String path, Map<String, String> more)
      throws Exception {
    Map<String, String> environment = new HashMap<>(server.environment());
    environment.putAll(more);
    return new S3StoreProvider().open(server.url(path), environment);
  }

  @ParameterizedTest
  @EnumSource(Product.class)
  void wrong_credentials_and_buckets_are_said_in_words(Product product) throws Exception {
    try (S3Server server = S3Server.start(product, directory).createBucket("bucket");
        ObjectStore wrong = open(server, "bucket/x", Map.of("AWS_SECRET_ACCESS_KEY", "wrong"));
        ObjectStore unknown = open(server, "bucket/x", Map.of("AWS_ACCESS_KEY_ID", "nobody"));
        ObjectStore missing = open(server, "no-such-bucket/x", Map.of())) {
      StoreException secret = failure(() -> wrong.put("a", text("x"), Precondition.ABSENT));
      assertEquals(Kind.DENIED, secret.kind());
      assertEquals("check AWS_SECRET_ACCESS_KEY", secret.remedy());
      assertFalse(secret.getMessage().contains("wrong\""), secret.getMessage());
      assertEquals(Kind.DENIED, failure(() -> wrong.head("a")).kind());
      assertEquals(Kind.DENIED, failure(() -> wrong.get("a", 0, ByteBuffer.allocate(1))).kind());
      assertEquals(
          Kind.DENIED, failure(() -> unknown.put("a", text("x"), Precondition.NONE)).kind());
      for (Executable call :
          List.<Executable>of(
              () -> missing.head("a"),
              () -> missing.get("a", 0, ByteBuffer.allocate(1)),
              () -> missing.put("a", text("x"), Precondition.ABSENT),
              () -> missing.list("", ""),
              () -> missing.upload("a"))) {
        StoreException e = failure(call);
        assertEquals(Kind.NO_STORE, e.kind(), e.getMessage());
        assertTrue(
            e.getMessage().contains("no-such-bucket/x: there is no bucket no-such-bucket (create"),
            e.getMessage());
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Product.class)
  void an_upload_outlives_a_server_that_is_killed(Product product) throws Exception {
    ByteBuffer one = data.bytes(PART);
    ByteBuffer two = data.bytes(PART);
    ByteBuffer three = data.bytes(1000);
    try (S3Server server = S3Server.start(product, directory).createBucket("bucket");
        ObjectStore store = server.open("bucket/run")) {
      String version = store.put("kept", text("kept"), Precondition.ABSENT).version();
      MultipartUpload upload = store.upload("big");
      upload.part(1, one);
      server.kill();
      StoreException dead = failure(() -> upload.part(2, two));
      assertEquals(Kind.UNREACHABLE, dead.kind(), dead.getMessage());
      assertTrue(dead.retryable());
      assertEquals(
          Kind.UNREACHABLE, failure(() -> store.put("c", text("x"), Precondition.ABSENT)).kind());
      server.restart();
      assertEquals(version, store.head("kept").orElseThrow().version());
      try (ObjectStore next = server.open("bucket/run")) {
        MultipartUpload resumed = next.resume("big", upload.id());
        assertEquals(List.of(1), resumed.parts().stream().map(Part::number).toList());
        resumed.part(3, three);
        resumed.part(2, two);
        resumed.complete(Precondition.ABSENT);
      }
      ByteBuffer whole = TestData.join(one, two, three);
      ByteBuffer read = ByteBuffer.allocateDirect(whole.remaining());
      store.get("big", 0, read);
      assertEquals(whole, read.flip());
    }
  }

  @Test
  void a_server_killed_under_load_fails_every_call_and_tears_nothing() throws Exception {
    try (S3Server server = S3Server.start(Product.VERSITYGW, directory).createBucket("bucket");
        ObjectStore store = server.open("bucket/run")) {
      int writers = 6;
      CountDownLatch underWay = new CountDownLatch(writers * 3);
      ByteBuffer body = data.bytes(1 << 20);
      try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
        List<Future<StoreException>> ends = new ArrayList<>();
        for (int w = 0; w < writers; w++) {
          String name = "writer-" + w + "/";
          boolean conditional = w % 2 == 0;
          ends.add(
              threads.submit(
                  () -> {
                    for (int i = 0; ; i++) {
                      try {
                        store.put(
                            name + i, body, conditional ? Precondition.ABSENT : Precondition.NONE);
                        underWay.countDown();
                      } catch (StoreException e) {
                        return e;
                      }
                    }
                  }));
        }
        underWay.await();
        server.kill();
        for (int w = 0; w < writers; w++) {
          StoreException e = ends.get(w).get();
          assertTrue(
              e.kind() == Kind.UNREACHABLE || (w % 2 == 0 && e.kind() == Kind.UNKNOWN_OUTCOME),
              e.getMessage());
        }
      }
      server.restart();
      for (var object : store.list("", "").objects()) {
        assertEquals(body.remaining(), object.size(), object.key());
      }
    }
  }

  @Test
  void a_completed_upload_completes_again_when_the_reply_may_have_been_lost() throws Exception {
    for (Product product : new Product[] {Product.MINIO, Product.VERSITYGW}) {
      Path data = directory.resolve(product.name());
      try (S3Server server = S3Server.start(product, data).createBucket("bucket");
          ObjectStore store = server.open("bucket/run")) {
        MultipartUpload upload = store.upload("big");
        upload.part(1, this.data.bytes(PART));
        upload.part(2, this.data.bytes(10));
        String version = upload.complete(Precondition.NONE).version();
        assertEquals(version, upload.complete(Precondition.NONE).version());
        assertEquals(version, store.head("big").orElseThrow().version());
        store.put("big", text("another"), Precondition.NONE);
        if (product == Product.MINIO) { // versitygw says yes to any repeated complete
          StoreException e = failure(() -> upload.complete(Precondition.NONE));
          assertEquals(Kind.NOT_FOUND, e.kind());
        }
      }
    }
  }

  @Test
  void a_large_object_is_copied_by_parts() throws Exception {
    try (S3Server server = S3Server.start(Product.MINIO, directory).createBucket("bucket")) {
      StoreUrl url = server.url("bucket/run");
      try (S3Store store =
          new S3Store(
              url, S3Settings.of(url, server.environment()), 2L * PART, PART, S3Clients.STALL)) {
        ByteBuffer body = data.bytes(2 * PART + 1234);
        store.put("from", body, Precondition.NONE);
        assertEquals(body.remaining(), store.copy("from", "to").size());
        ByteBuffer read = ByteBuffer.allocateDirect(body.remaining());
        store.get("to", 0, read);
        assertEquals(body, read.flip());
        assertTrue(store.head("to").orElseThrow().version().endsWith("-3\""));
      }
    }
  }

  @Test
  void every_object_is_tagged_and_encrypted_as_the_environment_says() throws Exception {
    Map<String, String> settings =
        Map.of(
            "FUSION_TAGS", "[*.log](kind=log),[*](nextflow.io/temporary=true)",
            "FUSION_AWS_SERVER_SIDE_ENCRYPTION", "aws:kms",
            "FUSION_AWS_SSEKMS_KEY_ID", "my-key",
            "LIFEBOAT_S3_STORAGE_CLASS", "REDUCED_REDUNDANCY");
    try (S3Server server = S3Server.start(Product.MINIO, directory).createBucket("bucket");
        ObjectStore store = open(server, "bucket/run", settings);
        S3Clients clients =
            new S3Clients(S3Settings.of(server.url("bucket"), server.environment()))) {
      store.put("put.log", text("x"), Precondition.ABSENT);
      MultipartUpload upload = store.upload("multi");
      upload.part(1, text("x"));
      upload.complete(Precondition.NONE);
      store.copy("put.log", "copied");
      for (String[] expected :
          new String[][] {
            {"put.log", "kind", "log"},
            {"multi", "nextflow.io/temporary", "true"},
            {"copied", "nextflow.io/temporary", "true"}
          }) {
        String key = "run/" + expected[0];
        HeadObjectResponse head =
            clients.of(S3Clients.Kind.ONCE).headObject(r -> r.bucket("bucket").key(key)).join();
        assertEquals("aws:kms", head.serverSideEncryptionAsString(), key);
        assertTrue(head.ssekmsKeyId().endsWith("my-key"), head.ssekmsKeyId());
        assertEquals("REDUCED_REDUNDANCY", head.storageClassAsString(), key);
        assertEquals(
            List.of(Tag.builder().key(expected[1]).value(expected[2]).build()),
            clients
                .of(S3Clients.Kind.ONCE)
                .getObjectTagging(r -> r.bucket("bucket").key(key))
                .join()
                .tagSet());
      }
      try (ObjectStore foreign =
          open(
              server,
              "bucket/run",
              Map.of(
                  "FUSION_AWS_SERVER_SIDE_ENCRYPTION", "aws:kms",
                  "FUSION_AWS_SSEKMS_KEY_ID", "no-such-key"))) {
        StoreException e = failure(() -> foreign.put("a", text("x"), Precondition.NONE));
        assertEquals(Kind.INVALID, e.kind(), e.getMessage());
        assertEquals("check FUSION_AWS_SSEKMS_KEY_ID", e.remedy());
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Product.class)
  void another_region_than_the_servers_is_no_obstacle(Product product) throws Exception {
    Map<String, String> elsewhere = Map.of("AWS_REGION", "eu-west-1");
    try (S3Server server = S3Server.start(product, directory).createBucket("bucket")) {
      try (ObjectStore store = open(server, "bucket/run", elsewhere)) {
        store.put("a", text("first"), Precondition.ABSENT);
        assertEquals("first", Blob.read(store, "a", 9).orElseThrow().text());
      }
      try (ObjectStore store = open(server, "bucket/run", elsewhere)) {
        assertEquals(5, store.head("a").orElseThrow().size());
        assertTrue(store.head("b").isEmpty());
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"VERSITYGW", "MINIO"})
  void a_public_bucket_is_read_by_everybody_and_written_by_nobody(Product product)
      throws Exception {
    try (S3Server server = S3Server.start(product, directory).createBucket("bucket");
        ObjectStore owner = server.open("bucket/run");
        S3Clients clients =
            new S3Clients(S3Settings.of(server.url("bucket"), server.environment()))) {
      owner.put("d/a", text("content"), Precondition.ABSENT);
      String version = owner.head("d/a").orElseThrow().version();
      Map<String, String> stranger = Map.of("AWS_ACCESS_KEY_ID", "nobody");
      try (ObjectStore store = open(server, "bucket/run", stranger)) {
        assertEquals(Kind.DENIED, failure(() -> Blob.read(store, "d/a", 9)).kind());
        assertEquals(Kind.DENIED, failure(() -> store.head("d/a")).kind());
        clients
            .of(S3Clients.Kind.ONCE)
            .putBucketPolicy(
                r ->
                    r.bucket("bucket")
                        .policy(
                            """
                            {"Version": "2012-10-17", "Statement": [
                              {"Effect": "Allow", "Principal": {"AWS": ["*"]},
                               "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::bucket"]},
                              {"Effect": "Allow", "Principal": {"AWS": ["*"]},
                               "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::bucket/*"]}]}
                            """))
            .join();
        assertEquals("content", Blob.read(store, "d/a", 9).orElseThrow().text());
        assertEquals(version, store.head("d/a").orElseThrow().version());
        assertTrue(store.head("d/b").isEmpty());
        assertEquals(
            List.of(new ObjectStore.Directory("d/")), store.listDirectory("", "").entries());
        assertEquals(1, store.list("d/", "").objects().size());
        assertEquals(
            Kind.DENIED, failure(() -> store.put("d/b", text("x"), Precondition.NONE)).kind());
        assertEquals(Kind.DENIED, failure(() -> store.delete("d/a")).kind());
        assertEquals(Kind.DENIED, failure(() -> store.copy("d/a", "d/b")).kind());
      }
      assertEquals(version, owner.head("d/a").orElseThrow().version());
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"VERSITYGW", "MINIO"})
  void a_directory_costs_what_it_holds_and_not_what_is_below(Product product) throws Exception {
    try (S3Server server = S3Server.start(product, directory).createBucket("bucket");
        FaultProxy proxy = FaultProxy.before(server, 1);
        ObjectStore whole =
            open(
                server, "bucket/run", Map.of("AWS_ENDPOINT_URL_S3", proxy.endpoint().toString()))) {
      ObjectStore folder = new SubStore(whole, "folder");
      try (ExecutorService threads = Executors.newFixedThreadPool(16)) {
        List<Future<?>> puts = new ArrayList<>();
        for (int i = 0; i < 1_200; i++) {
          String key = "deep/" + i % 7 + "/" + i;
          puts.add(threads.submit(() -> folder.put(key, text("x"), Precondition.NONE)));
        }
        for (Future<?> put : puts) {
          put.get();
        }
      }
      folder.put("top", text("x"), Precondition.NONE);
      List<ObjectStore.DirectoryEntry> entries = folder.listDirectory("", "").entries();
      assertEquals(new ObjectStore.Directory("deep/"), entries.getFirst());
      assertEquals("top", entries.get(1).key());
      assertEquals(2, entries.size());
      assertEquals(7, folder.listDirectory("deep/", "").entries().size());
      assertEquals(6, folder.listDirectory("deep/", "deep/0/").entries().size());
      assertEquals(List.of("top"), names(folder.listDirectory("", "deep/")));
      assertEquals(
          4,
          proxy.journal().stream()
              .filter(request -> request.operation() == Operation.LIST_DIRECTORY)
              .count());
      assertEquals("copied", folder.copy("top", "copied", Precondition.ABSENT).key());
      assertTrue(whole.head("folder/copied").isPresent());
    }
  }

  private static List<String> names(ObjectStore.DirectoryPage page) {
    return page.entries().stream().map(ObjectStore.DirectoryEntry::key).toList();
  }

  @ParameterizedTest
  @EnumSource(names = {"VERSITYGW", "MINIO"})
  void a_copy_keeps_what_others_attached(Product product) throws Exception {
    try (S3Server server = S3Server.start(product, directory).createBucket("bucket");
        ObjectStore store = server.open("bucket");
        S3Clients clients =
            new S3Clients(S3Settings.of(server.url("bucket"), server.environment()))) {
      clients
          .of(S3Clients.Kind.ONCE)
          .putObject(
              r ->
                  r.bucket("bucket")
                      .key("page")
                      .contentType("text/html")
                      .cacheControl("max-age=60")
                      .metadata(Map.of("made-by", "hand")),
              AsyncRequestBody.fromString("content"))
          .join();
      store.copy("page", "plain", Precondition.NONE);
      store.copy("page", "conditional", Precondition.ABSENT);
      for (String key : List.of("plain", "conditional")) {
        HeadObjectResponse head =
            clients.of(S3Clients.Kind.ONCE).headObject(r -> r.bucket("bucket").key(key)).join();
        assertEquals("text/html", head.contentType(), key);
        assertEquals("max-age=60", head.cacheControl(), key);
        assertEquals(Map.of("made-by", "hand"), head.metadata(), key);
        assertEquals("content", Blob.read(store, key, 9).orElseThrow().text());
      }
    }
  }

  /** Other programs mark folders by objects whose keys end with a slash, and use any name. */
  @Test
  void what_others_put_into_a_bucket_is_listed_as_far_as_it_has_a_key() throws Exception {
    try (S3Server server = S3Server.start(Product.MINIO, directory).createBucket("bucket");
        ObjectStore store = server.open("bucket/run");
        S3Clients clients =
            new S3Clients(S3Settings.of(server.url("bucket"), server.environment()))) {
      for (String key : List.of("run/", "run/folder/", "run/a", "run/a-b", "run/x/y/")) {
        clients
            .of(S3Clients.Kind.ONCE)
            .putObject(r -> r.bucket("bucket").key(key), AsyncRequestBody.fromString(""))
            .join();
      }
      assertEquals(List.of("a", "a-b", "folder/", "x/"), names(store.listDirectory("", "")));
      assertEquals(List.of("a-b", "folder/", "x/"), names(store.listDirectory("", "a")));
      assertEquals(List.of("folder/", "x/"), names(store.listDirectory("", "a/")));
      assertEquals(List.of(), names(store.listDirectory("folder/", "")));
      assertEquals(List.of("x/y/"), names(store.listDirectory("x/", "")));
    }
  }

  @Test
  void a_server_without_tags_gets_the_objects_without() throws Exception {
    Map<String, String> tags = Map.of("FUSION_TAGS", "[*](a=b)");
    try (S3Server server = S3Server.start(Product.S3PROXY, directory).createBucket("bucket");
        ObjectStore store = open(server, "bucket/run", tags)) {
      store.put("a", text("first"), Precondition.ABSENT);
      assertEquals("first", Blob.read(store, "a", 9).orElseThrow().text());
      MultipartUpload upload = store.upload("b");
      upload.part(1, text("second"));
      upload.complete(Precondition.ABSENT);
      assertEquals(
          Kind.PRECONDITION_FAILED,
          failure(() -> store.put("a", text("third"), Precondition.ABSENT)).kind());
    }
  }

  @Test
  void a_missing_server_program_names_the_remedy() {
    Exception e =
        assertThrows(
            java.io.IOException.class,
            () -> S3Server.program(directory.resolve("nothing").toString(), "unused"));
    assertTrue(e.getMessage().contains("run deploy/setup test"), e.getMessage());
  }
}
