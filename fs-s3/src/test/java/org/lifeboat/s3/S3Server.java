package org.lifeboat.s3;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreUrl;

/**
 * A real S3 server as a process of its own, which can be killed and started again on its data.
 *
 * <p>The programs come from {@code deploy/setup test}, or from where these variables point:
 *
 * <pre>
 * LIFEBOAT_VERSITYGW      default ~/.cache/lifeboat/bin/versitygw-v1.8.0
 * LIFEBOAT_MINIO          default ~/.cache/lifeboat/bin/minio-v0.0.0-20260212201848-7aac2a2c5b7c
 * LIFEBOAT_S3PROXY_HOME   default ~/.cache/lifeboat/s3proxy-4.1.0; has lib/*.jar
 * </pre>
 *
 * <p>Not thread-safe.
 */
public final class S3Server implements AutoCloseable {

  /** Which server; what each can't do is in {@link S3StoreContractTest}'s subclasses. */
  public enum Product {
    VERSITYGW,
    MINIO,
    S3PROXY
  }

  private static final InetAddress LOOPBACK = loopback();
  private static final String ACCESS_KEY = "lifeboattest";
  private static final String SECRET_KEY = "lifeboatsecret";
  private static final Duration START = Duration.ofSeconds(60);

  private final Product product;
  private final Path data;
  private final InetSocketAddress address;
  private final Thread reaper = new Thread(this::killAtExit);
  private Process process = null;

  private S3Server(Product product, Path data, InetSocketAddress address) {
    this.product = product;
    this.data = data;
    this.address = address;
  }

  private static InetAddress loopback() {
    try {
      return InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
    } catch (UnknownHostException e) {
      throw new IllegalStateException("four bytes are an address", e);
    }
  }

  /** Starts on a free port of 127.0.0.1. */
  public static S3Server start(Product product, Path data) throws IOException {
    IOException failure = null;
    for (int attempt = 0; attempt < 3; attempt++) { // somebody may take the port before us
      InetSocketAddress address;
      try (ServerSocket socket = new ServerSocket(0, 1, LOOPBACK)) {
        address = new InetSocketAddress(LOOPBACK, socket.getLocalPort());
      }
      try {
        return start(product, data, address);
      } catch (IOException e) {
        if (failure == null) {
          failure = e;
        } else {
          failure.addSuppressed(e);
        }
      }
    }
    throw failure;
  }

  /**
   * Starts on an address.
   *
   * @param data a directory for its objects and its log, made when it is not there
   */
  public static S3Server start(Product product, Path data, InetSocketAddress address)
      throws IOException {
    S3Server server = new S3Server(product, data.toAbsolutePath(), address);
    server.start();
    Runtime.getRuntime().addShutdownHook(server.reaper);
    return server;
  }

