package org.lifeboat.s3;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.s3.FaultRule.Fault;
import org.lifeboat.store.Blob;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.RetryingStore;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreException.Kind;
import org.lifeboat.store.StoreUrl;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;

/**
 * Each fault at each kind of request, once, through a real connection to a real server: what may be
 * repeated succeeds; a conditional write succeeds, or fails and says rightly whether it took
 * effect.
 */
@Timeout(300)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
final class S3FaultsTest {

  private static final int PART = 5 << 20;
  private static final Duration STALL = Duration.ofSeconds(2);
  private static final String BUCKET = "bucket";

  /** Each as the words of a rule. */
  private static final List<String> FAULTS =
      List.of(
          "fault=STATUS status=500 code=InternalError",
          "fault=STATUS status=503 code=SlowDown",
          "fault=STATUS status=503 code=ServiceUnavailable",
          "fault=STATUS status=502 code=BadGateway",
          "fault=STATUS status=409 code=OperationAborted",
          "fault=APPLIED_STATUS status=500 code=InternalError",
          "fault=APPLIED_STATUS status=504 code=GatewayTimeout",
          "fault=RESET",
          "fault=REPLY_LOST",
          "fault=STALL_REQUEST",
          "fault=STALL_REPLY",
          "fault=STALL_BODY",
          "fault=CUT_HEAD",
          "fault=CUT_BODY",
          "fault=CUT_UPLOAD",
          "fault=STATUS status=400 code=RequestTimeout");

  private final Map<S3Server.Product, S3Server> servers = new HashMap<>();

  @BeforeAll
  void start(@TempDir Path directory) throws Exception {
    for (S3Server.Product product : List.of(S3Server.Product.VERSITYGW, S3Server.Product.MINIO)) {
      servers.put(
          product, S3Server.start(product, directory.resolve(product.name())).createBucket(BUCKET));
    }
  }

  @AfterAll
  void stop() {
    servers.values().forEach(S3Server::close);
  }

  private static ByteBuffer text(String text) {
    return ByteBuffer.wrap(text.getBytes(UTF_8));
  }

  static ObjectStore through(URI endpoint, S3Server server, String path, Map<String, String> more)
      throws Exception {
    Map<String, String> environment = new HashMap<>(server.environment());
    environment.put("AWS_ENDPOINT_URL_S3", endpoint.toString());
    environment.putAll(more);
    StoreUrl url = server.url(path);
    return new RetryingStore(
        new S3Store(url, S3Settings.of(url, environment), 5L << 30, 512L << 20, STALL),
        new RetryingStore.Limits(
            Duration.ofSeconds(30), Duration.ofMillis(10), Duration.ofMillis(100)));
  }

