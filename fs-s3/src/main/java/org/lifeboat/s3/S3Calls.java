package org.lifeboat.s3;

import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreException.Kind;
import org.lifeboat.store.StoreUrl;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.model.HeadBucketResponse;

/**
 * How the requests to one bucket are made, of which a user need know no more than its name.
 *
 * <p>A server that refuses a request for its region, its credentials or its time has done nothing;
 * so it is sent again, be it conditional or not, when what it was refused for can be put right:
 *
 * <ul>
 *   <li><b>Region.</b> All requests go to the bucket's own region as soon as a reply tells it; one
 *       that tells only that it is another one is followed by the question which.
 *   <li><b>Credentials.</b> Those that are refused are taken anew from their source.
 *   <li><b>None at all.</b> A read that is refused all the same, or for which there are no
 *       credentials, is tried once without any: the bucket may be public. If that succeeds, reads
 *       begin so from then on, and what is refused then is signed, as a bucket may be public in
 *       part. That something is not there is believed only when anybody may list the bucket. That a
 *       read was refused both ways is not remembered: S3 refuses also what is not there, in a
 *       public bucket that may not be listed. Writes are always signed.
 *   <li><b>Time.</b> The SDK takes the server's from the refusal.
 * </ul>
 *
 * <p>Thread-safe.
 */
