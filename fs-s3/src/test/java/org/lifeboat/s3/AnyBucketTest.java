package org.lifeboat.s3;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.parallel.Isolated;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.lifeboat.s3.BucketFixture.Bucket;
import org.lifeboat.s3.BucketFixture.Came;
import org.lifeboat.s3.BucketFixture.Elsewhere;
import org.lifeboat.store.Blob;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.ObjectStore.DirectoryEntry;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreException.Kind;
import org.lifeboat.store.StoreUrl;
import org.slf4j.LoggerFactory;
import software.amazon.awssdk.regions.Region;

/** A bucket of which a user knows the name and nothing else: what is sent to find out the rest. */
@Timeout(120)
@Isolated // it sets properties of the whole JVM
final class AnyBucketTest {

  @TempDir private Path home;
  private BucketFixture fixture;
  private final ListAppender<ILoggingEvent> log = new ListAppender<>();

  @BeforeEach
  void start() throws Exception {
    System.setProperty("aws.disableEc2Metadata", "true");
    fixture = new BucketFixture();
    log.start();
    logger().addAppender(log);
  }

  @AfterEach
  void stop() {
    logger().detachAppender(log);
    fixture.close();
    System.clearProperty("aws.disableEc2Metadata");
  }

  private static Logger logger() {
    return (Logger) LoggerFactory.getLogger(S3Calls.class);
  }

  private List<String> told() {
    return log.list.stream()
        .filter(event -> event.getLevel().isGreaterOrEqual(Level.INFO))
        .map(ILoggingEvent::getFormattedMessage)
        .toList();
  }

  /** As the user of an access key, or without one when it is empty. */
  private ObjectStore open(String bucket, String accessKey, String... more) throws Exception {
    Map<String, String> environment = new HashMap<>();
    environment.put("AWS_ENDPOINT_URL_S3", fixture.endpoint().toString());
    environment.put("AWS_REGION", "us-east-1");
    environment.put("HOME", home.toString());
    if (!accessKey.isEmpty()) {
      environment.put("AWS_ACCESS_KEY_ID", accessKey);
      environment.put("AWS_SECRET_ACCESS_KEY", "secret");
    }
    for (int i = 0; i < more.length; i += 2) {
      environment.put(more[i], more[i + 1]);
    }
    return new S3StoreProvider().open(StoreUrl.parse("s3://" + bucket), environment);
  }

  /** What came, each request on a line. */
  private List<String> came() {
    List<Came> all = fixture.came();
    all.forEach(request -> assertEquals(fixture.host(), request.host()));
    return all.stream().map(Came::toString).toList();
  }

  private static ByteBuffer text(String text) {
    return ByteBuffer.wrap(text.getBytes(UTF_8));
  }

  private static String read(ObjectStore store, String key) throws StoreException {
    return Blob.read(store, key, 1000).orElseThrow().text();
  }

  private static List<String> names(ObjectStore store) throws StoreException {
    return store.listDirectory("", "").entries().stream().map(DirectoryEntry::key).toList();
  }

  private static StoreException failure(Executable call) {
    return assertThrows(StoreException.class, call);
  }

  // ---------------------------------------------------------------- other regions

  @ParameterizedTest
  @EnumSource(Elsewhere.class)
  void another_region_is_gone_to_and_remembered(Elsewhere elsewhere) throws Exception {
    fixture.with("abroad", Bucket.in("eu-north-1", elsewhere)).object("abroad/a", "content");
    try (ObjectStore store = open("abroad", "owner")) {
      assertEquals("content", read(store, "a"));
      assertEquals(
          elsewhere == Elsewhere.SILENT
              ? List.of(
                  "GET /abroad/a owner us-east-1",
                  "HEAD /abroad -",
                  "GET /abroad/a owner eu-north-1")
              : List.of("GET /abroad/a owner us-east-1", "GET /abroad/a owner eu-north-1"),
          came());
      store.put("b", text("x"), Precondition.ABSENT);
      assertEquals(List.of("a", "b"), names(store));
      assertTrue(store.head("a").isPresent());
      store.delete("b");
      assertEquals(
          List.of(
              "PUT /abroad/b owner eu-north-1",
              "GET /abroad?list-type&delimiter&encoding-type&max-keys&prefix owner eu-north-1",
              "HEAD /abroad/a owner eu-north-1",
              "DELETE /abroad/b owner eu-north-1"),
          came());
    }
    assertEquals(List.of("bucket abroad is in eu-north-1: requests go there"), told());
  }

