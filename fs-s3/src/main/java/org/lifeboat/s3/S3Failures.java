package org.lifeboat.s3;

import java.io.IOException;
import java.net.URI;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreException.Kind;
import org.lifeboat.store.StoreUrl;
import software.amazon.awssdk.awscore.exception.AwsErrorDetails;
import software.amazon.awssdk.core.exception.ApiCallAttemptTimeoutException;
import software.amazon.awssdk.core.exception.ApiCallTimeoutException;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.crt.CRT;
import software.amazon.awssdk.crt.http.HttpException;
import software.amazon.awssdk.services.s3.model.S3Exception;

/**
 * What a failure of S3 means. Codes and statuses are those of the S3 API's list of error responses,
 * and of what MinIO, versitygw and S3Proxy answer instead.
 *
 * <p>A conditional write whose request may have reached the server and whose reply is not a
 * decision has an unknown outcome. Only errors that come before the first byte is sent (no address,
 * no connection, no TLS) and replies that say that nothing was done are known.
 */
final class S3Failures {

  private static final Pattern EXPECTED_REGION =
      Pattern.compile("expecting ['\"]([a-z0-9-]+)['\"]");
  private static final Pattern REGION = Pattern.compile("[a-z0-9-]{1,63}");
  private static final String CREATE_BUCKET = "create it, or correct the URL or the endpoint";
  private static final String NO_CREDENTIALS = "there are no credentials";
  private static final String GIVE_CREDENTIALS =
      "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the instance a role";

  private S3Failures() {}

  static Optional<S3Exception> reply(Throwable failure) {
    for (Throwable t = failure; t != null; t = t.getCause()) {
      if (t instanceof S3Exception s) {
        return Optional.of(s);
      }
    }
    return Optional.empty();
  }

  static String code(S3Exception e) {
    AwsErrorDetails details = e.awsErrorDetails();
    return details == null || details.errorCode() == null ? "" : details.errorCode();
  }

  private static String codeOf(StoreException e) {
    return reply(e).map(S3Failures::code).orElse("");
  }

  /** Whether the server refused the request for its time. */
  static boolean isSkew(StoreException e) {
    return codeOf(e).equals("RequestTimeTooSkewed");
  }

  static boolean isExpired(StoreException e) {
    return switch (codeOf(e)) {
      case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired" -> true;
      default -> false;
    };
  }

  /** Whether the server refused the request for who signed it, so that another one may succeed. */
  static boolean isOfCredentials(StoreException e) {
    return switch (codeOf(e)) {
      case "InvalidToken", "InvalidAccessKeyId", "XAdminUserNotFound", "SignatureDoesNotMatch" ->
          true;
      default -> isExpired(e) || isWordless(e);
    };
  }

  /**
   * Whether the server refused the request for who sent it, be it for a key that it does not know
   * or for a right that this one does not have.
   */
  static boolean isRefusal(StoreException e) {
    return switch (codeOf(e)) {
      case "RequestTimeTooSkewed", "InvalidObjectState" -> false;
      default -> e.kind() == Kind.DENIED || isWordless(e);
    };
  }

  /** Whether nothing was learnt of the object, as the server takes signed requests only. */
  static boolean isRefusalOfUnsigned(StoreException e) {
    return isRefusal(e) || reply(e).filter(reply -> reply.statusCode() == 400).isPresent();
  }

  /** Whether the server says that the bucket is in another region, which it may name or not. */
  static boolean isElsewhere(StoreException e) {
    return switch (codeOf(e)) {
      case "AuthorizationHeaderMalformed",
          "PermanentRedirect",
          "TemporaryRedirect",
          "IllegalLocationConstraintException" ->
          true;
      default ->
          reply(e)
              .filter(
                  reply ->
                      switch (reply.statusCode()) {
                        case 301, 307, 308 -> true;
                        case 400 -> region(reply).isPresent(); // as a HEAD is answered
                        default -> false;
                      })
              .isPresent();
    };
  }

  /** The region that the reply names as the bucket's, whatever else it says. */
  static Optional<String> region(StoreException e) {
    return reply(e).flatMap(S3Failures::region);
  }