final class S3Calls implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(S3Calls.class);

  private static final int MAX_REFUSALS = 2;
  private static final int MAX_MOVES = 2;

  /** How reads begin. */
  private enum Reading {
    SIGNED,
    /** Without credentials, as those that there are were refused. */
    UNSIGNED,
    /** Without credentials, as there are none. */
    NAMELESS
  }

  private final StoreUrl url;
  private final S3Settings settings;
  private final S3Clients clients;
  private final AtomicBoolean bucketSeen = new AtomicBoolean();
  private final AtomicBoolean toldOfUnsigned = new AtomicBoolean();
  private volatile Reading reading = Reading.SIGNED;

  /**
   * @param clients are closed with this
   */
  S3Calls(StoreUrl url, S3Settings settings, S3Clients clients) {
    this.url = url;
    this.settings = settings;
    this.clients = clients;
  }

  /** A call of the SDK; may be made more than once. */
  interface Call<T> {
    CompletableFuture<T> on(S3AsyncClient client);
  }

  /** Whether a request has succeeded, so that the bucket is there. */
  boolean bucketSeen() {
    return bucketSeen.get();
  }

  /** Does it and waits; every failure comes out as a {@link StoreException}. */
  <T> T call(String operation, String key, Precondition precondition, Call<T> call)
      throws StoreException {
    boolean conditional = !(precondition instanceof Precondition.None);
    return signed(
        operation, key, conditional ? S3Clients.Kind.ONCE : S3Clients.Kind.REPEATABLE, call);
  }

  /** As above, for a request that makes the server move bytes before it answers. */
  <T> T longCall(String operation, String key, Precondition precondition, Call<T> call)
      throws StoreException {
    boolean conditional = !(precondition instanceof Precondition.None);
    return signed(
        operation, key, conditional ? S3Clients.Kind.LONG_ONCE : S3Clients.Kind.LONG, call);
  }

  /** As above, for a request that only reads. */
  <T> T read(String operation, String key, Call<T> call) throws StoreException {
    return switch (reading) {
      case SIGNED -> signedFirst(operation, key, call);
      case UNSIGNED -> unsignedFirst(operation, key, call);
      case NAMELESS -> nameless(operation, key, call);
    };
  }

  // ---------------------------------------------------------------- with or without credentials

  private <T> T signedFirst(String operation, String key, Call<T> call) throws StoreException {
    Optional<AwsCredentials> signer = signer(operation, key);
    StoreException refusal;
    if (signer.isEmpty()) {
      refusal = S3Failures.noCredentials(url, operation, key, null);
    } else {
      try {
        return signed(operation, key, S3Clients.Kind.REPEATABLE, signer, call);
      } catch (StoreException e) {
        if (!S3Failures.isRefusal(e)) {
          throw e;
        }
        refusal = e;
      }
    }
    try {
      T result = located(operation, key, S3Clients.Kind.ANONYMOUS, call);
      isPublic(signer, refusal);
      return result;
    } catch (StoreException e) {
      if (S3Failures.isRefusalOfUnsigned(e)
          || (e.kind() == Kind.NOT_FOUND && !mayBeListed(operation))) {
        refusal.addSuppressed(e);
        throw refusal;
      }
      if (e.kind() == Kind.NOT_FOUND) {
        isPublic(signer, refusal);
      }
      throw e;
    }
  }

  private void isPublic(Optional<AwsCredentials> signer, StoreException refusal) {
    reading = signer.isEmpty() ? Reading.NAMELESS : Reading.UNSIGNED;
    if (toldOfUnsigned.compareAndSet(false, true)) {
      log.info(
          "bucket {} is public and is read without credentials: {}",
          url.bucket(),
          signer.isEmpty() ? "there are none" : refusal.getMessage());
    }
  }

  /** Whether anybody may know what is not there; some servers say so of all that is closed. */
  private boolean mayBeListed(String operation) throws StoreException {
    try {
      located(operation, "", S3Clients.Kind.ANONYMOUS, this::headBucket);
      return true;
    } catch (StoreException e) {
      if (e.kind() == Kind.NOT_FOUND || e.kind() == Kind.NO_STORE) {
        throw S3Failures.noBucket(url, operation, e);
      }
      if (e.retryable() || e.kind() == Kind.INTERRUPTED) {
        throw e;
      }
      log.debug("{} cannot be listed by everybody", url, e);
      return false;
    }
  }

  CompletableFuture<HeadBucketResponse> headBucket(S3AsyncClient client) {
    return client.headBucket(
        r -> r.bucket(url.bucket()).overrideConfiguration(S3Store.timeouts(0L)));
  }

  private <T> T unsignedFirst(String operation, String key, Call<T> call) throws StoreException {
    try {
      return located(operation, key, S3Clients.Kind.ANONYMOUS, call);
    } catch (StoreException e) {
      if (!S3Failures.isRefusalOfUnsigned(e)) {
        throw e;
      }
      T result;
      try {
        result = signed(operation, key, S3Clients.Kind.REPEATABLE, call);
      } catch (StoreException again) {
        again.addSuppressed(e);
        throw again;
      }
      reading = Reading.SIGNED;
      return result;
    }
  }

  /** To look for credentials each time would take seconds where nobody has any. */
  private <T> T nameless(String operation, String key, Call<T> call) throws StoreException {
    try {
      return located(operation, key, S3Clients.Kind.ANONYMOUS, call);
    } catch (StoreException e) {
      throw S3Failures.isRefusalOfUnsigned(e)
          ? S3Failures.noCredentials(url, operation, key, e)
          : e;
    }
  }

  private <T> T signed(String operation, String key, S3Clients.Kind kind, Call<T> call)
      throws StoreException {
    Optional<AwsCredentials> signer = signer(operation, key);
    if (signer.isPresent() && reading == Reading.NAMELESS) {
      reading = Reading.SIGNED; // there are some now
    }
    return signed(operation, key, kind, signer, call);
  }

  /**
   * @param signer what it is signed with at first
   */
  private <T> T signed(
      String operation,
      String key,
      S3Clients.Kind kind,
      Optional<AwsCredentials> signer,
      Call<T> call)
      throws StoreException {
    Optional<AwsCredentials> used = signer;
    for (int refusals = 0; ; refusals++) {
      try {
        return located(operation, key, kind, call);
      } catch (StoreException e) {
        boolean again =
            refusals < MAX_REFUSALS
                && (S3Failures.isSkew(e)
                    || (S3Failures.isOfCredentials(e)
                        && used.isPresent()
                        && clients.credentials().renew(used.get())));
        if (!again) {
          throw S3Failures.isExpired(e) ? expired(operation, key, e) : e;
        }
        log.info(
            "{}; again with {}",
            e.getMessage(),
            S3Failures.isSkew(e) ? "the server's time" : "other credentials");
        used = signer(operation, key);
      }
    }
  }

  private Optional<AwsCredentials> signer(String operation, String key) throws StoreException {
    try {
      return clients.credentials().current();
    } catch (RuntimeException e) { // no region, or closed
      throw S3Failures.translate(url, settings, operation, key, false, e);
    }
  }

  private StoreException expired(String operation, String key, StoreException e) {
    return new StoreException(
        Kind.DENIED,
        operation,
        url.of(key),
        "the credentials have expired",
        settings.renewal(),
        e.getCause());
  }

  // ---------------------------------------------------------------- in its region

  private <T> T located(String operation, String key, S3Clients.Kind kind, Call<T> call)
      throws StoreException {
    for (int moves = 0; ; moves++) {
      Region asked = region(operation, key);
      try {
        return once(operation, key, kind, call);
      } catch (StoreException e) {
        Optional<Region> there = moves < MAX_MOVES ? elsewhere(e, asked) : Optional.empty();
        if (there.isEmpty()) {
          throw e;
        }
        if (clients.moveTo(there.get())) {
          log.info("bucket {} is in {}: requests go there", url.bucket(), there.get());
        }
      }
    }
  }

  private Region region(String operation, String key) throws StoreException {
    try {
      return clients.region();
    } catch (RuntimeException e) { // none is known, or closed
      throw S3Failures.translate(url, settings, operation, key, false, e);
    }
  }

  /** Where the bucket is when it is not where it was asked for. */
  private Optional<Region> elsewhere(StoreException e, Region asked) {
    if (!S3Failures.isElsewhere(e)) {
      return Optional.empty();
    }
    Optional<String> named = S3Failures.region(e);
    if (named.isEmpty()) {
      try {
        named =
            Optional.ofNullable(
                once(e.operation(), "", S3Clients.Kind.ANONYMOUS, this::headBucket).bucketRegion());
      } catch (StoreException told) { // most refuse, and name it all the same
        named = S3Failures.region(told);
        e.addSuppressed(told);
      }
    }
    return named.map(Region::of).filter(region -> !region.equals(asked));
  }

  // ---------------------------------------------------------------- once

  private <T> T once(String operation, String key, S3Clients.Kind kind, Call<T> call)
      throws StoreException {
    if (Thread.currentThread().isInterrupted()) {
      throw interrupted(operation, key, null);
    }
    CompletableFuture<T> future;
    try {
      future = call.on(clients.of(kind));
    } catch (RuntimeException e) {
      throw S3Failures.translate(url, settings, operation, key, false, e);
    }
    try {
      T result = future.get();
      bucketSeen.set(true);
      return result;
    } catch (InterruptedException e) {
      future.cancel(true);
      Thread.currentThread().interrupt();
      throw interrupted(operation, key, e);
    } catch (ExecutionException e) {
      throw S3Failures.translate(url, settings, operation, key, kind.isOnce(), e.getCause());
    }
  }

  private StoreException interrupted(String operation, String key, Throwable cause) {
    return new StoreException(
        Kind.INTERRUPTED, operation, url.of(key), "the thread was interrupted", "", cause);
  }

  @Override
  public void close() {
    clients.close();
  }
}