  @ParameterizedTest
  @EnumSource(Elsewhere.class)
  void each_kind_of_request_may_be_the_first(Elsewhere elsewhere) throws Exception {
    fixture.with("abroad", Bucket.in("eu-north-1", elsewhere)).object("abroad/a", "content");
    try (ObjectStore store = open("abroad", "owner")) {
      store.put("b", text("x"), Precondition.ABSENT); // sent once, but for this
      assertEquals("x", read(store, "b"));
    }
    try (ObjectStore store = open("abroad", "owner")) {
      assertEquals(7, store.head("a").orElseThrow().size());
    }
    try (ObjectStore store = open("abroad", "owner")) {
      assertTrue(store.head("nothing").isEmpty());
    }
    try (ObjectStore store = open("abroad", "owner")) {
      assertEquals(List.of("a", "b"), names(store));
      assertEquals(2, store.list("", "").objects().size());
    }
    try (ObjectStore store = open("abroad", "owner")) {
      store.delete("b");
      assertTrue(store.head("b").isEmpty());
    }
  }

  /** Amazon's servers are named by their region. */
  @Test
  void the_host_is_that_of_the_region() throws Exception {
    StoreUrl url = StoreUrl.parse("s3://abroad");
    S3Settings settings =
        S3Settings.of(
            url,
            Map.of(
                "AWS_REGION", "us-east-1",
                "AWS_ACCESS_KEY_ID", "owner",
                "AWS_SECRET_ACCESS_KEY", "secret"));
    try (S3Clients clients = new S3Clients(settings)) {
      for (String region : List.of("us-east-1", "eu-north-1", "us-east-1")) {
        clients.moveTo(Region.of(region));
        assertFalse(clients.moveTo(Region.of(region)));
        assertEquals(Region.of(region), clients.region());
        for (S3Clients.Kind kind : S3Clients.Kind.values()) {
          URI object =
              clients.of(kind).utilities().getUrl(r -> r.bucket("abroad").key("a")).toURI();
          assertTrue(object.getHost().startsWith("abroad.s3."), object::toString);
          assertEquals(!region.equals("us-east-1"), object.getHost().contains(region));
        }
      }
    }
  }

  /** A server that sends everybody on, whatever he asks for. */
  @Test
  void a_bucket_that_is_nowhere_is_an_error_soon() throws Exception {
    fixture.with("nowhere", Bucket.in("no-region at all", Elsewhere.MOVED));
    try (ObjectStore store = open("nowhere", "owner")) {
      StoreException e = failure(() -> read(store, "a"));
      assertEquals(Kind.INVALID, e.kind());
      assertTrue(e.getMessage().contains("bucket nowhere is in another region"), e.getMessage());
      assertEquals(
          "set AWS_REGION to the bucket's region, and the endpoint to that region's", e.remedy());
      assertTrue(came().size() <= 3);
    }
  }

  // ---------------------------------------------------------------- public buckets

  @Test
  void a_public_bucket_is_read_without_credentials() throws Exception {
    fixture.with("public", Bucket.readable("", true)).object("public/a", "content");
    try (ObjectStore store = open("public", "")) {
      assertEquals("content", read(store, "a"));
      assertEquals(7, store.head("a").orElseThrow().size());
      assertEquals(List.of("a"), names(store));
      assertEquals(1, store.list("", "").objects().size());
      ByteBuffer behind = ByteBuffer.allocate(1);
      store.get("a", 7, behind);
      assertEquals(0, behind.position());
      assertTrue(Blob.read(store, "b", 10).isEmpty());
      List<String> all = came();
      assertTrue(all.stream().allMatch(request -> request.endsWith(" -")), all::toString);
      assertEquals("GET /public/a -", all.getFirst());

      for (Executable write :
          List.<Executable>of(
              () -> store.put("b", text("x"), Precondition.NONE),
              () -> store.put("b", text("x"), Precondition.ABSENT),
              () -> store.delete("a"),
              () -> store.copy("a", "b"),
              () -> store.upload("b"))) {
        StoreException e = failure(write);
        assertEquals(Kind.DENIED, e.kind());
        assertTrue(e.getMessage().contains("there are no credentials (set AWS_"), e.getMessage());
      }
      List<String> writes = came();
      assertEquals(List.of("HEAD /public/a -"), writes, "what the copy looks for");
    }
    assertEquals(
        List.of("bucket public is public and is read without credentials: there are none"), told());
  }

