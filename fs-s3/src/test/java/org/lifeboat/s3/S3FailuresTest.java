package org.lifeboat.s3;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreException.Kind;
import org.lifeboat.store.StoreProvider;
import org.lifeboat.store.StoreUrl;
import software.amazon.awssdk.awscore.exception.AwsErrorDetails;
import software.amazon.awssdk.core.exception.ApiCallTimeoutException;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.http.SdkHttpResponse;
import software.amazon.awssdk.services.s3.model.S3Exception;

/** What replies mean that no server at hand gives. */
final class S3FailuresTest {

  private static final StoreUrl URL = StoreUrl.parse("s3://bucket/prefix");
  private static final S3Settings SETTINGS = settings();

  private static S3Settings settings() {
    try {
      return S3Settings.of(URL, Map.of());
    } catch (StoreException e) {
      throw new AssertionError(e);
    }
  }

  private static StoreException translate(Throwable failure, boolean conditional) {
    return S3Failures.translate(URL, SETTINGS, "put", "a", conditional, failure);
  }

  private static Throwable reply(int status, String code, String message) {
    return S3Exception.builder()
        .statusCode(status)
        .awsErrorDetails(
            AwsErrorDetails.builder()
                .errorCode(code)
                .errorMessage(message)
                .sdkHttpResponse(
                    SdkHttpResponse.builder()
                        .statusCode(status)
                        .putHeader("x-amz-bucket-region", "eu-west-1")
                        .build())
                .build())
        .build();
  }

  @ParameterizedTest
  @CsvSource({
    "404, NoSuchBucket, NO_STORE, NO_STORE",
    "404, NoSuchKey, NOT_FOUND, PRECONDITION_FAILED",
    "404, NoSuchUpload, NOT_FOUND, NOT_FOUND",
    "412, PreconditionFailed, PRECONDITION_FAILED, PRECONDITION_FAILED",
    "409, ConditionalRequestConflict, CONFLICT, CONFLICT",
    "409, OperationAborted, CONFLICT, CONFLICT",
    "403, AccessDenied, DENIED, DENIED",
    "403, SignatureDoesNotMatch, DENIED, DENIED",
    "403, RequestTimeTooSkewed, DENIED, DENIED",
    "400, ExpiredToken, DENIED, DENIED",
    "400, InvalidPart, INVALID, INVALID",
    "400, EntityTooSmall, INVALID, INVALID",
    "400, BadDigest, CORRUPT, CORRUPT",
    "400, RequestTimeout, UNREACHABLE, UNREACHABLE",
    "301, PermanentRedirect, INVALID, INVALID",
    "400, AuthorizationHeaderMalformed, INVALID, INVALID",
    "503, SlowDown, THROTTLED, THROTTLED",
    "503, '', THROTTLED, UNKNOWN_OUTCOME",
    "429, '', THROTTLED, THROTTLED",
    "500, InternalError, THROTTLED, UNKNOWN_OUTCOME",
    "502, '', THROTTLED, UNKNOWN_OUTCOME",
    "504, '', THROTTLED, UNKNOWN_OUTCOME",
    "507, '', NO_SPACE, NO_SPACE",
    "507, XMinioStorageFull, NO_SPACE, NO_SPACE",
    "501, NotImplemented, INVALID, INVALID",
    "400, KMS.NotFoundException, INVALID, INVALID",
  })
  void replies(int status, String code, Kind plain, Kind conditional) {
    assertEquals(plain, translate(reply(status, code, "words"), false).kind());
    assertEquals(conditional, translate(reply(status, code, "words"), true).kind());
  }

  @Test
  void another_region_is_named() {
    StoreException redirect = translate(reply(301, "PermanentRedirect", "elsewhere"), false);
    assertEquals("set AWS_REGION=eu-west-1", redirect.remedy());
    assertTrue(redirect.getMessage().contains("bucket is in another region, eu-west-1"));
    Throwable malformed =
        S3Exception.builder()
            .statusCode(400)
            .awsErrorDetails(
                AwsErrorDetails.builder()
                    .errorCode("AuthorizationHeaderMalformed")
                    .errorMessage("the region 'us-east-1' is wrong; expecting 'eu-north-1'")
                    .build())
            .build();
    assertEquals("set AWS_REGION=eu-north-1", translate(malformed, true).remedy());
    Throwable doubleQuotes =
        S3Exception.builder()
            .statusCode(400)
            .awsErrorDetails(
                AwsErrorDetails.builder()
                    .errorCode("AuthorizationHeaderMalformed")
                    .errorMessage("the region \"x\" is wrong; expecting \"us-east-1\"")
                    .build())
            .build();
    assertEquals("set AWS_REGION=us-east-1", translate(doubleQuotes, true).remedy());
  }

  @Test
  void silence() {
    Throwable broken = SdkClientException.create("x", new IOException("broken pipe"));
    assertEquals(Kind.UNREACHABLE, translate(broken, false).kind());
    assertEquals(Kind.UNKNOWN_OUTCOME, translate(broken, true).kind());
    Throwable late = ApiCallTimeoutException.create(5);
    assertEquals(Kind.UNREACHABLE, translate(late, false).kind());
    assertEquals(Kind.UNKNOWN_OUTCOME, translate(late, true).kind());
    Throwable cut = SdkClientException.create("x", new TruncatedBodyException(10, 4));
    StoreException shortBody = translate(cut, false);
    assertEquals(Kind.UNREACHABLE, shortBody.kind());
    assertEquals(
        "put s3://bucket/prefix/a: the body ended after 4 of 10 bytes", shortBody.getMessage());
    Throwable unready = SdkClientException.create("Unable to load credentials from any of");
    assertEquals(Kind.DENIED, translate(unready, true).kind());
  }

  @ParameterizedTest
  @CsvSource({
    "AWS_ENDPOINT_URL_S3, ftp://host",
    "AWS_ENDPOINT_URL, http://",
    "AWS_S3_ENDPOINT, http://a b",
    "FUSION_TAGS, nonsense",
    "LIFEBOAT_REQUESTER_PAYS, maybe",
  })
  void settings_that_make_no_sense_are_named(String name, String value) {
    StoreException e =
        assertThrows(StoreException.class, () -> StoreProvider.openUrl(URL, Map.of(name, value)));
    assertEquals(Kind.INVALID, e.kind());
    assertTrue(e.getMessage().startsWith("open s3://bucket/prefix: " + name), e.getMessage());
  }

  private static StoreException put(Map<String, String> environment) throws Exception {
    try (var store = StoreProvider.openUrl(URL, environment)) {
      return assertThrows(
          StoreException.class,
          () ->
              store.put(
                  "a",
                  ByteBuffer.wrap("x".getBytes(UTF_8)),
                  org.lifeboat.store.Precondition.ABSENT));
    }
  }

  @Test
  void no_server_no_address_and_no_tls_are_told_apart_and_nothing_was_sent() throws Exception {
    Map<String, String> environment =
        new HashMap<>(Map.of("AWS_ACCESS_KEY_ID", "key", "AWS_SECRET_ACCESS_KEY", "secret"));
    environment.put("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    StoreException refused = put(environment);
    assertEquals(Kind.UNREACHABLE, refused.kind());
    assertTrue(refused.getMessage().contains("cannot be reached"), refused.getMessage());
    environment.put("AWS_ENDPOINT_URL", "http://no-such-host.invalid");
    StoreException nameless = put(environment);
    assertEquals(Kind.UNREACHABLE, nameless.kind());
    assertTrue(nameless.getMessage().contains("has no address"), nameless.getMessage());
  }
}
