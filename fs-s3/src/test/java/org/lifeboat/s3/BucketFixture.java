package org.lifeboat.s3;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What Amazon says of buckets that are elsewhere, public, somebody else's or not there, over real
 * HTTP: no server at hand has regions or lets its readers pay. It knows no more of S3 than reads,
 * listings, puts and deletes of small objects, looks at who a signature says it is of and for which
 * region, not whether it is right, and remembers what came.
 */
final class BucketFixture implements AutoCloseable {

  private static final Pattern CREDENTIAL =
      Pattern.compile("Credential=([^/]+)/\\d{8}/([a-z0-9-]+)/s3/aws4_request");
  private static final Pattern SIGNED_HEADERS = Pattern.compile("SignedHeaders=([^,]+)");
  private static final Pattern RANGE = Pattern.compile("bytes=(\\d+)-(\\d+)");
  private static final String REGION_HEADER = "x-amz-bucket-region";

  /** How a bucket says that it is in another region. */
  enum Elsewhere {
    /** 400, and the region in a header and in words. */
    MALFORMED,
    /** 301, and the region in a header. */
    MOVED,
    /** 400, and the region in words only: a HEAD is not told. */
    IN_WORDS,
    /** 301 and nothing else: only a HEAD of the bucket tells. */
    SILENT
  }

  /**
   * A bucket.
   *
   * @param owners the access keys that may do everything
   * @param open what the keys begin with that anybody may read without a signature; {@code /} is
   *     nothing
   * @param listed whether anybody may list it without a signature
   * @param readersPay whether it refuses those who do not say that they pay
   */
  record Bucket(
      String region,
      Elsewhere elsewhere,
      Set<String> owners,
      String open,
      boolean listed,
      boolean readersPay) {

    static Bucket in(String region, Elsewhere elsewhere) {
      return new Bucket(region, elsewhere, Set.of("owner"), "/", false, false);
    }

    static Bucket readable(String open, boolean listed) {
      return new Bucket("us-east-1", Elsewhere.MALFORMED, Set.of("owner"), open, listed, false);
    }

    static Bucket paid() {
      return new Bucket("us-east-1", Elsewhere.MALFORMED, Set.of("owner"), "/", false, true);
    }
  }

  /**
   * A request that came.
   *
   * @param what method, path and the names of the query
   * @param signer the access key of the signature
   * @param region of the signature
   * @param payer x-amz-request-payer
   * @param signed the names of the headers that the signature covers
   */
  record Came(
      String what,
      String host,
      Optional<String> signer,
      Optional<String> region,
      Optional<String> payer,
      List<String> signed) {

    /** On one line: {@code GET /bucket/key owner eu-west-1}. */
    @Override
    public String toString() {
      return what + " " + signer.orElse("-") + region.map(name -> " " + name).orElse("");
    }
  }

  private record Refusal(int status, String code, String words) {}

  private final HttpServer server;
  private final Map<String, Bucket> buckets = new HashMap<>();
  private final Map<String, byte[]> objects = new ConcurrentSkipListMap<>();
  private final Set<String> known = ConcurrentHashMap.newKeySet();
  private final List<Came> came = new ArrayList<>();

  BucketFixture() throws IOException {
    InetAddress loopback = InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
    server = HttpServer.create(new InetSocketAddress(loopback, 0), 0);
    server.createContext("/", this::answer);
    server.setExecutor(Executors.newVirtualThreadPerTaskExecutor());
    server.start();
    known.add("owner");
  }

  BucketFixture with(String name, Bucket bucket) {
    buckets.put(name, bucket);
    return this;
  }

  /** An object of a bucket: {@code bucket/key}. */
  BucketFixture object(String path, String content) {
    objects.put(path, content.getBytes(UTF_8));
    return this;
  }

  /** An access key that is known, and owns nothing by that. */
  BucketFixture know(String accessKey) {
    known.add(accessKey);
    return this;
  }

  URI endpoint() {
    return URI.create("http://" + host());
  }

  String host() {
    return "127.0.0.1:" + server.getAddress().getPort();
  }

  /** Everything that came since the last time. */
  List<Came> came() {
    synchronized (came) {
      List<Came> all = List.copyOf(came);
      came.clear();
      return all;
    }
  }

