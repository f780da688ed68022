package org.lifeboat.deploy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.lifeboat.s3.FaultProxy;
import org.lifeboat.s3.FaultRule;
import org.lifeboat.store.StoreCall;

/**
 * Where the snapshots of a test are: the one thing that its hosts share. The objects are files in a
 * folder with every kind of store used here but MinIO, so a test can look at them, and damage them,
 * from outside.
 */
final class Site implements AutoCloseable {

  /** The kinds of store. */
  enum Kind {
    FILE,
    VERSITYGW,
    MINIO,
    /** Versitygw behind a {@link FaultProxy}. */
    FAULTY
  }

  private static final String BUCKET = "bucket";
  private static final String ADDRESS = "10.77.0.1";
  private static final String CONTROL = "http://127.0.0.1:7099";
  private static final Map<String, String> KEYS =
      Map.of("AWS_ACCESS_KEY_ID", "testkey", "AWS_SECRET_ACCESS_KEY", "testsecret");

  private final Kind kind;
  private final Path data;
  private final Host server;
  private final String size;
  private Host first;
  private Program program;
  private int cables;

  Site(Kind kind, Path folder) throws IOException, InterruptedException {
    this(kind, folder, null);
  }

  /**
   * @param size of a disk of its own, as mount(8) takes it for a tmpfs: then the objects cannot be
   *     seen from outside, and a folder is there on the first host only; or null
   */
  Site(Kind kind, Path folder, String size) throws IOException, InterruptedException {
    this.kind = kind;
    this.size = size;
    this.data = Files.createDirectories(folder.resolve("store"));
    this.server = kind == Kind.FILE ? null : new Host("cloud", folder, data);
    if (server != null) {
      limit(server);
      server.run("ip", "address", "add", ADDRESS + "/32", "dev", "lo");
      startServer();
    }
  }

  private void limit(Host host) throws IOException, InterruptedException {
    if (size != null) {
      host.run("mount", "-t", "tmpfs", "-o", "size=" + size, "lifeboat-test", "/media");
    }
  }

  /** Runs a shell command where the objects are: below /media. */
  String inStore(String command) throws IOException, InterruptedException {
    return (server == null ? first : server).run("/bin/sh", "-c", command);
  }

  /** Takes the server away, as a crash does: in the middle of whatever it did. */
  void killServer() throws IOException, InterruptedException {
    Host.command("kill", "-KILL", Long.toString(server.find(Tools.versitygw().toString())));
    program.await();
  }

  /** Starts it, on what it had. */
  void startServer() throws IOException, InterruptedException {
    if (kind != Kind.MINIO) {
      server.run("mkdir", "-p", "/tmp/iam");
      program =
          server.start(
              List.of(
                  Tools.versitygw().toString(),
                  "--access",
                  "testkey",
                  "--secret",
                  "testsecret",
                  "--iam-dir",
                  "/tmp/iam",
                  "--port",
                  kind == Kind.FAULTY ? "127.0.0.1:7071" : "0.0.0.0:7070",
                  "--health",
                  "/health",
                  "--keep-alive",
                  "--quiet",
                  "posix",
                  "/media"));
    } else {
      program =
          server.start(
              Map.of(
                  "MINIO_ROOT_USER", "testkey",
                  "MINIO_ROOT_PASSWORD", "testsecret",
                  "MINIO_BROWSER", "off",
                  "MINIO_UPDATE", "off"),
              List.of(),
              List.of(Tools.minio().toString(), "server", "--address", "0.0.0.0:7070", "/media"));
    }
    if (kind == Kind.FAULTY) {
      startProxy();
    }
    String health = kind == Kind.MINIO ? "/minio/health/ready" : "/health";
    server.run(
        "curl",
        "-sSf",
        "-o",
        "/dev/null",
        "--retry",
        "100",
        "--retry-delay",
        "0",
        "--retry-max-time",
        "60",
        "--retry-connrefused",
        "--retry-all-errors",
        endpoint() + health);
    if (!program.running()) {
      throw new AssertionError("the server has ended\n" + program);
    }
    if (kind != Kind.MINIO && Files.exists(data.resolve(BUCKET))) {
      return;
    }
    server.run(
        "curl",
        "-sSf",
        "-X",
        "PUT",
        "--user",
        "testkey:testsecret",
        "-H",
        "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "--aws-sigv4",
        "aws:amz:us-east-1:s3",
        endpoint() + "/" + BUCKET);
  }

  private void startProxy() throws IOException, InterruptedException {
    long seed = Long.getLong("lifeboat.seed", System.nanoTime());
    System.out.println("the proxy: -Dlifeboat.seed=" + seed);
    Program proxy =
        server.start(
            List.of(
                System.getProperty("java.home") + "/bin/java",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-XX:-UsePerfData",
                "-Xmx128m",
                "-cp",
                home(FaultProxy.class) + ":" + home(StoreCall.class),
                FaultProxy.class.getName(),
                "0.0.0.0:7070",
                "127.0.0.1:7071",
                "7099",
                Long.toString(seed)));
    proxy.awaitLine("^ready$");
  }

  private static String home(Class<?> type) {
    return type.getProtectionDomain().getCodeSource().getLocation().getPath();
  }

  /** Makes the proxy fail by these rules too, each a line as {@link FaultRule} has it. */
  void faults(String... rules) throws IOException, InterruptedException {
    server.run("curl", "-sSf", "--data-binary", String.join("\n", rules), CONTROL + "/rules");
  }

