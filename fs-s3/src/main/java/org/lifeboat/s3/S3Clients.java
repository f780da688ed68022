package org.lifeboat.s3;

import java.time.Duration;
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
 * The SDK's clients, made when they are first needed: one that retries, and one that never does, on
 * the same connections.
 *
 * <p>The HTTP client is the CRT's: of those that the SDK has it costs the least CPU per byte and
 * needs the fewest threads. Its Java-side work is done on its own event loops, which our callers,
 * virtual threads, only wait for. The SDK's own multipart client and the CRT's S3 client were
 * rejected: they decide what is a part, when it is sent again, and how much native memory that
 * takes.
 */
final class S3Clients implements AutoCloseable {

  private static final int CONNECTIONS = 128;
  private static final int MAX_EVENT_LOOPS = 8;

  private final S3Settings settings;
  private Connected connected = null;
  private boolean closed = false;

  S3Clients(S3Settings settings) {
    this.settings = settings;
  }

  private record Connected(
      SdkAsyncHttpClient http,
      ScheduledExecutorService timer,
      S3AsyncClient retrying,
      S3AsyncClient once) {}

  /** Tries up to three times what fails for a passing reason. */
  S3AsyncClient retrying() {
    return connected().retrying;
  }

  /** Sends every request once. */
  S3AsyncClient once() {
    return connected().once;
  }

  private synchronized Connected connected() {
    if (closed) {
      throw new IllegalStateException("the store is closed");
    }
    if (connected == null) {
      AwsCredentialsProvider credentials = settings.credentials();
      Region region = settings.region();
      SdkAsyncHttpClient http =
          AwsCrtAsyncHttpClient.builder()
              .maxConcurrency(CONNECTIONS)
              .numEventLoopThreads(
                  Math.min(MAX_EVENT_LOOPS, Runtime.getRuntime().availableProcessors()))
              .connectionTimeout(Duration.ofSeconds(5))
              .connectionAcquisitionTimeout(Duration.ofMinutes(2))
              .connectionMaxIdleTime(Duration.ofSeconds(10))
              .build();
      ScheduledExecutorService timer =
          Executors.newSingleThreadScheduledExecutor(
              Thread.ofPlatform().daemon().name("s3-timer").factory());
      connected =
          new Connected(
              http,
              timer,
              client(http, timer, credentials, region, AwsRetryStrategy.standardRetryStrategy()),
              client(http, timer, credentials, region, AwsRetryStrategy.doNotRetry()));
    }
    return connected;
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
      connected.retrying.close();
      connected.once.close();
      connected.http.close();
      connected.timer.shutdownNow();
      connected = null;
    }
  }
}
