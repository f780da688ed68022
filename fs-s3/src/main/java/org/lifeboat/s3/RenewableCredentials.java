package org.lifeboat.s3;

import java.util.Objects;
import java.util.Optional;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.utils.SdkAutoCloseable;

/**
 * Credentials that are asked for anew when the store refuses them.
 *
 * <p>The SDK's providers renew what they have by the time at which it is to expire. A store may
 * refuse it earlier: a session that was revoked, keys that were rotated, a clock that is wrong. So
 * who is refused calls {@link #renew}, which forgets what the provider remembers, and tries again
 * if there are others now: a refused request has done nothing.
 *
 * <p>While a source does not answer (a file that is just being rewritten, a role's endpoint that is
 * away) the last credentials that were not refused are used on. Thread-safe.
 */
final class RenewableCredentials implements AwsCredentialsProvider, AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(RenewableCredentials.class);

  private final Supplier<AwsCredentialsProvider> source;
  private AwsCredentialsProvider provider;
  private AwsCredentials last;

  /**
   * @param source makes a provider that remembers nothing
   */
  RenewableCredentials(Supplier<AwsCredentialsProvider> source) {
    this.source = source;
    this.provider = source.get();
  }

  @Override
  public AwsCredentials resolveCredentials() {
    AwsCredentialsProvider asked;
    AwsCredentials before;
    synchronized (this) {
      asked = provider;
      before = last;
    }
    try {
      AwsCredentials found = asked.resolveCredentials();
      synchronized (this) {
        last = found;
      }
      return found;
    } catch (RuntimeException e) {
      if (before == null) {
        throw e;
      }
      log.debug("the credentials' source does not answer, the last ones are used on", e);
      return before;
    }
  }

  /** What a request would be signed with now, or empty when there are none. */
  Optional<AwsCredentials> current() {
    try {
      return Optional.of(resolveCredentials());
    } catch (RuntimeException e) {
      log.debug("there are no credentials", e);
      return Optional.empty();
    }
  }

  /** Returns whether there are other credentials than those that were refused. */
  boolean renew(AwsCredentials refused) {
    Optional<AwsCredentials> now = current();
    if (now.isPresent() && !same(now.get(), refused)) {
      return true; // another request was quicker
    }
    synchronized (this) {
      if (last != null && same(last, refused)) {
        last = null;
        close();
        provider = source.get();
      }
    }
    now = current();
    return now.isPresent() && !same(now.get(), refused);
  }

  private static boolean same(AwsCredentials one, AwsCredentials other) {
    return one.accessKeyId().equals(other.accessKeyId())
        && one.secretAccessKey().equals(other.secretAccessKey())
        && Objects.equals(token(one), token(other));
  }

  private static String token(AwsCredentials credentials) {
    return credentials instanceof AwsSessionCredentials session ? session.sessionToken() : "";
  }

  @Override
  public synchronized void close() {
    if (provider instanceof SdkAutoCloseable closeable) {
      closeable.close();
    }
  }
}
