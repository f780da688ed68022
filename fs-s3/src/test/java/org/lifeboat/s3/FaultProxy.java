package org.lifeboat.s3;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.URLDecoder;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.lifeboat.s3.FaultRule.Fault;
import org.lifeboat.store.StoreCall.Operation;

/**
 * An HTTP/1.1 proxy in front of a real S3 server, which fails by rules as stores and networks do:
 * see {@link FaultRule}. So what is shown to withstand faults is the whole client, with its real
 * connections, time-outs, parsers and retries, against a server whose state is real.
 *
 * <p>The first rule that a request matches decides; without one the request passes. It is
 * transparent to signatures: nothing that is signed is changed. Each request gets a connection to
 * the server of its own, so a fault touches no other request.
 *
 * <p>Run as a program (for a network namespace where the tests are not) it is told its rules over a
 * second port: {@code POST /rules} adds the body's lines, {@code POST /clear} drops all rules and
 * lets stalled requests go, {@code GET /hits?n=K&fault=F} answers when K requests were hit, {@code
 * GET /journal} tells all requests so far.
 */
public final class FaultProxy implements AutoCloseable {

  private static final DateTimeFormatter AMZ_DATE =
      DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'", Locale.ROOT).withZone(ZoneOffset.UTC);
  private static final Duration TOLERANCE = Duration.ofMinutes(1);
  private static final int STEP = 64 << 10;

  private final ServerSocket listener;
  private final InetSocketAddress server;
  private final Random random;
  private final List<Active> rules = new ArrayList<>();
  private final List<Passed> journal = new ArrayList<>();
  private final Set<Socket> open = ConcurrentHashMap.newKeySet();

  /** A rule and what it has done. */
  private static final class Active {
    private final FaultRule rule;
    private final CountDownLatch released = new CountDownLatch(1);
    private int seen;
    private int hits;

    Active(FaultRule rule) {
      this.rule = rule;
    }
  }

  /**
   * A request that came.
   *
   * @param fault empty when it passed
   */
  public record Passed(Operation operation, String key, Optional<Fault> fault) {}

  /**
   * Listens on an address.
   *
   * @param seed of the rules' shares
   */
  public FaultProxy(InetSocketAddress address, InetSocketAddress server, long seed)
      throws IOException {
    this.listener = new ServerSocket(address.getPort(), 512, address.getAddress());
    this.server = server;
    this.random = new Random(seed);
    Thread.ofPlatform().daemon().name("fault-proxy").start(this::accept);
  }

  /** In front of a server of this process, on a free port of 127.0.0.1. */
  public static FaultProxy before(S3Server server, long seed) throws IOException {
    InetAddress loopback = server.address().getAddress();
    return new FaultProxy(new InetSocketAddress(loopback, 0), server.address(), seed);
  }

  public URI endpoint() {
    return URI.create(
        "http://" + listener.getInetAddress().getHostAddress() + ":" + listener.getLocalPort());
  }

  /** Adds rules, each a line as {@link FaultRule#parse} takes it. */
  public FaultProxy rules(String... lines) {
    synchronized (rules) {
      for (String line : lines) {
        rules.add(new Active(FaultRule.parse(line)));
      }
    }
    return this;
  }

  /** Drops all rules; what is stalled goes on or breaks. */
  public void clear() {
    synchronized (rules) {
      rules.forEach(active -> active.released.countDown());
      rules.clear();
    }
  }

  /** Every request so far. */
  public List<Passed> journal() {
    synchronized (journal) {
      return List.copyOf(journal);
    }
  }

  /** How many requests that fault happened to. */
  public long hits(Fault fault) {
    return journal().stream().filter(passed -> passed.fault.equals(Optional.of(fault))).count();
  }

  /** Waits until that fault has happened to so many requests. */
  public void awaitHits(Fault fault, int n) throws InterruptedException {
    synchronized (journal) {
      while (hits(fault) < n) {
        journal.wait();
      }
    }
  }

  @Override
  public void close() throws IOException {
    clear();
    listener.close();
    for (Socket socket : open) {
      socket.close();
    }
  }

  // ---------------------------------------------------------------- requests

  private void accept() {
    while (!listener.isClosed()) {
      try {
        Socket client = listener.accept();
        open.add(client);
        Thread.ofVirtual().name("fault-proxy-connection").start(() -> serve(client));
      } catch (IOException e) {
        return; // closed
      }
    }
  }