  private static Optional<String> region(S3Exception e) {
    AwsErrorDetails details = e.awsErrorDetails();
    Optional<String> region = Optional.empty();
    if (details != null && details.sdkHttpResponse() != null) {
      region = details.sdkHttpResponse().firstMatchingHeader("x-amz-bucket-region");
    }
    if (region.isEmpty() && code(e).equals("AuthorizationHeaderMalformed")) {
      Matcher matcher = EXPECTED_REGION.matcher(words(e));
      region = matcher.find() ? Optional.of(matcher.group(1)) : region;
    }
    return region.filter(name -> REGION.matcher(name).matches());
  }

  /** That the bucket itself is not there. */
  static StoreException noBucket(StoreUrl store, String operation, Throwable cause) {
    return new StoreException(
        Kind.NO_STORE, operation, store.toString(), noBucket(store), CREATE_BUCKET, cause);
  }

  private static String noBucket(StoreUrl store) {
    return "there is no bucket " + store.bucket();
  }

  /** What a request fails with that there is nothing to sign with. */
  static StoreException noCredentials(
      StoreUrl store, String operation, String key, Throwable cause) {
    return new StoreException(
        Kind.DENIED, operation, store.of(key), NO_CREDENTIALS, GIVE_CREDENTIALS, cause);
  }

  /** Whether the server refused the request without a word why, as it does a HEAD. */
  static boolean isWordless(StoreException e) {
    return reply(e)
        .filter(reply -> code(reply).isEmpty())
        .filter(reply -> reply.statusCode() == 400 || reply.statusCode() == 403)
        .isPresent();
  }

  /**
   * @param conditional whether it was a write with a precondition
   */
  static StoreException translate(
      StoreUrl store,
      S3Settings settings,
      String operation,
      String key,
      boolean conditional,
      Throwable failure) {
    Verdict verdict =
        reply(failure)
            .map(e -> ofReply(store, settings, e, conditional))
            .orElseGet(() -> ofSilence(store, settings.endpoint(), failure, conditional));
    return new StoreException(
        verdict.kind,
        operation,
        verdict.kind == Kind.NO_STORE ? store.toString() : store.of(key),
        verdict.detail,
        verdict.remedy,
        failure);
  }

  private record Verdict(Kind kind, String detail, String remedy) {}

