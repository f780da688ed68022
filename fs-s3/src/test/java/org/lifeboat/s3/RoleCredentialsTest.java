package org.lifeboat.s3;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.parallel.Isolated;
import org.lifeboat.store.Blob;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreException.Kind;

/**
 * Credentials of a role, from an endpoint that is asked again when the store refuses them, although
 * they were to be good for hours: of a container (ECS, EKS) and of an instance (EC2).
 */
@Timeout(120)
@Isolated // it sets properties of the whole JVM
final class RoleCredentialsTest {

  @TempDir private Path folder;
  private final AtomicInteger asked = new AtomicInteger();
  private volatile String id = "lifeboattest";
  private volatile String secret = "lifeboatsecret";
  private HttpServer role;

  @BeforeEach
  void start() throws IOException {
    role = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    role.createContext("/", this::answer);
    role.start();
  }

  @AfterEach
  void stop() {
    role.stop(0);
    System.clearProperty("aws.containerCredentialsFullUri");
    System.clearProperty("aws.ec2MetadataServiceEndpoint");
  }

  private void answer(HttpExchange exchange) throws IOException {
    try (exchange) {
      String path = exchange.getRequestURI().getPath();
      String said;
      if (path.equals("/latest/api/token")) {
        exchange.getResponseHeaders().add("x-aws-ec2-metadata-token-ttl-seconds", "21600");
        said = "token";
      } else if (path.endsWith("/role") || path.equals("/container")) {
        asked.incrementAndGet();
        said =
            "{\"Code\":\"Success\",\"LastUpdated\":\"2026-01-01T00:00:00Z\",\"Type\":\"AWS-HMAC\","
                + "\"AccessKeyId\":\""
                + id
                + "\",\"SecretAccessKey\":\""
                + secret
                + "\",\"Expiration\":\""
                + Instant.now().plusSeconds(6 * 3600)
                + "\"}";
      } else if (path.endsWith("/security-credentials/")
          || path.endsWith("/security-credentials")) {
        said = "role";
      } else {
        exchange.sendResponseHeaders(404, -1);
        return;
      }
      byte[] bytes = said.getBytes(UTF_8);
      exchange.sendResponseHeaders(200, bytes.length);
      exchange.getResponseBody().write(bytes);
    }
  }

  private String endpoint() {
    return "http://127.0.0.1:" + role.getAddress().getPort();
  }

  @Test
  void ofAContainer() throws Exception {
    System.setProperty("aws.containerCredentialsFullUri", endpoint() + "/container");
    areTakenAnew();
  }

  @Test
  void ofAnInstance() throws Exception {
    System.setProperty("aws.ec2MetadataServiceEndpoint", endpoint());
    areTakenAnew();
  }

  private void areTakenAnew() throws Exception {
    Map<String, String> environment =
        Map.of("AWS_ACCESS_KEY_ID", "", "AWS_SECRET_ACCESS_KEY", "", "HOME", folder.toString());
    try (S3Server server =
            S3Server.start(S3Server.Product.VERSITYGW, folder.resolve("data"))
                .createBucket("bucket");
        FaultProxy proxy = FaultProxy.before(server, 1);
        ObjectStore store =
            S3FaultsTest.through(proxy.endpoint(), server, "bucket/role", environment)) {
      server.addAccount("second", "secondsecret");
      ByteBuffer one = ByteBuffer.wrap("one".getBytes(UTF_8));
      String version = store.put("a", one, Precondition.ABSENT).version();
      assertEquals("one", Blob.read(store, "a", 9).orElseThrow().text());
      assertEquals(1, asked.get(), "they are kept");
      proxy.rules("fault=STATUS status=400 code=ExpiredToken credential=" + id);
      StoreException e =
          assertThrows(
              StoreException.class, () -> store.put("a", one, Precondition.matches(version)));
      assertEquals(Kind.DENIED, e.kind(), "the role has no others yet");
      id = "second";
      secret = "secondsecret";
      ByteBuffer two = ByteBuffer.wrap("two".getBytes(UTF_8));
      store.put("a", two, Precondition.matches(version));
      assertEquals("two", Blob.read(store, "a", 9).orElseThrow().text());
    }
  }
}