  private void serve(Socket client) {
    try (client) {
      client.setTcpNoDelay(true);
      InputStream in = new BufferedInputStream(client.getInputStream(), STEP);
      boolean goOn = true;
      while (goOn) {
        Optional<HttpHead> head = HttpHead.read(in);
        goOn = head.isPresent() && new Request(client, in, head.get()).run();
      }
    } catch (IOException e) {
      // either side has gone, or the fault is just that; the journal has what happened
    } finally {
      open.remove(client);
    }
  }

  private Optional<Active> decide(Operation operation, String key, HttpHead head) {
    String credential =
        head.header("Authorization").orElse("")
            + " "
            + head.header("x-amz-security-token").orElse("");
    Optional<Active> decided = Optional.empty();
    synchronized (rules) {
      for (Active active : rules) {
        FaultRule rule = active.rule;
        boolean matches =
            (rule.operations().isEmpty() || rule.operations().contains(operation))
                && rule.key().matcher(key).find()
                && rule.credential().matcher(credential).find()
                && (rule.fault() != Fault.SKEWED || skewed(head, rule));
        if (matches
            && ++active.seen >= rule.nth()
            && active.hits < rule.times()
            && (rule.share() >= 1 || random.nextDouble() < rule.share())) {
          active.hits++;
          decided = Optional.of(active);
          break;
        }
      }
    }
    synchronized (journal) {
      journal.add(new Passed(operation, key, decided.map(active -> active.rule.fault())));
      journal.notifyAll();
    }
    return decided;
  }

  private static boolean skewed(HttpHead head, FaultRule rule) {
    Optional<Instant> date =
        head.header("x-amz-date").map(text -> AMZ_DATE.parse(text, Instant::from));
    Instant now = Instant.now().plusMillis(rule.millis());
    return date.isPresent() && Duration.between(date.get(), now).abs().compareTo(TOLERANCE) > 0;
  }

  private static Operation operation(HttpHead head, String query) {
    boolean upload = query.contains("uploadId=");
    return switch (head.word(0)) {
      case "HEAD" -> Operation.HEAD;
      case "GET" ->
          upload
              ? Operation.PARTS
              : query.matches("(.*&)?uploads(=?|=?&.*)")
                  ? Operation.UPLOADS
                  : query.contains("list-type=")
                      ? query.contains("delimiter=") ? Operation.LIST_DIRECTORY : Operation.LIST
                      : Operation.GET;
      case "PUT" ->
          upload
              ? Operation.PART
              : head.header("x-amz-copy-source").isPresent() ? Operation.COPY : Operation.PUT;
      case "POST" -> upload ? Operation.COMPLETE : Operation.UPLOAD;
      case "DELETE" -> upload ? Operation.ABORT : Operation.DELETE;
      default -> throw new IllegalArgumentException(head.first());
    };
  }

  /** A request under way. */
  private final class Request {
    private final Socket client;
    private final InputStream in;
    private final HttpHead head;
    private final Operation operation;
    private final Optional<Active> active;

    Request(Socket client, InputStream in, HttpHead head) {
      this.client = client;
      this.in = in;
      this.head = head;
      String[] target = head.word(1).split("\\?", 2);
      String path = URLDecoder.decode(target[0].replace("+", "%2B"), UTF_8);
      int slash = path.indexOf('/', 1);
      this.operation = operation(head, target.length > 1 ? target[1] : "");
      String key = slash < 0 ? "" : path.substring(slash + 1);
      this.active = decide(operation, key, head);
    }

