package org.lifeboat.s3;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.lifeboat.s3.FaultRule.Fault;
import org.lifeboat.store.Blob;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.RetryingStore;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreException.Kind;
import org.lifeboat.store.StoreUrl;

/**
 * Each fault at each kind of request, once, through a real connection to a real server: what may be
 * repeated succeeds; a conditional write succeeds, or fails and says rightly whether it took
 * effect.
 */
@Timeout(120)
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
          "fault=STATUS status=400 code=RequestTimeout",
          "fault=SKEWED millis=600000");

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
    environment.put("AWS_ENDPOINT_URL", endpoint.toString());
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
      void run(ObjectStore faulty, ObjectStore sane) throws Exception {
        sane.put("a", text("content of a"), Precondition.NONE);
        assertEquals("content of a", Blob.read(faulty, "a", 100).orElseThrow().text());
      }
    },
    GET_NOTHING {
      @Override
      void run(ObjectStore faulty, ObjectStore sane) throws Exception {
        assertTrue(Blob.read(faulty, "nothing", 100).isEmpty());
      }
    },
    HEAD {
      @Override
      void run(ObjectStore faulty, ObjectStore sane) throws Exception {
        String version = sane.put("a", text("content of a"), Precondition.NONE).version();
        assertEquals(version, faulty.head("a").orElseThrow().version());
      }
    },
    LIST {
      @Override
      void run(ObjectStore faulty, ObjectStore sane) throws Exception {
        sane.put("d/a", text("a"), Precondition.NONE);
        sane.put("d/b", text("b"), Precondition.NONE);
        assertEquals(
            List.of("d/a", "d/b"),
            faulty.list("d/", "").objects().stream().map(ObjectStore.ObjectInfo::key).toList());
      }
    },
    PUT {
      @Override
      void run(ObjectStore faulty, ObjectStore sane) throws Exception {
        faulty.put("a", text("new"), Precondition.NONE);
        assertEquals("new", Blob.read(sane, "a", 100).orElseThrow().text());
      }
    },
    DELETE {
      @Override
      void run(ObjectStore faulty, ObjectStore sane) throws Exception {
        sane.put("a", text("old"), Precondition.NONE);
        faulty.delete("a");
        assertTrue(sane.head("a").isEmpty());
      }
    },
    PUT_ABSENT {
      @Override
      void run(ObjectStore faulty, ObjectStore sane) throws Exception {
        Optional<Kind> failure = failure(() -> faulty.put("a", text("new"), Precondition.ABSENT));
        Optional<String> now = Blob.read(sane, "a", 100).map(Blob::text);
        assertTold(failure, now.isPresent());
      }
    },
    PUT_MATCHES {
      @Override
      void run(ObjectStore faulty, ObjectStore sane) throws Exception {
        String version = sane.put("a", text("old"), Precondition.NONE).version();
        Optional<Kind> failure =
            failure(() -> faulty.put("a", text("new"), Precondition.matches(version)));
        assertTold(failure, Blob.read(sane, "a", 100).orElseThrow().text().equals("new"));
      }
    },
    UPLOAD {
      @Override
      void run(ObjectStore faulty, ObjectStore sane) throws Exception {
        multipart(faulty, faulty, faulty, sane);
      }
    },
    ABORT {
      @Override
      void run(ObjectStore faulty, ObjectStore sane) throws Exception {
        MultipartUpload upload = sane.upload("big");
        upload.part(1, text("a part"));
        faulty.resume("big", upload.id()).abort();
        assertEquals(List.of(), sane.uploads("big"));
        assertTrue(sane.head("big").isEmpty());
      }
    };

    abstract void run(ObjectStore faulty, ObjectStore sane) throws Exception;

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

  private static void multipart(
      ObjectStore begins, ObjectStore sends, ObjectStore completes, ObjectStore sane)
      throws Exception {
    MultipartUpload upload = begins.upload("big");
    ByteBuffer one = ByteBuffer.allocate(PART);
    for (int i = 0; i < PART; i++) {
      one.put(i, (byte) (i * 7));
    }
    sends.resume("big", upload.id()).part(1, one);
    sends.resume("big", upload.id()).part(2, text("the end"));
    try {
      completes.resume("big", upload.id()).complete(Precondition.NONE);
    } catch (StoreException e) { // what its callers do
      boolean again =
          e.retryable() || e.kind() == Kind.UNKNOWN_OUTCOME || e.kind() == Kind.NOT_FOUND;
      if (!again) {
        throw e;
      }
      if (sane.head("big").isEmpty()) {
        completes.resume("big", upload.id()).complete(Precondition.NONE);
      }
    }
    ByteBuffer whole = ByteBuffer.allocate(PART + 7);
    sane.get("big", 0, whole);
    assertEquals(one, whole.slice(0, PART));
    assertEquals(text("the end"), whole.slice(PART, 7));
  }

  private static String operations(Deed deed) {
    return switch (deed) {
      case GET, GET_NOTHING -> "GET";
      case PUT_ABSENT, PUT_MATCHES -> "PUT";
      default -> deed.name();
    };
  }

  @ParameterizedTest
  @EnumSource(names = {"VERSITYGW", "MINIO"})
  void eachFaultAtEachRequest(S3Server.Product product) throws Exception {
    S3Server server = servers.get(product);
    List<Future<String>> cases = new ArrayList<>();
    Semaphore places = new Semaphore(12);
    try (ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor()) {
      int n = 0;
      for (Deed deed : Deed.values()) {
        List<String> operations =
            deed == Deed.UPLOAD ? List.of("UPLOAD", "PART", "COMPLETE") : List.of(operations(deed));
        for (String operation : operations) {
          for (String fault : FAULTS) {
            String name = "case-" + ++n;
            cases.add(
                executor.submit(
                    () -> {
                      places.acquire();
                      try {
                        return one(server, deed, fault + " times=1 op=" + operation, name);
                      } finally {
                        places.release();
                      }
                    }));
          }
        }
      }
    }
    StringBuilder failures = new StringBuilder();
    for (Future<String> each : cases) {
      failures.append(each.get());
    }
    assertEquals("", failures.toString());
  }

  private static String one(S3Server server, Deed deed, String rule, String name) {
    try (FaultProxy proxy = FaultProxy.before(server, 1).rules(rule);
        ObjectStore faulty = through(proxy.endpoint(), server, BUCKET + "/" + name, Map.of());
        ObjectStore sane = server.open(BUCKET + "/" + name)) {
      deed.run(faulty, sane);
      assertEquals(1, proxy.hits(FaultRule.parse(rule).fault()), "it did not happen");
      return "";
    } catch (Exception | AssertionError e) {
      return deed + " with " + rule + ": " + e + "\n";
    }
  }

  /** A Complete may be answered with status 200 and an error in the body. */
  @ParameterizedTest
  @EnumSource(names = {"VERSITYGW", "MINIO"})
  void anErrorBehindStatus200IsAnError(S3Server.Product product) throws Exception {
    for (String operation : List.of("COMPLETE")) {
      assertEquals(
          "",
          one(
              servers.get(product),
              Deed.UPLOAD,
              "fault=ERROR_IN_BODY code=InternalError times=1 op=" + operation,
              "error-in-body"));
    }
  }

  /** The SDK takes the server's time from the refusal, and keeps it. */
  @Test
  void aWrongClockIsPutRight() throws Exception {
    S3Server server = servers.get(S3Server.Product.VERSITYGW);
    try (FaultProxy proxy = FaultProxy.before(server, 1).rules("fault=SKEWED millis=600000");
        ObjectStore store = through(proxy.endpoint(), server, BUCKET + "/skew", Map.of())) {
      String version = store.put("a", text("one"), Precondition.ABSENT).version();
      store.put("a", text("two"), Precondition.matches(version));
      assertEquals("two", Blob.read(store, "a", 10).orElseThrow().text());
      assertTrue(proxy.hits(Fault.SKEWED) <= 2, proxy.journal()::toString);
    }
  }
}