  private static Verdict ofReply(
      StoreUrl store, S3Settings settings, S3Exception e, boolean conditional) {
    int status = e.statusCode();
    String code = code(e);
    String words = words(e);
    switch (code) {
      case "NoSuchBucket":
        return new Verdict(Kind.NO_STORE, noBucket(store), CREATE_BUCKET);
      case "NoSuchUpload":
        return new Verdict(Kind.NOT_FOUND, "there is no such upload", "");
      case "InvalidAccessKeyId", "XAdminUserNotFound":
        return new Verdict(
            Kind.DENIED, "the server does not know the access key", "check AWS_ACCESS_KEY_ID");
      case "SignatureDoesNotMatch":
        return new Verdict(Kind.DENIED, "the secret key is wrong", "check AWS_SECRET_ACCESS_KEY");
      case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
        return new Verdict(Kind.DENIED, "the credentials have expired", "renew them");
      case "InvalidToken":
        return new Verdict(Kind.DENIED, "the session token is wrong", "check AWS_SESSION_TOKEN");
      case "RequestTimeTooSkewed":
        return new Verdict(Kind.DENIED, "this host's clock is wrong: " + words, "set the clock");
      case "InvalidObjectState":
        return new Verdict(
            Kind.DENIED, "the object is archived", "restore it from the archive first");
      case "AuthorizationHeaderMalformed",
      "PermanentRedirect",
      "TemporaryRedirect",
      "IllegalLocationConstraintException":
        return otherRegion(store, settings, e, words);
      case "BadDigest",
      "XAmzContentChecksumMismatch",
      "XAmzContentSHA256Mismatch",
      "IncompleteBody":
        return new Verdict(Kind.CORRUPT, "the body did not arrive as it was sent: " + words, "");
      case "RequestTimeout":
        return new Verdict(Kind.UNREACHABLE, "the body came too slowly: " + words, "");
      case "ObjectParentIsFile", "ExistingObjectIsDirectory", "ObjectExistsAsDirectory":
        return new Verdict(Kind.INVALID, words, "this server can't hold both a and a/b");
      case "QuotaExceeded",
      "XMinioStorageFull",
      "XMinioAdminBucketQuotaExceeded",
      "EntityTooLargeForQuota",
      "InsufficientStorage":
        return new Verdict(Kind.NO_SPACE, words, "free space, or raise the quota");
      case "SlowDown", "ServiceUnavailable", "TooManyRequests", "ThrottlingException":
        return new Verdict(Kind.THROTTLED, words, "");
      default:
        break;
    }
    if (code.startsWith("KMS.") || code.startsWith("kms:")) {
      return new Verdict(Kind.INVALID, words, "check FUSION_AWS_SSEKMS_KEY_ID");
    }
    return switch (status) {
      case 301, 307, 308 -> otherRegion(store, settings, e, words);
      case 401, 403 ->
          new Verdict(
              Kind.DENIED,
              "bucket " + store.bucket() + " refuses access: " + words,
              "allow s3:GetObject, s3:PutObject, s3:DeleteObject and, on the bucket, s3:ListBucket"
                  + " (without it S3 answers 403 for what is not there)"
                  + (words.contains("PutObjectTagging")
                      ? "; and s3:PutObjectTagging, or set fusion.tags = false"
                      : "")
                  + (settings.requesterPays()
                      ? ""
                      : "; if it lets its readers pay, set "
                          + S3Settings.REQUESTER_PAYS
                          + "=on to do so"));
      case 404 -> {
        boolean object = code.isEmpty() || code.equals("NoSuchKey");
        yield conditional && object
            ? new Verdict(Kind.PRECONDITION_FAILED, "the object is gone", "")
            : new Verdict(Kind.NOT_FOUND, object ? "there is no such object" : words, "");
      }
      case 409 -> new Verdict(Kind.CONFLICT, "a concurrent write was under way: " + words, "");
      case 400 ->
          new Verdict(
              Kind.INVALID,
              words,
              code.isEmpty()
                  ? "does the endpoint speak S3, and http:// or https:// as its URL says?"
                  : "");
      case 412 ->
          new Verdict(Kind.PRECONDITION_FAILED, "the object is there, or is another one", "");
      case 429 -> new Verdict(Kind.THROTTLED, words, "");
      case 501 -> new Verdict(Kind.INVALID, "the server cannot do it: " + words, "");
      case 507 -> new Verdict(Kind.NO_SPACE, words, "free space on the server");
      default -> {
        if (status >= 500) {
          yield conditional
              ? new Verdict(Kind.UNKNOWN_OUTCOME, words, "read the object back")
              : new Verdict(Kind.THROTTLED, words, "");
        }
        yield new Verdict(status >= 400 ? Kind.INVALID : Kind.OTHER, words, "");
      }
    };
  }

  /** Of a bucket that was not found by going where the server says that it is. */
  private static Verdict otherRegion(
      StoreUrl store, S3Settings settings, S3Exception e, String words) {
    Optional<String> region = region(e);
    return new Verdict(
        Kind.INVALID,
        "the bucket "
            + store.bucket()
            + " is in another region"
            + region.map(r -> ", " + r).orElse("")
            + " ("
            + words
            + ")",
        "set AWS_REGION"
            + region.map(r -> "=" + r).orElse(" to the bucket's region")
            + (settings.endpoint().isPresent() ? ", and the endpoint to that region's" : ""));
  }

  private static String words(S3Exception e) {
    AwsErrorDetails details = e.awsErrorDetails();
    String message = details == null ? null : details.errorMessage();
    String code = code(e);
    return "HTTP "
        + e.statusCode()
        + (code.isEmpty() ? "" : " " + code)
        + (message == null || message.isEmpty() ? "" : ": " + message)
        + (e.requestId() == null ? "" : " [request " + e.requestId() + "]");
  }