    /** Returns whether the connection can take another one. */
    boolean run() throws IOException {
      if (active.isEmpty()) {
        return pass();
      }
      FaultRule rule = active.get().rule;
      switch (rule.fault()) {
        case STATUS, ERROR_IN_BODY, SKEWED -> {
          body(OutputStream.nullOutputStream(), Long.MAX_VALUE, STEP);
          answer(rule);
          return true;
        }
        case APPLIED_STATUS -> {
          try (Socket upstream = connect()) {
            send(upstream, Long.MAX_VALUE, STEP);
            reply(upstream, OutputStream.nullOutputStream(), Long.MAX_VALUE, STEP);
          }
          answer(rule);
          return true;
        }
        case RESET -> reset();
        case REPLY_LOST -> {
          try (Socket upstream = connect()) {
            send(upstream, Long.MAX_VALUE, STEP);
            reply(upstream, OutputStream.nullOutputStream(), Long.MAX_VALUE, STEP);
          }
          reset();
        }
        case STALL_REQUEST -> {
          if (stall(rule)) {
            return pass();
          }
          reset();
        }
        case STALL_REPLY -> {
          try (Socket upstream = connect()) {
            send(upstream, Long.MAX_VALUE, STEP);
            HttpHead replyHead = head(upstream);
            if (stall(rule)) {
              return relay(upstream, replyHead, client.getOutputStream(), Long.MAX_VALUE, STEP);
            }
          }
          reset();
        }
        case STALL_BODY, CUT_BODY, CUT_HEAD -> {
          try (Socket upstream = connect()) {
            send(upstream, Long.MAX_VALUE, STEP);
            HttpHead replyHead = head(upstream);
            long half = replyHead.chunked() ? 100 : replyHead.length() / 2;
            boolean inHead =
                rule.fault() == Fault.CUT_HEAD || operation == Operation.HEAD || half <= 0;
            if (inHead) {
              byte[] bytes = replyHead.bytes();
              client.getOutputStream().write(bytes, 0, bytes.length / 2);
            } else {
              relay(upstream, replyHead, client.getOutputStream(), half, 1);
            }
            client.getOutputStream().flush();
            if (rule.fault() == Fault.STALL_BODY) {
              stall(rule);
            }
          }
          return false;
        }
        case CUT_UPLOAD -> {
          try (Socket upstream = connect()) {
            send(upstream, Math.max(0, head.length() / 2), STEP);
          }
          reset();
        }
        case SLOW -> {
          try (Socket upstream = connect()) {
            send(upstream, Long.MAX_VALUE, 1);
            return relay(upstream, head(upstream), client.getOutputStream(), Long.MAX_VALUE, 1);
          }
        }
      }
      return false;
    }

    private boolean pass() throws IOException {
      try (Socket upstream = connect()) {
        send(upstream, Long.MAX_VALUE, STEP);
        return relay(upstream, head(upstream), client.getOutputStream(), Long.MAX_VALUE, STEP);
      }
    }

    private Socket connect() throws IOException {
      Socket upstream = new Socket();
      try {
        upstream.connect(server);
        upstream.setTcpNoDelay(true);
        return upstream;
      } catch (IOException e) {
        upstream.close();
        reset();
        throw e;
      }
    }

    private void send(Socket upstream, long most, int step) throws IOException {
      OutputStream out = upstream.getOutputStream();
      out.write(head.with("Connection: close", "Connection", "Expect").bytes());
      body(out, most, step);
      out.flush();
    }

    /** Passes the request's body on. */
    private void body(OutputStream out, long most, int step) throws IOException {
      if (head.header("Expect").isPresent()) {
        client.getOutputStream().write("HTTP/1.1 100 Continue\r\n\r\n".getBytes(ISO_8859_1));
        client.getOutputStream().flush();
      }
      HttpHead.copy(in, out, head.chunked(), Math.max(0, head.length()), step, pace(most, out));
    }

    private static HttpHead head(Socket upstream) throws IOException {
      InputStream in = upstream.getInputStream();
      while (true) {
        HttpHead head =
            HttpHead.read(in).orElseThrow(() -> new IOException("the server does not answer"));
        if (!head.word(1).startsWith("1")) {
          return head;
        }
      }
    }

    private void reply(Socket upstream, OutputStream out, long most, int step) throws IOException {
      relay(upstream, head(upstream), out, most, step);
    }

    /** Passes a reply on; returns whether the client can tell its end without the connection's. */
    private boolean relay(Socket upstream, HttpHead reply, OutputStream out, long most, int step)
        throws IOException {
      String status = reply.word(1);
      boolean empty = operation == Operation.HEAD || status.equals("204") || status.equals("304");
      boolean framed = empty || reply.chunked() || reply.length() >= 0;
      out.write(
          reply.with("Connection: " + (framed ? "keep-alive" : "close"), "Connection").bytes());
      boolean whole =
          empty
              || HttpHead.copy(
                  new BufferedInputStream(upstream.getInputStream(), STEP),
                  out,
                  reply.chunked(),
                  reply.length(),
                  step,
                  pace(most, out));
      out.flush();
      return whole && framed;
    }

