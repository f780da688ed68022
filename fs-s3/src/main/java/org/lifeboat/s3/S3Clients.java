package org.lifeboat.s3;

import java.time.Duration;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.checksums.RequestChecksumCalculation;
import software.amazon.awssdk.core.checksums.ResponseChecksumValidation;
import software.amazon.awssdk.core.client.config.SdkAdvancedAsyncClientOption;
import software.amazon.awssdk.http.async.SdkAsyncHttpClient;
import software.amazon.awssdk.http.crt.AwsCrtAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.retries.api.RetryStrategy;
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
 */
final class S3Clients implements AutoCloseable {

  private static final int CONNECTIONS = 128;
  private static final int MAX_EVENT_LOOPS = 8;

  /** How long no byte may move while a request is under way. */
  static final Duration STALL = Duration.ofSeconds(15);

  private final S3Settings settings;
  private final Duration stall;
  private Connected connected = null;
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
    LONG_ONCE
  }

  private record Connected(
      RenewableCredentials credentials,
      List<SdkAsyncHttpClient> http,
      ScheduledExecutorService timer,
      Map<Kind, S3AsyncClient> clients) {}

  S3AsyncClient of(Kind kind) {
    return connected().clients.get(kind);
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
      Region region = settings.region();
      SdkAsyncHttpClient quick =
          http()
              .connectionHealthConfiguration(
                  health -> health.minimumThroughputInBps(1L).minimumThroughputTimeout(stall))
              .build();
      SdkAsyncHttpClient slow = http().build();
      ScheduledExecutorService timer =
          Executors.newSingleThreadScheduledExecutor(
              Thread.ofPlatform().daemon().name("s3-timer").factory());
      Map<Kind, S3AsyncClient> clients = new EnumMap<>(Kind.class);
      for (Kind kind : Kind.values()) {
        clients.put(
            kind,
            client(
                kind == Kind.LONG || kind == Kind.LONG_ONCE ? slow : quick,
                timer,
                credentials,
                region,
                kind == Kind.ONCE || kind == Kind.LONG_ONCE
                    ? AwsRetryStrategy.doNotRetry()
                    : AwsRetryStrategy.standardRetryStrategy()));
      }
      connected = new Connected(credentials, List.of(quick, slow), timer, clients);
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

  private S3AsyncClient client(
      SdkAsyncHttpClient http,
      ScheduledExecutorService timer,
      AwsCredentialsProvider credentials,
      Region region,
      RetryStrategy retries) {
    var builder =
        S3AsyncClient.builder()
            .httpClient(http)
            .credentialsProvider(credentials)
            .region(region)
            .requestChecksumCalculation(RequestChecksumCalculation.WHEN_REQUIRED)
            .responseChecksumValidation(ResponseChecksumValidation.WHEN_REQUIRED)
            .forcePathStyle(settings.pathStyle())
            .asyncConfiguration(
                async ->
                    async.advancedOption(
                        SdkAdvancedAsyncClientOption.FUTURE_COMPLETION_EXECUTOR, Runnable::run))
            .overrideConfiguration(
                all -> all.retryStrategy(retries).scheduledExecutorService(timer));
    settings.endpoint().ifPresent(builder::endpointOverride);
    return builder.build();
  }

  @Override
  public synchronized void close() {
    closed = true;
    if (connected != null) {
      connected.clients.values().forEach(S3AsyncClient::close);
      connected.http.forEach(SdkAsyncHttpClient::close);
      connected.credentials.close();
      connected.timer.shutdownNow();
      connected = null;
    }
  }
}
