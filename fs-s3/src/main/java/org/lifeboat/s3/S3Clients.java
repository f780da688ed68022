package org.lifeboat.s3;

import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import software.amazon.awssdk.auth.credentials.AnonymousCredentialsProvider;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.checksums.RequestChecksumCalculation;
import software.amazon.awssdk.core.checksums.ResponseChecksumValidation;
import software.amazon.awssdk.core.client.config.SdkAdvancedAsyncClientOption;
import software.amazon.awssdk.http.async.SdkAsyncHttpClient;
import software.amazon.awssdk.http.crt.AwsCrtAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3AsyncClient;

/**
 * The SDK's clients, made when they are first needed: some that retry and some that never do, on
 * the same connections.
 *
 * <p>The HTTP client is the CRT's: of those that the SDK has it costs the least CPU per byte and
 * needs the fewest threads. Its Java-side work is done on its own event loops, which our callers,
 * virtual threads, only wait for. The SDK's own multipart client and the CRT's S3 client were
 * rejected: they decide what is a part, when it is sent again, and how much native memory that
 * takes.
 *
 * <p><b>Stalls.</b> A connection on which a request waits and no byte moves for {@link #STALL} is
 * closed, and the request is tried on another one; so a router that forgot a connection costs that
 * long and not a request's whole time. A server that makes an object of parts, or copies one, may
 * rightly be silent for longer: such requests have connections of their own, without that limit.
 *
 * <p><b>Regions.</b> A bucket answers in its own region only. So who learns that it is in another
 * one calls {@link #moveTo}, and from then on all requests go there, with the same credentials. The
 * SDK's own cross-region client was rejected: it takes the region from a header only, and MinIO and
 * versitygw name it in the words of their reply.
 */
final class S3Clients implements AutoCloseable {

  private static final int CONNECTIONS = 128;
  private static final int MAX_EVENT_LOOPS = 8;

  /** How long no byte may move while a request is under way. */
  static final Duration STALL = Duration.ofSeconds(15);

  private final S3Settings settings;
  private final Duration stall;
  private Connected connected = null;
  private Region moved = null;
  private boolean closed = false;

  S3Clients(S3Settings settings) {
    this(settings, STALL);
  }

  S3Clients(S3Settings settings, Duration stall) {
    this.settings = settings;
    this.stall = stall;
  }

  /** What a request is like. */
  enum Kind {
    /** It is tried up to three times when it fails for a passing reason. */
    REPEATABLE,
    /** It is sent once. */
    ONCE,
    /** Repeatable, and the server may take its time before it answers. */
    LONG,
    /** It is sent once, and the server may take its time before it answers. */
    LONG_ONCE,
    /** Repeatable, and not signed: what anybody may read. */
    ANONYMOUS;

    /** Whether it is never sent again. */
    boolean isOnce() {
      return this == ONCE || this == LONG_ONCE;
    }
  }

  private record Connected(
      RenewableCredentials credentials,
      SdkAsyncHttpClient quick,
      SdkAsyncHttpClient slow,
      ScheduledExecutorService timer,
      Region home,
      Map<Destination, S3AsyncClient> clients) {}

  private record Destination(Region region, Kind kind) {}

  synchronized S3AsyncClient of(Kind kind) {
    Connected there = connected();
    return there.clients.computeIfAbsent(
        new Destination(region(), kind), to -> client(there, to.region, to.kind));
  }

  /** Where requests go. */
  synchronized Region region() {
    return moved == null ? connected().home : moved;
  }

  /** Lets all further requests go to a region; returns false when they do so already. */
  synchronized boolean moveTo(Region region) {
    boolean same = region.equals(region());
    moved = region;
    return !same;
  }

  /** What all of them sign with. */
  RenewableCredentials credentials() {
    return connected().credentials;
  }

  private synchronized Connected connected() {
    if (closed) {
      throw new IllegalStateException("the store is closed");
    }
    if (connected == null) {
      RenewableCredentials credentials = new RenewableCredentials(settings::credentials);
      Region home = settings.region();
      SdkAsyncHttpClient quick =
          http()
              .connectionHealthConfiguration(
                  health -> health.minimumThroughputInBps(1L).minimumThroughputTimeout(stall))
              .build();
      SdkAsyncHttpClient slow = http().build();
      ScheduledExecutorService timer =
          Executors.newSingleThreadScheduledExecutor(
              Thread.ofPlatform().daemon().name("s3-timer").factory());
      connected = new Connected(credentials, quick, slow, timer, home, new HashMap<>());
    }
    return connected;
  }

  private static AwsCrtAsyncHttpClient.Builder http() {
    return AwsCrtAsyncHttpClient.builder()
        .maxConcurrency(CONNECTIONS)
        .numEventLoopThreads(Math.min(MAX_EVENT_LOOPS, Runtime.getRuntime().availableProcessors()))
        .connectionTimeout(Duration.ofSeconds(5))
        .connectionAcquisitionTimeout(Duration.ofMinutes(2))
        .connectionMaxIdleTime(Duration.ofSeconds(10));
  }

  private S3AsyncClient client(Connected there, Region region, Kind kind) {
    boolean slow = kind == Kind.LONG || kind == Kind.LONG_ONCE;
    boolean signed = kind != Kind.ANONYMOUS;
    var builder =
        S3AsyncClient.builder()
            .httpClient(slow ? there.slow : there.quick)
            .credentialsProvider(signed ? there.credentials : AnonymousCredentialsProvider.create())
            .region(region)
            .requestChecksumCalculation(RequestChecksumCalculation.WHEN_REQUIRED)
            .responseChecksumValidation(ResponseChecksumValidation.WHEN_REQUIRED)
            .forcePathStyle(settings.pathStyle())
            .asyncConfiguration(
                async ->
                    async.advancedOption(
                        SdkAdvancedAsyncClientOption.FUTURE_COMPLETION_EXECUTOR, Runnable::run))
            .overrideConfiguration(
                all -> {
                  all.retryStrategy(
                          kind.isOnce()
                              ? AwsRetryStrategy.doNotRetry()
                              : AwsRetryStrategy.standardRetryStrategy())
                      .scheduledExecutorService(there.timer);
                  if (signed && settings.requesterPays()) { // who is nobody pays for nothing
                    all.putHeader("x-amz-request-payer", "requester");
                  }
                  if (!signed) { // the signer names the host with its port, the HTTP client without
                    settings
                        .endpoint()
                        .filter(uri -> settings.pathStyle() && uri.getPort() >= 0)
                        .ifPresent(
                            uri -> all.putHeader("Host", uri.getHost() + ":" + uri.getPort()));
                  }
                });
    settings.endpoint().ifPresent(builder::endpointOverride);
    return builder.build();
  }

  @Override
  public synchronized void close() {
    closed = true;
    if (connected != null) {
      connected.clients.values().forEach(S3AsyncClient::close);
      connected.quick.close();
      connected.slow.close();
      connected.credentials.close();
      connected.timer.shutdownNow();
      connected = null;
    }
  }
}