  /** Lets the proxy pass everything from now on. */
  void noFaults() throws IOException, InterruptedException {
    server.run("curl", "-sSf", "-X", "POST", CONTROL + "/clear");
  }

  /** Waits until that fault has happened to so many requests since the beginning. */
  void awaitFault(FaultRule.Fault fault, int n) throws IOException, InterruptedException {
    server.run("curl", "-sSf", CONTROL + "/hits?n=" + n + "&fault=" + fault);
  }

  /** Every request so far: operation, fault or -, and key. */
  List<String> requests() throws IOException, InterruptedException {
    return server.run("curl", "-sSf", CONTROL + "/journal").lines().toList();
  }

  /** A second account that may do all that the first may. */
  void addAccount(String id, String secret) throws IOException, InterruptedException {
    addAccount(id, secret, "admin");
  }

  /**
   * Adds an account.
   *
   * @param role admin, or user: that has no right to what others own
   */
  void addAccount(String id, String secret, String role) throws IOException, InterruptedException {
    server.run(
        Tools.versitygw().toString(),
        "admin",
        "--access",
        "testkey",
        "--secret",
        "testsecret",
        "--endpoint-url",
        kind == Kind.FAULTY ? "http://127.0.0.1:7071" : endpoint(),
        "create-user",
        "--access",
        id,
        "--secret",
        secret,
        "--role",
        role);
  }

  private static String endpoint() {
    return "http://" + ADDRESS + ":7070";
  }

  /** A new host that sees this store and nothing else. */
  Host host(String name, Path folder, Host.Kind machine) throws IOException, InterruptedException {
    if (kind == Kind.FILE) {
      Host host = new Host(name, folder, data, machine);
      if (first == null) {
        first = host;
        limit(host);
      }
      return host;
    }
    Host host = new Host(name, folder, null, machine);
    int cable = ++cables;
    String net = "10.77." + cable;
    Host.command(
        "ip",
        "link",
        "add",
        "up0",
        "netns",
        Long.toString(host.pid()),
        "type",
        "veth",
        "peer",
        "name",
        "down" + cable,
        "netns",
        Long.toString(server.pid()));
    server.run("ip", "address", "add", net + ".1/24", "dev", "down" + cable);
    server.run("ip", "link", "set", "down" + cable, "up");
    host.run("ip", "address", "add", net + ".2/24", "dev", "up0");
    host.run("ip", "link", "set", "up0", "up");
    host.run("ip", "route", "add", ADDRESS, "via", net + ".1");
    host.environment().putAll(KEYS);
    host.environment().put("AWS_REGION", "us-east-1");
    host.environment().put("AWS_ENDPOINT_URL", endpoint());
    host.environment().put("AWS_EC2_METADATA_DISABLED", "true");
    return host;
  }

  /** Stops the server without a word to its clients, or lets it go on. */
  void freeze(boolean on) throws IOException, InterruptedException {
    Host.command(
        "kill", on ? "-STOP" : "-CONT", Long.toString(server.find(Tools.versitygw().toString())));
  }

  /** A store URL; different names share nothing. */
  String url(String name) {
    return kind == Kind.FILE ? "file:///media/" + name : "s3://" + BUCKET + "/" + name;
  }

  private Path root(String name) {
    return kind == Kind.FILE ? data.resolve(name) : data.resolve(BUCKET).resolve(name);
  }

  /** The object as a file. */
  Path object(String name, String key) {
    if (kind == Kind.MINIO) {
      throw new UnsupportedOperationException("MinIO's objects are no plain files");
    }
    return root(name).resolve(key);
  }

  /** The keys of the objects below a prefix that ends with a slash, sorted. */
  List<String> keys(String name, String prefix) throws IOException {
    return files(object(name, prefix)).stream()
        .map(file -> root(name).relativize(file).toString())
        .sorted()
        .toList();
  }

  /** The files below a folder, while others come and go. */
  private static List<Path> files(Path below) throws IOException {
    while (Files.isDirectory(below)) {
      try (Stream<Path> all = Files.walk(below)) {
        return all.filter(Files::isRegularFile).toList();
      } catch (UncheckedIOException e) {
        if (!(e.getCause() instanceof NoSuchFileException)) {
          throw e.getCause();
        }
      } catch (NoSuchFileException e) {
        // the folder itself has just gone
      }
    }
    return List.of();
  }

  /** What the store has of uploads that were neither completed nor aborted. */
  List<Path> uploads(String name) throws IOException {
    Path below =
        kind == Kind.FILE
            ? root(name).resolve(".lifeboat-store/uploads")
            : data.resolve(BUCKET).resolve(".sgwtmp/multipart");
    // what versitygw was completing when it was killed it shows to nobody again
    return files(below).stream()
        .filter(file -> !file.getParent().toString().endsWith(".inprogress"))
        .toList();
  }

  /** Flips a byte in the middle of an object. */
  void damage(String name, String key) throws IOException {
    Path file = object(name, key);
    try (var channel =
        java.nio.channels.FileChannel.open(
            file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      java.nio.ByteBuffer one = java.nio.ByteBuffer.allocate(1);
      long middle = channel.size() / 2;
      channel.read(one, middle);
      one.put(0, (byte) (one.get(0) ^ 0x40)).rewind();
      channel.write(one, middle);
    }
  }

  @Override
  public void close() throws IOException {
    if (server != null) {
      server.close();
    }
  }
}