  /** What is done to the one request, and what must hold afterwards; both through a sane store. */
  private enum Deed {
    GET {
      @Override
      void run(ObjectStore faulty, ObjectStore sane, String in) throws Exception {
        sane.put(in + "a", text("content of a"), Precondition.NONE);
        assertEquals("content of a", Blob.read(faulty, in + "a", 100).orElseThrow().text());
      }
    },
    GET_NOTHING {
      @Override
      void run(ObjectStore faulty, ObjectStore sane, String in) throws Exception {
        assertTrue(Blob.read(faulty, in + "nothing", 100).isEmpty());
      }
    },
    HEAD {
      @Override
      void run(ObjectStore faulty, ObjectStore sane, String in) throws Exception {
        String version = sane.put(in + "a", text("content of a"), Precondition.NONE).version();
        assertEquals(version, faulty.head(in + "a").orElseThrow().version());
      }
    },
    LIST {
      @Override
      void run(ObjectStore faulty, ObjectStore sane, String in) throws Exception {
        sane.put(in + "d/a", text("a"), Precondition.NONE);
        sane.put(in + "d/b", text("b"), Precondition.NONE);
        assertEquals(
            List.of(in + "d/a", in + "d/b"),
            faulty.list(in + "d/", "").objects().stream()
                .map(ObjectStore.ObjectInfo::key)
                .toList());
      }
    },
    LIST_DIRECTORY {
      @Override
      void run(ObjectStore faulty, ObjectStore sane, String in) throws Exception {
        sane.put(in + "d/a", text("a"), Precondition.NONE);
        sane.put(in + "d/b/c", text("b"), Precondition.NONE);
        assertEquals(
            List.of(in + "d/a", in + "d/b/"),
            faulty.listDirectory(in + "d/", "").entries().stream()
                .map(ObjectStore.DirectoryEntry::key)
                .toList());
      }
    },
    PUT {
      @Override
      void run(ObjectStore faulty, ObjectStore sane, String in) throws Exception {
        faulty.put(in + "a", text("new"), Precondition.NONE);
        assertEquals("new", Blob.read(sane, in + "a", 100).orElseThrow().text());
      }
    },
    DELETE {
      @Override
      void run(ObjectStore faulty, ObjectStore sane, String in) throws Exception {
        sane.put(in + "a", text("old"), Precondition.NONE);
        faulty.delete(in + "a");
        assertTrue(sane.head(in + "a").isEmpty());
      }
    },
    PUT_ABSENT {
      @Override
      void run(ObjectStore faulty, ObjectStore sane, String in) throws Exception {
        Optional<Kind> failure =
            failure(() -> faulty.put(in + "a", text("new"), Precondition.ABSENT));
        Optional<String> now = Blob.read(sane, in + "a", 100).map(Blob::text);
        assertTold(failure, now.isPresent());
      }
    },
    PUT_MATCHES {
      @Override
      void run(ObjectStore faulty, ObjectStore sane, String in) throws Exception {
        String version = sane.put(in + "a", text("old"), Precondition.NONE).version();
        Optional<Kind> failure =
            failure(() -> faulty.put(in + "a", text("new"), Precondition.matches(version)));
        assertTold(failure, Blob.read(sane, in + "a", 100).orElseThrow().text().equals("new"));
      }
    },
    UPLOAD {
      @Override
      void run(ObjectStore faulty, ObjectStore sane, String in) throws Exception {
        multipart(faulty, sane, in);
      }
    },
    ABORT {
      @Override
      void run(ObjectStore faulty, ObjectStore sane, String in) throws Exception {
        MultipartUpload upload = sane.upload(in + "big");
        upload.part(1, text("a part"));
        faulty.resume(in + "big", upload.id()).abort();
        assertEquals(List.of(), sane.uploads(in + "big"));
        assertTrue(sane.head(in + "big").isEmpty());
      }
    };

    abstract void run(ObjectStore faulty, ObjectStore sane, String in) throws Exception;

    private interface Call {
      Object run() throws StoreException;
    }

    private static Optional<Kind> failure(Call call) {
      try {
        call.run();
        return Optional.empty();
      } catch (StoreException e) {
        return Optional.of(e.kind());
      }
    }

    /** Never a wrong success, and a failure that claims to know is right. */
    private static void assertTold(Optional<Kind> failure, boolean applied) {
      if (failure.isEmpty()) {
        assertTrue(applied, "it said that it wrote, and did not");
      } else {
        switch (failure.get()) {
          case UNKNOWN_OUTCOME -> {}
          case CONFLICT, UNREACHABLE, THROTTLED, CORRUPT ->
              assertTrue(!applied, failure.get() + ", and yet it wrote");
          default -> throw new AssertionError(failure.get());
        }
      }
    }
  }

  private static void multipart(ObjectStore faulty, ObjectStore sane, String in) throws Exception {
    MultipartUpload upload = faulty.upload(in + "big");
    ByteBuffer one = ByteBuffer.allocate(PART);
    for (int i = 0; i < PART; i++) {
      one.put(i, (byte) (i * 7));
    }
    faulty.resume(in + "big", upload.id()).part(1, one);
    faulty.resume(in + "big", upload.id()).part(2, text("the end"));
    try {
      faulty.resume(in + "big", upload.id()).complete(Precondition.NONE);
    } catch (StoreException e) { // what its callers do
      boolean again =
          e.retryable() || e.kind() == Kind.UNKNOWN_OUTCOME || e.kind() == Kind.NOT_FOUND;
      if (!again) {
        throw e;
      }
      if (sane.head(in + "big").isEmpty()) {
        faulty.resume(in + "big", upload.id()).complete(Precondition.NONE);
      }
    }
    ByteBuffer whole = ByteBuffer.allocate(PART + 7);
    sane.get(in + "big", 0, whole);
    assertEquals(one, whole.slice(0, PART));
    assertEquals(text("the end"), whole.slice(PART, 7));
  }