  private static Verdict ofSilence(
      StoreUrl store, Optional<URI> endpoint, Throwable failure, boolean conditional) {
    String message = "";
    boolean inputOutput = false;
    for (Throwable t = failure; t != null; t = t.getCause()) {
      if (t instanceof TruncatedBodyException) {
        // the connection's fault: of an object that is too short the whole body comes
        return new Verdict(Kind.UNREACHABLE, t.getMessage(), "");
      }
      if (t instanceof ApiCallTimeoutException || t instanceof ApiCallAttemptTimeoutException) {
        return conditional
            ? new Verdict(Kind.UNKNOWN_OUTCOME, "no answer in time", "read the object back")
            : new Verdict(Kind.UNREACHABLE, "no answer in time", "is the network up?");
      }
      if (t instanceof HttpException http) {
        return ofConnection(store, endpoint, http, conditional);
      }
      inputOutput |= t instanceof IOException;
      message = t.getMessage() == null ? t.toString() : t.getMessage();
    }
    String outer = String.valueOf(failure.getMessage());
    if (outer.contains("Unable to load credentials")) {
      return new Verdict(Kind.DENIED, NO_CREDENTIALS, GIVE_CREDENTIALS);
    }
    if (outer.toLowerCase(Locale.ROOT).contains("region")
        && failure instanceof SdkClientException) {
      return new Verdict(Kind.INVALID, "no region is known: " + message, "set AWS_REGION");
    }
    if (inputOutput) {
      return conditional
          ? new Verdict(Kind.UNKNOWN_OUTCOME, message, "read the object back")
          : new Verdict(Kind.UNREACHABLE, message, "");
    }
    return new Verdict(Kind.OTHER, message, "");
  }

  private static Verdict ofConnection(
      StoreUrl store, Optional<URI> endpoint, HttpException e, boolean conditional) {
    String name = CRT.awsErrorName(e.getErrorCode());
    String server =
        endpoint
            .map(uri -> "the server " + StoreUrl.withoutSecrets(uri.toString()))
            .orElse("the server of bucket " + store.bucket());
    boolean tls = endpoint.map(uri -> "https".equalsIgnoreCase(uri.getScheme())).orElse(true);
    if (name.contains("DNS")) {
      return new Verdict(
          Kind.UNREACHABLE,
          "the host name of " + server + " has no address",
          "check the endpoint (AWS_ENDPOINT_URL_S3), the bucket's name, and this host's DNS");
    }
    if (name.contains("TLS") || name.contains("CERTIFICATE")) {
      return new Verdict(
          Kind.UNREACHABLE,
          "no TLS connection to " + server + ": " + e.getMessage(),
          "does the endpoint speak https, and are its authority's certificates in /etc/ssl/certs"
              + " (ca-certificates)?");
    }
    if (name.contains("THROUGHPUT")) {
      String stall = server + " was silent for " + S3Clients.STALL.toSeconds() + " s";
      return conditional
          ? new Verdict(Kind.UNKNOWN_OUTCOME, stall, "read the object back")
          : new Verdict(Kind.UNREACHABLE, stall, "is the network up?");
    }
    switch (name) {
      case "AWS_IO_SOCKET_CONNECTION_REFUSED",
      "AWS_IO_SOCKET_NO_ROUTE_TO_HOST",
      "AWS_IO_SOCKET_NETWORK_DOWN",
      "AWS_IO_SOCKET_CONNECT_ABORTED",
      "AWS_IO_SOCKET_INVALID_ADDRESS":
        return new Verdict(
            Kind.UNREACHABLE,
            server + " cannot be reached: " + e.getMessage(),
            "is it up, and is the endpoint right?");
      case "AWS_ERROR_HTTP_CONNECTION_MANAGER_ACQUISITION_TIMEOUT",
      "AWS_ERROR_HTTP_CONNECTION_MANAGER_MAX_PENDING_ACQUISITIONS_EXCEEDED":
        return new Verdict(Kind.THROTTLED, "no connection became free in time", "");
      default:
        return conditional
            ? new Verdict(Kind.UNKNOWN_OUTCOME, e.getMessage(), "read the object back")
            : new Verdict(
                Kind.UNREACHABLE,
                "the connection to " + server + " broke: " + e.getMessage(),
                tls && endpoint.isPresent() && name.equals("AWS_IO_SOCKET_CLOSED")
                    ? "does it speak https? if not, name it with http://"
                    : "");
    }
  }
}