  private void answer(HttpExchange exchange) throws IOException {
    try (exchange) {
      byte[] body = exchange.getRequestBody().readAllBytes();
      String method = exchange.getRequestMethod();
      String path = exchange.getRequestURI().getPath().substring(1);
      String query = Optional.ofNullable(exchange.getRequestURI().getQuery()).orElse("");
      Optional<String> authorization = header(exchange, "Authorization");
      Came request =
          new Came(
              method + " /" + path + (query.isEmpty() ? "" : "?" + names(query)),
              header(exchange, "Host").orElse(""),
              authorization.flatMap(text -> found(CREDENTIAL, text, 1)),
              authorization.flatMap(text -> found(CREDENTIAL, text, 2)),
              header(exchange, "x-amz-request-payer"),
              authorization
                  .flatMap(text -> found(SIGNED_HEADERS, text, 1))
                  .map(text -> List.of(text.split(";")))
                  .orElse(List.of()));
      synchronized (came) {
        came.add(request);
      }
      int slash = path.indexOf('/');
      String name = slash < 0 ? path : path.substring(0, slash);
      String key = slash < 0 ? "" : path.substring(slash + 1);
      Bucket bucket = buckets.get(name);
      if (bucket == null) {
        refuse(exchange, new Refusal(404, "NoSuchBucket", "The bucket does not exist"));
        return;
      }
      if (request.region.isPresent() && !request.region.get().equals(bucket.region)) {
        elsewhere(exchange, bucket, request.region.get());
        return;
      }
      Optional<Refusal> refusal = refusal(bucket, key, method, request);
      if (refusal.isPresent()) {
        if (key.isEmpty() && method.equals("HEAD")) {
          exchange.getResponseHeaders().add(REGION_HEADER, bucket.region);
        }
        refuse(exchange, refusal.get());
      } else if (key.isEmpty()) {
        exchange.getResponseHeaders().add(REGION_HEADER, bucket.region);
        list(exchange, name, query);
      } else {
        object(exchange, path, body);
      }
    }
  }

  private static String names(String query) {
    return String.join(
        "&", Arrays.stream(query.split("&")).map(part -> part.replaceFirst("=.*", "")).toList());
  }

  private static Optional<String> header(HttpExchange exchange, String name) {
    return Optional.ofNullable(exchange.getRequestHeaders().getFirst(name));
  }

  private static Optional<String> found(Pattern pattern, String text, int group) {
    Matcher matcher = pattern.matcher(text);
    return matcher.find() ? Optional.of(matcher.group(group)) : Optional.empty();
  }

  private Optional<Refusal> refusal(Bucket bucket, String key, String method, Came request) {
    Refusal denied = new Refusal(403, "AccessDenied", "Access Denied");
    boolean read = method.equals("GET") || method.equals("HEAD");
    if (request.signer.isEmpty()) {
      boolean allowed = read && (key.isEmpty() ? bucket.listed : key.startsWith(bucket.open));
      return allowed ? Optional.empty() : Optional.of(denied);
    }
    if (!known.contains(request.signer.get())) {
      return Optional.of(
          new Refusal(403, "InvalidAccessKeyId", "The access key does not exist in our records"));
    }
    boolean paid = !bucket.readersPay || request.payer.equals(Optional.of("requester"));
    return bucket.owners.contains(request.signer.get()) && paid
        ? Optional.empty()
        : Optional.of(denied);
  }

  private static void elsewhere(HttpExchange exchange, Bucket bucket, String asked)
      throws IOException {
    if (bucket.elsewhere == Elsewhere.MALFORMED || bucket.elsewhere == Elsewhere.MOVED) {
      exchange.getResponseHeaders().add(REGION_HEADER, bucket.region);
    }
    switch (bucket.elsewhere) {
      case MALFORMED, IN_WORDS ->
          refuse(
              exchange,
              new Refusal(
                  400,
                  "AuthorizationHeaderMalformed",
                  "The authorization header is malformed; the region '"
                      + asked
                      + "' is wrong; expecting '"
                      + bucket.region
                      + "'"));
      case MOVED, SILENT ->
          refuse(
              exchange,
              new Refusal(
                  301, "PermanentRedirect", "The bucket must be addressed at another endpoint"));
    }
  }