  private static List<String> operations(Deed deed) {
    return switch (deed) {
      case GET, GET_NOTHING -> List.of("GET");
      case PUT_ABSENT, PUT_MATCHES -> List.of("PUT");
      case UPLOAD -> List.of("UPLOAD", "PART", "COMPLETE");
      default -> List.of(deed.name());
    };
  }

  @Test
  void eachFaultAtEachRequest() throws Exception {
    eachFaultAtEachRequest(S3Server.Product.VERSITYGW);
  }

  @Test
  @EnabledIfSystemProperty(named = "lifeboat.suite", matches = "long")
  void eachFaultAtEachRequestOfMinio() throws Exception {
    eachFaultAtEachRequest(S3Server.Product.MINIO);
  }

  private void eachFaultAtEachRequest(S3Server.Product product) throws Exception {
    Queue<Case> cases = new ConcurrentLinkedQueue<>();
    for (Deed deed : Deed.values()) {
      for (String operation : operations(deed)) {
        for (String fault : FAULTS) {
          cases.add(new Case(deed, fault + " times=1 op=" + operation));
        }
      }
    }
    assertEquals("", failures(product, cases));
  }

  private record Case(Deed deed, String rule) {}

  /** Does the cases, several at a time, for most of their time is waited; tells what went wrong. */
  private String failures(S3Server.Product product, Queue<Case> cases) throws Exception {
    S3Server server = servers.get(product);
    List<Future<String>> workers = new ArrayList<>();
    try (ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int i = 0; i < 24; i++) {
        String path = BUCKET + "/worker-" + i;
        workers.add(
            executor.submit(
                () -> {
                  StringBuilder failures = new StringBuilder();
                  try (FaultProxy proxy = FaultProxy.before(server, 1);
                      ObjectStore faulty = through(proxy.endpoint(), server, path, Map.of());
                      ObjectStore sane = server.open(path)) {
                    int n = 0;
                    for (Case next = cases.poll(); next != null; next = cases.poll()) {
                      failures.append(one(next, proxy, faulty, sane, "case-" + ++n + "/"));
                    }
                  }
                  return failures.toString();
                }));
      }
    }
    StringBuilder all = new StringBuilder();
    for (Future<String> worker : workers) {
      all.append(worker.get());
    }
    return all.toString();
  }

  private static String one(
      Case each, FaultProxy proxy, ObjectStore faulty, ObjectStore sane, String in) {
    Fault fault = FaultRule.parse(each.rule).fault();
    long before = proxy.hits(fault);
    proxy.rules(each.rule);
    try {
      each.deed.run(faulty, sane, in);
      assertEquals(1, proxy.hits(fault) - before, "it did not happen");
      return "";
    } catch (Exception | AssertionError e) {
      return each.deed + " with " + each.rule + ": " + e + "\n";
    } finally {
      proxy.clear();
    }
  }

  /** A Complete may be answered with status 200 and an error in the body. */
  @Test
  void anErrorBehindStatus200IsAnError() throws Exception {
    for (S3Server.Product product : servers.keySet()) {
      Case each =
          new Case(Deed.UPLOAD, "fault=ERROR_IN_BODY code=InternalError times=1 op=COMPLETE");
      assertEquals("", failures(product, new ConcurrentLinkedQueue<>(List.of(each))));
    }
  }

  /**
   * The SDK takes the server's time from the refusal, and keeps it, for the whole process: so it is
   * put back here.
   */
  @Test
  void aWrongClockIsPutRight() throws Exception {
    S3Server server = servers.get(S3Server.Product.VERSITYGW);
    try (FaultProxy proxy = FaultProxy.before(server, 1);
        ObjectStore store = through(proxy.endpoint(), server, BUCKET + "/skew", Map.of())) {
      proxy.rules("fault=SKEWED millis=600000");
      String version = store.put("a", text("one"), Precondition.ABSENT).version();
      assertEquals(1, proxy.hits(Fault.SKEWED), proxy.journal()::toString);
      store.put("a", text("two"), Precondition.matches(version));
      assertEquals(1, proxy.hits(Fault.SKEWED), proxy.journal()::toString);
      assertEquals("two", Blob.read(store, "a", 10).orElseThrow().text());
      long hits = proxy.hits(Fault.SKEWED);
      assertTrue(hits <= 2, proxy.journal()::toString); // one for each of the store's clients
      proxy.clear();
      proxy.rules("fault=SKEWED millis=0");
      assertEquals("two", Blob.read(store, "a", 10).orElseThrow().text());
      store.put("a", text("three"), Precondition.NONE);
      assertEquals(hits + 1, proxy.hits(Fault.SKEWED), proxy.journal()::toString);
    }
  }

  private static String keys(Path file, String id, String secret) throws Exception {
    Path draft = file.resolveSibling("draft");
    Files.writeString(
        draft,
        "[default]\naws_access_key_id = " + id + "\naws_secret_access_key = " + secret + "\n");
    Files.move(draft, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    return file.toString();
  }

  /**
   * The file is read again for each request; what is refused is tried again with what it has now.
   */
  @Test
  void credentialsThatExpireAreTakenAnewFromTheirFile(@TempDir Path folder) throws Exception {
    S3Server server = servers.get(S3Server.Product.VERSITYGW);
    server.addAccount("second", "secondsecret");
    String id = server.environment().get("AWS_ACCESS_KEY_ID");
    String secret = server.environment().get("AWS_SECRET_ACCESS_KEY");
    Path file = folder.resolve("credentials");
    Map<String, String> environment =
        Map.of(
            "AWS_ACCESS_KEY_ID", "",
            "AWS_SECRET_ACCESS_KEY", "",
            "AWS_SHARED_CREDENTIALS_FILE", keys(file, id, secret));
    try (FaultProxy proxy = FaultProxy.before(server, 1);
        ObjectStore store = through(proxy.endpoint(), server, BUCKET + "/keys", environment)) {
      String version = store.put("a", text("one"), Precondition.ABSENT).version();
      proxy.rules("fault=STATUS status=400 code=ExpiredToken credential=" + id);
      for (Executable call :
          List.<Executable>of(
              () -> store.put("a", text("two"), Precondition.matches(version)),
              () -> store.head("a"),
              () -> store.get("a", 0, ByteBuffer.allocate(1)))) {
        StoreException e = assertThrows(StoreException.class, call);
        assertEquals(Kind.DENIED, e.kind());
        assertTrue(
            e.getMessage().contains("credentials have expired (renew them in " + file),
            e.getMessage());
      }
      keys(file, "second", "secondsecret");
      store.put("a", text("two"), Precondition.matches(version));
      assertEquals("two", Blob.read(store, "a", 10).orElseThrow().text());
      Files.delete(file); // between two versions of it
      assertEquals("two", Blob.read(store, "a", 10).orElseThrow().text());
    }
  }

  /** A source that remembers what it had, as those of roles do, is asked anew. */
  @Test
  void aSourceThatRemembersIsAskedAnew() {
    AtomicInteger asked = new AtomicInteger();
    try (RenewableCredentials credentials =
        new RenewableCredentials(
            () -> {
              AwsBasicCredentials kept =
                  AwsBasicCredentials.create("id-" + asked.incrementAndGet(), "secret");
              return () -> kept;
            })) {
      AwsCredentials first = credentials.resolveCredentials();
      assertEquals(first, credentials.resolveCredentials());
      assertTrue(credentials.renew(first));
      assertEquals("id-2", credentials.resolveCredentials().accessKeyId());
      assertTrue(credentials.renew(first), "another request had renewed them");
      assertEquals("id-2", credentials.resolveCredentials().accessKeyId());
    }
  }
}