    /** Ends a body after so many bytes, and makes it slow where the rule says so. */
    private HttpHead.Pace pace(long most, OutputStream out) {
      boolean slow = active.isPresent() && active.get().rule.fault() == Fault.SLOW;
      return new HttpHead.Pace() {
        private long passed;
        private final long start = System.nanoTime();

        @Override
        public boolean pass(int bytes) throws IOException {
          passed += bytes;
          if (slow) {
            FaultRule rule = active.get().rule;
            long due = start + passed * 1_000_000_000L / rule.rate();
            long wait = due - System.nanoTime();
            if (wait > 1_000_000) {
              out.flush();
              await(active.get(), Duration.ofNanos(wait));
            }
          }
          return passed <= most;
        }
      };
    }

    private void answer(FaultRule rule) throws IOException {
      boolean skew = rule.fault() == Fault.SKEWED;
      int status = skew ? 403 : rule.fault() == Fault.ERROR_IN_BODY ? 200 : rule.status();
      String code = skew ? "RequestTimeTooSkewed" : rule.code();
      ZonedDateTime date =
          Instant.now().plusMillis(skew ? rule.millis() : 0).atZone(ZoneOffset.UTC);
      String body =
          "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>"
              + code
              + "</Code><Message>injected</Message><RequestId>fault</RequestId></Error>";
      String text =
          "HTTP/1.1 "
              + status
              + " injected\r\nDate: "
              + DateTimeFormatter.RFC_1123_DATE_TIME.format(date)
              + "\r\nContent-Type: application/xml\r\nContent-Length: "
              + body.length()
              + "\r\n"
              + (status == 503 ? "Retry-After: 1\r\n" : "")
              + "\r\n"
              + (operation == Operation.HEAD ? "" : body);
      client.getOutputStream().write(text.getBytes(ISO_8859_1));
      client.getOutputStream().flush();
    }

    /** Returns whether it is over, and the request may go on; otherwise its rule is gone. */
    private boolean stall(FaultRule rule) {
      if (rule.millis() == 0) {
        await(active.get(), Duration.ofDays(1));
        return false;
      }
      await(active.get(), Duration.ofMillis(rule.millis()));
      return true;
    }

    private static void await(Active active, Duration time) {
      try {
        active.released.await(time.toNanos(), TimeUnit.NANOSECONDS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }

    /** What a connection looks like that a router or a dying host has cut. */
    private void reset() throws IOException {
      client.setSoLinger(true, 0);
      client.close();
    }
  }

  // ---------------------------------------------------------------- as a program

  /** Arguments: ADDRESS:PORT to listen on, ADDRESS:PORT of the server, the control port, a seed. */
  public static void main(String[] arguments) throws IOException {
    FaultProxy proxy =
        new FaultProxy(address(arguments[0]), address(arguments[1]), Long.parseLong(arguments[3]));
    HttpServer control =
        HttpServer.create(
            new InetSocketAddress(InetAddress.getLoopbackAddress(), Integer.parseInt(arguments[2])),
            0);
    control.createContext("/", proxy::control);
    control.setExecutor(command -> Thread.ofVirtual().start(command));
    control.start();
    System.out.println("ready");
  }

  private static InetSocketAddress address(String text) {
    int colon = text.lastIndexOf(':');
    return new InetSocketAddress(
        text.substring(0, colon), Integer.parseInt(text.substring(colon + 1)));
  }

  private void control(HttpExchange exchange) throws IOException {
    try (exchange) {
      String said = "";
      int status = 200;
      try {
        String body = new String(exchange.getRequestBody().readAllBytes(), UTF_8);
        String query = String.valueOf(exchange.getRequestURI().getQuery());
        switch (exchange.getRequestURI().getPath()) {
          case "/rules" -> rules(body.lines().toArray(String[]::new));
          case "/clear" -> clear();
          case "/hits" -> {
            String[] words = query.split("[=&]", -1);
            awaitHits(Fault.valueOf(words[3]), Integer.parseInt(words[1]));
          }
          case "/journal" -> {
            StringBuilder all = new StringBuilder();
            for (Passed passed : journal()) {
              all.append(passed.operation)
                  .append(' ')
                  .append(passed.fault.map(Fault::name).orElse("-"))
                  .append(' ')
                  .append(passed.key)
                  .append('\n');
            }
            said = all.toString();
          }
          default -> throw new IllegalArgumentException(exchange.getRequestURI().toString());
        }
      } catch (IllegalArgumentException e) {
        status = 400;
        said = e + "\n";
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        status = 500;
      }
      byte[] bytes = said.getBytes(UTF_8);
      exchange.sendResponseHeaders(status, bytes.length == 0 ? -1 : bytes.length);
      exchange.getResponseBody().write(bytes);
    }
  }
}