  private static void refuse(HttpExchange exchange, Refusal refusal) throws IOException {
    send(
        exchange,
        refusal.status,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>"
            + refusal.code
            + "</Code><Message>"
            + refusal.words
            + "</Message><RequestId>1</RequestId></Error>");
  }

  private void list(HttpExchange exchange, String bucket, String query) throws IOException {
    if (exchange.getRequestMethod().equals("HEAD")) {
      send(exchange, 200, "");
      return;
    }
    String prefix = found(Pattern.compile("(?:^|&)prefix=([^&]*)"), query, 1).orElse("");
    boolean level = query.contains("delimiter=/");
    StringBuilder contents = new StringBuilder();
    Set<String> below = new TreeSet<>();
    objects.forEach(
        (path, content) -> {
          String key = path.substring(path.indexOf('/') + 1);
          int slash = key.indexOf('/', prefix.length());
          if (path.startsWith(bucket + "/" + prefix) && level && slash >= 0) {
            below.add(key.substring(0, slash + 1));
          } else if (path.startsWith(bucket + "/" + prefix)) {
            contents
                .append("<Contents><Key>" + key + "</Key>")
                .append("<LastModified>2026-01-01T00:00:00.000Z</LastModified>")
                .append("<ETag>&quot;1&quot;</ETag><Size>" + content.length + "</Size></Contents>");
          }
        });
    below.forEach(
        name -> contents.append("<CommonPrefixes><Prefix>" + name + "</Prefix></CommonPrefixes>"));
    send(
        exchange,
        200,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><IsTruncated>false"
            + "</IsTruncated><EncodingType>url</EncodingType>"
            + contents
            + "</ListBucketResult>");
  }

  private void object(HttpExchange exchange, String path, byte[] body) throws IOException {
    switch (exchange.getRequestMethod()) {
      case "PUT" -> {
        objects.put(path, body);
        exchange.getResponseHeaders().add("ETag", "\"1\"");
        send(exchange, 200, "");
      }
      case "DELETE" -> {
        objects.remove(path);
        exchange.sendResponseHeaders(204, -1);
      }
      default -> {
        byte[] content = objects.get(path);
        if (content == null) {
          refuse(exchange, new Refusal(404, "NoSuchKey", "There is no such key"));
          return;
        }
        exchange.getResponseHeaders().add("ETag", "\"1\"");
        exchange
            .getResponseHeaders()
            .add(
                "Last-Modified",
                DateTimeFormatter.RFC_1123_DATE_TIME.format(
                    ZonedDateTime.of(2026, 1, 1, 0, 0, 0, 0, ZoneOffset.UTC)));
        range(exchange, content);
      }
    }
  }

  private static void range(HttpExchange exchange, byte[] content) throws IOException {
    Matcher range = RANGE.matcher(header(exchange, "Range").orElse(""));
    if (!range.matches()) {
      send(exchange, 200, new String(content, UTF_8));
      return;
    }
    int first = Integer.parseInt(range.group(1));
    int end = Math.min(content.length, Integer.parseInt(range.group(2)) + 1);
    if (first >= content.length) {
      refuse(exchange, new Refusal(416, "InvalidRange", "The range is not satisfiable"));
      return;
    }
    exchange
        .getResponseHeaders()
        .add("Content-Range", "bytes " + first + "-" + (end - 1) + "/" + content.length);
    send(exchange, 206, new String(Arrays.copyOfRange(content, first, end), UTF_8));
  }

  private static void send(HttpExchange exchange, int status, String body) throws IOException {
    byte[] bytes = body.getBytes(UTF_8);
    if (exchange.getRequestMethod().equals("HEAD")) {
      if (status < 300) {
        exchange.getResponseHeaders().add("Content-Length", Integer.toString(bytes.length));
      }
      exchange.sendResponseHeaders(status, -1);
      return;
    }
    exchange.sendResponseHeaders(status, bytes.length == 0 ? -1 : bytes.length);
    exchange.getResponseBody().write(bytes);
  }

  @Override
  public void close() {
    server.stop(0);
  }
}