  private void start() throws IOException {
    Path objects = Files.createDirectories(data.resolve("objects"));
    ProcessBuilder builder =
        switch (product) {
          case VERSITYGW -> versitygw(objects);
          case MINIO -> minio(objects);
          case S3PROXY -> s3proxy(objects);
        };
    process =
        builder
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(log().toFile()))
            .start();
    process.getOutputStream().close();
    long end = System.nanoTime() + START.toNanos();
    while (!answers()) {
      try {
        if (process.waitFor(20, TimeUnit.MILLISECONDS)) {
          throw new IOException(
              product + " ended with exit code " + process.exitValue() + ": " + logTail());
        }
      } catch (InterruptedException e) {
        process.destroyForcibly();
        Thread.currentThread().interrupt();
        throw new IOException("interrupted while " + product + " started", e);
      }
      if (System.nanoTime() > end) {
        process.destroyForcibly();
        throw new IOException(product + " did not answer within " + START + ": " + logTail());
      }
    }
  }

  private ProcessBuilder versitygw(Path objects) throws IOException {
    ProcessBuilder builder =
        new ProcessBuilder(
            program(System.getenv().getOrDefault("LIFEBOAT_VERSITYGW", ""), "bin/versitygw-v1.8.0")
                .toString(),
            "--access",
            ACCESS_KEY,
            "--secret",
            SECRET_KEY,
            "--port",
            hostAndPort(),
            "--quiet",
            "--keep-alive",
            "--iam-dir",
            Files.createDirectories(data.resolve("iam")).toString(),
            "posix",
            objects.toString());
    return builder;
  }

  private ProcessBuilder minio(Path objects) throws IOException {
    ProcessBuilder builder =
        new ProcessBuilder(
            program(
                    System.getenv().getOrDefault("LIFEBOAT_MINIO", ""),
                    "bin/minio-v0.0.0-20260212201848-7aac2a2c5b7c")
                .toString(),
            "server",
            "--address",
            hostAndPort(),
            "--quiet",
            objects.toString());
    Map<String, String> environment = builder.environment();
    environment.put("MINIO_ROOT_USER", ACCESS_KEY);
    environment.put("MINIO_ROOT_PASSWORD", SECRET_KEY);
    environment.put("MINIO_BROWSER", "off");
    environment.put("MINIO_UPDATE", "off");
    environment.put("MINIO_KMS_SECRET_KEY", "my-key:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    return builder;
  }

  private ProcessBuilder s3proxy(Path objects) throws IOException {
    Path lib =
        program(System.getenv().getOrDefault("LIFEBOAT_S3PROXY_HOME", ""), "s3proxy-4.1.0")
            .resolve("lib");
    Path configuration = data.resolve("s3proxy.conf");
    Files.writeString(
        configuration,
        String.join(
            "\n",
            "s3proxy.endpoint=" + endpoint(),
            "s3proxy.authorization=aws-v2-or-v4",
            "s3proxy.identity=" + ACCESS_KEY,
            "s3proxy.credential=" + SECRET_KEY,
            "jclouds.provider=filesystem-nio2",
            "jclouds.filesystem.basedir=" + objects,
            ""));
    Path logging = data.resolve("logback.xml");
    Files.writeString(
        logging,
        "<configuration><appender name=\"o\" class=\"ch.qos.logback.core.ConsoleAppender\">"
            + "<encoder><pattern>%d %level %msg%n</pattern></encoder></appender>"
            + "<root level=\"WARN\"><appender-ref ref=\"o\"/></root></configuration>");
    return new ProcessBuilder(
        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
        "-Xmx512m",
        "-XX:-UsePerfData",
        "-Dlogback.configurationFile=" + logging,
        "-cp",
        lib + "/*",
        "org.gaul.s3proxy.Main",
        "--properties",
        configuration.toString());
  }

  static Path program(String named, String inCache) throws IOException {
    Path path =
        named.isEmpty()
            ? Path.of(System.getProperty("user.home"), ".cache", "lifeboat").resolve(inCache)
            : Path.of(named);
    if (!Files.exists(path)) {
      throw new IOException(path + " does not exist: run deploy/setup test");
    }
    return path;
  }

  private boolean answers() {
    try {
      HttpURLConnection connection = (HttpURLConnection) readiness().toURL().openConnection();
      connection.setConnectTimeout(1000);
      connection.setReadTimeout(5000);
      int status = connection.getResponseCode();
      connection.disconnect();
      return status < 500;
    } catch (IOException e) {
      return false; // not yet; start() gives up after a while, and then tells the server's log
    }
  }

  private URI readiness() {
    return product == Product.MINIO ? endpoint().resolve("/minio/health/ready") : endpoint();
  }

  private String hostAndPort() {
    return address.getAddress().getHostAddress() + ":" + address.getPort();
  }

  public URI endpoint() {
    return URI.create("http://" + hostAndPort());
  }

  public Product product() {
    return product;
  }

  public InetSocketAddress address() {
    return address;
  }

  /** What a client's environment must have. */
  public Map<String, String> environment() {
    Map<String, String> environment = new LinkedHashMap<>();
    environment.put("AWS_ENDPOINT_URL_S3", endpoint().toString());
    environment.put("AWS_ACCESS_KEY_ID", ACCESS_KEY);
    environment.put("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    environment.put("AWS_REGION", "us-east-1");
    return environment;
  }

  /** Makes a bucket; that it is there already is no error. */
  public S3Server createBucket(String bucket) throws IOException {
    try (S3Clients clients = new S3Clients(S3Settings.of(url(bucket), environment()))) {
      clients.of(S3Clients.Kind.REPEATABLE).createBucket(r -> r.bucket(bucket)).join();
    } catch (java.util.concurrent.CompletionException e) {
      if (S3Failures.reply(e).filter(reply -> reply.statusCode() == 409).isEmpty()) {
        throw new IOException("cannot make bucket " + bucket, e);
      }
    }
    return this;
  }

  /** The URL of a bucket or of a prefix in it: {@code bucket/prefix}. */
  public StoreUrl url(String path) {
    return StoreUrl.parse("s3://" + path);
  }

  /** Opens a store as the product does. */
  public ObjectStore open(String path) throws StoreException {
    return new S3StoreProvider().open(url(path), environment());
  }

  /**
   * Adds an account that may do everything; only versitygw does that without a client of its own.
   */
  public void addAccount(String id, String secret) throws IOException {
    List<String> command =
        List.of(
            program(System.getenv().getOrDefault("LIFEBOAT_VERSITYGW", ""), "bin/versitygw-v1.8.0")
                .toString(),
            "admin",
            "--access",
            ACCESS_KEY,
            "--secret",
            SECRET_KEY,
            "--endpoint-url",
            endpoint().toString(),
            "create-user",
            "--access",
            id,
            "--secret",
            secret,
            "--role",
            "admin");
    Process admin =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(log().toFile()))
            .start();
    try {
      if (admin.waitFor() != 0) {
        throw new IOException("no account " + id + ": " + logTail());
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
  }

  public long pid() {
    return process.pid();
  }

  /** Ends it as {@code kill -9} does. */
  public void kill() {
    process.destroyForcibly();
    try {
      process.waitFor();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Starts it again, after {@link #kill()}, on the same address and data. */
  public void restart() throws IOException {
    if (process.isAlive()) {
      throw new IllegalStateException(product + " is running");
    }
    start();
  }

  /** The file that has what the server printed. */
  public Path log() {
    return data.resolve("server.log");
  }

  private String logTail() throws IOException {
    List<String> lines = Files.readString(log(), UTF_8).lines().toList();
    return String.join("\n", lines.subList(Math.max(0, lines.size() - 20), lines.size()));
  }

  private void killAtExit() {
    process.destroyForcibly();
  }

  @Override
  public void close() {
    kill();
    Runtime.getRuntime().removeShutdownHook(reaper);
  }
}