  /** Of a key that nobody knows, or of an account that has no right there. */
  @ParameterizedTest
  @ValueSource(strings = {"unknown", "stranger"})
  void a_public_bucket_that_refuses_the_credentials_is_read_without(String user) throws Exception {
    fixture.know("stranger");
    fixture.with("public", Bucket.readable("", true)).object("public/a", "content");
    try (ObjectStore store = open("public", user)) {
      assertEquals("content", read(store, "a"));
      assertEquals(List.of("GET /public/a " + user + " us-east-1", "GET /public/a -"), came());
      assertEquals("content", read(store, "a"));
      assertEquals(List.of("a"), names(store));
      assertTrue(store.head("nothing").isEmpty());
      List<String> all = came();
      assertTrue(all.stream().allMatch(request -> request.endsWith(" -")), all::toString);
      assertEquals(
          Kind.DENIED, failure(() -> store.put("b", text("x"), Precondition.ABSENT)).kind());
      assertEquals(List.of("PUT /public/b " + user + " us-east-1"), came());
    }
    List<String> told = told();
    assertEquals(1, told.size(), told::toString);
    assertTrue(told.getFirst().startsWith("bucket public is public and is read without"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "stranger"})
  void a_head_may_be_the_first(String user) throws Exception {
    fixture.know("stranger");
    fixture.with("public", Bucket.readable("", false)).object("public/a", "content");
    try (ObjectStore store = open("public", user)) {
      assertEquals(7, store.head("a").orElseThrow().size());
      assertEquals(Kind.DENIED, failure(() -> names(store)).kind(), "it may not be listed");
      assertEquals("content", read(store, "a"));
    }
  }

  @Test
  void a_bucket_may_be_public_in_part() throws Exception {
    fixture.know("reader");
    fixture
        .with(
            "mixed",
            new Bucket("us-east-1", Elsewhere.MALFORMED, Set.of("reader"), "open/", false, false))
        .object("mixed/open/a", "open")
        .object("mixed/mine", "mine");
    try (ObjectStore store = open("mixed", "")) {
      StoreException e = failure(() -> read(store, "mine"));
      assertEquals(Kind.DENIED, e.kind(), "the first that is asked for is not public");
      assertEquals("open", read(store, "open/a"));
      assertEquals(Kind.DENIED, failure(() -> read(store, "mine")).kind());
      assertEquals("open", read(store, "open/a"));
      List<String> all = came();
      assertEquals(4, all.size(), all::toString);
    }
    try (ObjectStore store = open("mixed", "reader")) {
      assertEquals("mine", read(store, "mine"));
      assertEquals("open", read(store, "open/a"));
      List<String> all = came();
      assertTrue(all.stream().allMatch(request -> request.contains("reader")), all::toString);
    }
  }

  /** Credentials that are refused at first, and then are not. */
  @Test
  void credentials_that_are_good_again_are_used_again() throws Exception {
    fixture.with("mixed", Bucket.readable("open/", false));
    fixture.object("mixed/open/a", "open").object("mixed/mine", "mine");
    fixture.with(
        "mixed",
        new Bucket("us-east-1", Elsewhere.MALFORMED, Set.of("late"), "open/", false, false));
    try (ObjectStore store = open("mixed", "late")) {
      assertEquals("open", read(store, "open/a"));
      assertEquals(Kind.DENIED, failure(() -> read(store, "mine")).kind());
      fixture.know("late");
      came();
      assertEquals("mine", read(store, "mine"));
      assertEquals("open", read(store, "open/a"));
      assertEquals(
          List.of(
              "GET /mixed/mine -",
              "GET /mixed/mine late us-east-1",
              "GET /mixed/open/a late us-east-1"),
          came());
    }
  }

  /** What is closed may look like nothing to who has no name: that is no answer. */
  @ParameterizedTest
  @ValueSource(strings = {"", "unknown", "stranger"})
  void that_nothing_is_there_is_believed_of_a_public_bucket_only(String user) throws Exception {
    fixture.know("stranger").with("hides", Bucket.readable("", false)).object("hides/a", "x");
    fixture.with("public", Bucket.readable("", true));
    try (ObjectStore closed = open("hides", user);
        ObjectStore open = open("public", user)) {
      assertEquals(Kind.DENIED, failure(() -> closed.head("b")).kind());
      assertEquals(Kind.DENIED, failure(() -> Blob.read(closed, "b", 9)).kind());
      assertTrue(open.head("b").isEmpty());
      assertTrue(Blob.read(open, "b", 9).isEmpty());
    }
  }

  // ---------------------------------------------------------------- who pays

  @Test
  void a_bucket_whose_readers_pay_is_told_so_when_that_is_set() throws Exception {
    fixture.with("paid", Bucket.paid()).object("paid/a", "content");
    try (ObjectStore store = open("paid", "owner", "LIFEBOAT_REQUESTER_PAYS", "on")) {
      assertEquals("content", read(store, "a"));
      assertEquals(7, store.head("a").orElseThrow().size());
      assertEquals(List.of("a"), names(store));
      store.put("b", text("x"), Precondition.NONE);
      List<Came> all = fixture.came();
      assertEquals(4, all.size(), all::toString);
      for (Came request : all) {
        assertEquals("requester", request.payer().orElse("-"), request::toString);
        assertTrue(request.signed().contains("x-amz-request-payer"), request::toString);
      }
    }
    try (ObjectStore store = open("paid", "owner")) {
      for (Executable call :
          List.<Executable>of(() -> read(store, "a"), () -> store.head("a"), () -> names(store))) {
        StoreException e = failure(call);
        assertEquals(Kind.DENIED, e.kind());
        assertTrue(e.getMessage().contains("bucket paid refuses access"), e.getMessage());
        assertTrue(e.remedy().endsWith("set LIFEBOAT_REQUESTER_PAYS=on to do so"), e.remedy());
      }
      List<Came> all = fixture.came();
      assertTrue(all.stream().allMatch(request -> request.payer().isEmpty()), all::toString);
    }
    fixture.with("public", Bucket.readable("", true)).object("public/a", "content");
    try (ObjectStore store = open("public", "unknown", "LIFEBOAT_REQUESTER_PAYS", "true")) {
      assertEquals("content", read(store, "a"));
      List<Came> all = fixture.came();
      assertTrue(all.getLast().payer().isEmpty(), "nobody cannot pay");
    }
  }

  // ---------------------------------------------------------------- refused, not there

  @ParameterizedTest
  @ValueSource(strings = {"", "unknown", "stranger"})
  void a_bucket_that_refuses_is_named_with_a_remedy(String user) throws Exception {
    fixture.know("stranger").with("closed", Bucket.readable("/", false));
    fixture.object("closed/a", "content");
    try (ObjectStore store = open("closed", user)) {
      for (Executable call :
          List.<Executable>of(
              () -> read(store, "a"),
              () -> store.head("a"),
              () -> store.head("nothing"),
              () -> store.list("", ""),
              () -> names(store),
              () -> store.put("b", text("x"), Precondition.ABSENT))) {
        StoreException e = failure(call);
        assertEquals(Kind.DENIED, e.kind(), e.getMessage());
        assertTrue(e.getMessage().contains("s3://closed"), e.getMessage());
        assertTrue(
            switch (user) {
              case "" -> e.getMessage().contains("there are no credentials (set AWS_ACCESS_KEY_ID");
              case "unknown" -> e.getMessage().endsWith("(check AWS_ACCESS_KEY_ID)");
              default ->
                  e.getMessage().contains("bucket closed refuses access: HTTP 403 AccessDenied")
                      && e.remedy().startsWith("allow s3:GetObject");
            },
            e.getMessage());
      }
      assertTrue(
          came().stream()
              .filter(request -> request.endsWith(" -"))
              .noneMatch(r -> r.startsWith("PUT")));
    }
    assertEquals(List.of(), told());
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "owner"})
  void a_bucket_that_is_not_there_is_no_store(String user) throws Exception {
    try (ObjectStore store = open("nothing", user)) {
      for (Executable call :
          List.<Executable>of(
              () -> read(store, "a"),
              () -> store.head("a"),
              () -> store.list("", ""),
              () -> names(store))) {
        StoreException e = failure(call);
        assertEquals(Kind.NO_STORE, e.kind(), e.getMessage());
        assertTrue(e.getMessage().contains("there is no bucket nothing (create it"));
      }
    }
  }
}
