package org.lifeboat.s3;

import java.nio.ByteBuffer;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.zip.CRC32C;
import org.lifeboat.store.Keys;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreException.Kind;
import org.lifeboat.store.StoreUrl;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.awscore.AwsRequestOverrideConfiguration;
import software.amazon.awssdk.core.SdkResponse;
import software.amazon.awssdk.core.async.AsyncRequestBody;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.model.ChecksumAlgorithm;
import software.amazon.awssdk.services.s3.model.CopyObjectResponse;
import software.amazon.awssdk.services.s3.model.EncodingType;
import software.amazon.awssdk.services.s3.model.HeadObjectResponse;
import software.amazon.awssdk.services.s3.model.ListMultipartUploadsResponse;
import software.amazon.awssdk.services.s3.model.ListObjectsV2Response;
import software.amazon.awssdk.services.s3.model.PutObjectResponse;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.model.S3Object;
import software.amazon.awssdk.services.s3.model.TaggingDirective;

/**
 * A store below a prefix of a bucket.
 *
 * <p><b>Versions</b> are ETags, taken as they come. <b>Preconditions</b> are If-None-Match and
 * If-Match headers. Requests that carry one are sent once: the SDK's own retry of a conditional
 * write whose reply was lost is refused (412) because the first one succeeded. All others are tried
 * by the SDK up to three times.
 *
 * <p><b>Integrity.</b> Each body goes with a CRC32C that we take ourselves, in a header: the server
 * refuses what came differently. The SDK's default, a trailer, costs it a third more CPU and is
 * dropped by some servers. What is read is checked for its length; digests are the caller's.
 *
 * <p><b>Time.</b> Every request has an end: an attempt gets 20 s and what its bytes take at 256
 * KiB/s, and less when nothing moves ({@link S3Clients#STALL}); a whole call twice that and 20 s.
 * Requests that make the server move bytes get 30 s and what those take at 32 MiB/s, at most 10
 * minutes.
 *
 * <p><b>Memory.</b> Bodies are sent from and received into the caller's buffers. When a call ends
 * early (interrupt, time-out) the SDK may still look at a body for a moment: should the caller
 * refill the buffer then, the CRC32C does not fit and the server refuses the body.
 */
final class S3Store implements ObjectStore {

  private static final Logger log = LoggerFactory.getLogger(S3Store.class);

  private static final Duration LONG = Duration.ofMinutes(10);
  private static final long SLOWEST = 256 << 10;
  private static final long SLOWEST_SERVER = 32 << 20;
  private static final long MAX_COPY = 5L << 30;
  private static final long COPY_PART = 512L << 20;
  private static final int PAGE = 1000;
  private static final int MAX_CHANGES = 10;
  private static final int MAX_REFUSALS = 2;

  private final StoreUrl url;
  private final S3Settings settings;
  private final S3Clients clients;
  private final String base;
  private final long maxCopy;
  private final long copyPart;
  private final AtomicBoolean tagging = new AtomicBoolean(true);
  private final AtomicBoolean bucketSeen = new AtomicBoolean();

  S3Store(StoreUrl url, S3Settings settings) {
    this(url, settings, MAX_COPY, COPY_PART, S3Clients.STALL);
  }

  /**
   * @param maxCopy what is larger is copied by parts
   * @param stall how long no byte may move while a request is under way, in whole seconds
   */
  S3Store(StoreUrl url, S3Settings settings, long maxCopy, long copyPart, Duration stall) {
    this.url = url;
    this.settings = settings;
    this.clients = new S3Clients(settings, stall);
    this.base = url.path().isEmpty() ? "" : url.path() + "/";
    this.maxCopy = maxCopy;
    this.copyPart = copyPart;
  }

  @Override
  public StoreUrl url() {
    return url;
  }

  // ---------------------------------------------------------------- one object

  @Override
  public Optional<ObjectInfo> head(String key) throws StoreException {
    Keys.check(key);
    try {
      HeadObjectResponse head =
          call(
              "head",
              key,
              Precondition.NONE,
              c ->
                  c.headObject(
                      r ->
                          r.bucket(url.bucket())
                              .key(base + key)
                              .overrideConfiguration(timeouts(0L))));
      return Optional.of(
          new ObjectInfo(
              key, head.contentLength(), head.eTag(), head.lastModified().toEpochMilli()));
    } catch (StoreException e) {
      if (e.kind() == Kind.NOT_FOUND) {
        checkBucket("head");
        return Optional.empty();
      }
      if (S3Failures.isWordless(e)) {
        return explain(key, e);
      }
      throw e;
    }
  }

  /** A HEAD has no body to say why it was refused: a GET has, and may not be refused at all. */
  private Optional<ObjectInfo> explain(String key, StoreException wordless) throws StoreException {
    try {
      return Optional.of(get(key, 0, ByteBuffer.allocate(1)));
    } catch (StoreException e) {
      if (e.kind() == Kind.NOT_FOUND) {
        return Optional.empty();
      }
      e.addSuppressed(wordless);
      throw e;
    }
  }

  /** A HEAD has no body to tell a missing bucket from a missing object: ask, once. */
  private void checkBucket(String operation) throws StoreException {
    if (bucketSeen.get()) {
      return;
    }
    try {
      call(operation, "", Precondition.NONE, c -> c.headBucket(r -> r.bucket(url.bucket())));
    } catch (StoreException e) {
      if (e.kind() == Kind.NOT_FOUND) {
        throw new StoreException(
            Kind.NO_STORE,
            operation,
            url.toString(),
            "there is no bucket " + url.bucket(),
            "create it, or correct the URL or the endpoint",
            e);
      }
      if (e.kind() != Kind.DENIED) { // who may not list the bucket may still use it
        throw e;
      }
    }
  }

  @Override
  public ObjectInfo get(String key, long offset, ByteBuffer into) throws StoreException {
    Keys.check(key);
    if (offset < 0) {
      throw new IllegalArgumentException("the offset is negative: " + offset);
    }
    if (into.isReadOnly()) {
      throw new IllegalArgumentException("the buffer is read-only");
    }
    for (int changes = 0; changes < MAX_CHANGES; changes++) {
      if (into.hasRemaining()) {
        try {
          return read(key, offset, into);
        } catch (StoreException e) {
          if (S3Failures.reply(e).filter(reply -> reply.statusCode() == 416).isEmpty()) {
            throw e;
          }
        }
      }
      // nothing to read there: at the end, or behind it
      ObjectInfo info = head(key).orElseThrow(() -> noSuchObject("get", key));
      if (offset > info.size()) {
        throw new StoreException(
            Kind.INVALID,
            "get",
            url.of(key),
            "offset " + offset + " lies behind the end at " + info.size(),
            "",
            null);
      }
      if (offset == info.size() || !into.hasRemaining()) {
        return info;
      }
    }
    throw new StoreException(
        Kind.CONFLICT, "get", url.of(key), "the object changes all the time", "", null);
  }

  private ObjectInfo read(String key, long offset, ByteBuffer into) throws StoreException {
    int wanted = into.remaining();
    BodyReader reader = new BodyReader(offset, into);
    try {
      BodyReader.Result result =
          call(
              "get",
              key,
              Precondition.NONE,
              c ->
                  c.getObject(
                      r ->
                          r.bucket(url.bucket())
                              .key(base + key)
                              .range("bytes=" + offset + "-" + (offset + wanted - 1))
                              .overrideConfiguration(timeouts(wanted)),
                      reader));
      into.position(into.position() + result.bytes());
      return new ObjectInfo(
          key,
          result.size(),
          result.response().eTag(),
          result.response().lastModified().toEpochMilli());
    } finally {
      reader.abandon();
    }
  }

  private StoreException noSuchObject(String operation, String key) {
    return new StoreException(
        Kind.NOT_FOUND, operation, url.of(key), "there is no such object", "", null);
  }

  @Override
  public ObjectInfo put(String key, ByteBuffer body, Precondition precondition)
      throws StoreException {
    Keys.check(key);
    String crc = crc32c(body);
    int size = body.remaining();
    PutObjectResponse put =
        tagged(
            tag ->
                call(
                    "put",
                    key,
                    precondition,
                    c ->
                        c.putObject(
                            r -> {
                              r.bucket(url.bucket())
                                  .key(base + key)
                                  .checksumCRC32C(crc)
                                  .contentLength((long) size)
                                  .overrideConfiguration(timeouts(size));
                              tags(key, tag).ifPresent(r::tagging);
                              settings.encryption().ifPresent(r::serverSideEncryption);
                              settings.kmsKey().ifPresent(r::ssekmsKeyId);
                              settings.storageClass().ifPresent(r::storageClass);
                              switch (precondition) {
                                case Precondition.None() -> {}
                                case Precondition.Absent() -> r.ifNoneMatch("*");
                                case Precondition.Matches(String version) -> r.ifMatch(version);
                              }
                            },
                            body(body))));
    return new ObjectInfo(key, size, put.eTag(), date(put));
  }

  @Override
  public void delete(String key) throws StoreException {
    Keys.check(key);
    try {
      call(
          "delete",
          key,
          Precondition.NONE,
          c ->
              c.deleteObject(
                  r -> r.bucket(url.bucket()).key(base + key).overrideConfiguration(timeouts(0L))));
    } catch (StoreException e) {
      if (e.kind() != Kind.NOT_FOUND) {
        throw e;
      }
    }
  }

  @Override
  public ObjectInfo copy(String from, String to) throws StoreException {
    Keys.check(from);
    Keys.check(to);
    for (int changes = 0; changes < MAX_CHANGES; changes++) {
      ObjectInfo source = head(from).orElseThrow(() -> noSuchObject("copy", from));
      try {
        return source.size() > maxCopy ? copyByParts(source, to) : copyAtOnce(source, to);
      } catch (StoreException e) {
        if (e.kind() != Kind.PRECONDITION_FAILED) {
          throw e;
        }
        log.debug("{} was replaced while it was copied", url.of(from), e);
      }
    }
    throw new StoreException(
        Kind.CONFLICT, "copy", url.of(from), "the object changes all the time", "", null);
  }

  private ObjectInfo copyAtOnce(ObjectInfo source, String to) throws StoreException {
    CopyObjectResponse copied =
        tagged(
            tag ->
                longCall(
                    "copy",
                    source.key(),
                    Precondition.NONE,
                    c ->
                        c.copyObject(
                            r -> {
                              r.sourceBucket(url.bucket())
                                  .sourceKey(base + source.key())
                                  .copySourceIfMatch(source.version())
                                  .destinationBucket(url.bucket())
                                  .destinationKey(base + to)
                                  .overrideConfiguration(serverTimeouts(source.size()));
                              tags(to, tag)
                                  .ifPresent(
                                      tags ->
                                          r.tagging(tags)
                                              .taggingDirective(TaggingDirective.REPLACE));
                              settings.encryption().ifPresent(r::serverSideEncryption);
                              settings.kmsKey().ifPresent(r::ssekmsKeyId);
                              settings.storageClass().ifPresent(r::storageClass);
                            })));
    return new ObjectInfo(to, source.size(), copied.copyObjectResult().eTag(), date(copied));
  }

  private ObjectInfo copyByParts(ObjectInfo source, String to) throws StoreException {
    // without our checksums: the server makes the parts, and not every one takes their CRC32C then
    S3Upload upload = begin(to, false);
    try {
      int number = 0;
      for (long at = 0; at < source.size(); at += copyPart) {
        upload.copyPart(++number, source, at, Math.min(copyPart, source.size() - at));
      }
      return upload.complete(Precondition.NONE);
    } catch (Throwable e) {
      try {
        upload.abort();
      } catch (StoreException again) {
        e.addSuppressed(again);
      }
      throw e;
    }
  }

  // ---------------------------------------------------------------- listings

  @Override
  public ListPage list(String prefix, String after) throws StoreException {
    List<ObjectInfo> found = new ArrayList<>();
    String last = after.isEmpty() ? null : base + after;
    while (true) {
      String behind = last;
      ListObjectsV2Response page =
          call(
              "list",
              prefix,
              Precondition.NONE,
              c ->
                  c.listObjectsV2(
                      r ->
                          r.bucket(url.bucket())
                              .prefix(base + prefix)
                              .startAfter(behind)
                              .maxKeys(PAGE)
                              .encodingType(EncodingType.URL)
                              .overrideConfiguration(timeouts(1L << 20))));
      for (S3Object object : page.contents()) {
        last = object.key();
        String key = object.key().substring(base.length());
        if (!key.isEmpty() && !key.endsWith("/")) { // others make such as "folders"
          found.add(
              new ObjectInfo(
                  key, object.size(), object.eTag(), object.lastModified().toEpochMilli()));
        }
      }
      boolean more = Boolean.TRUE.equals(page.isTruncated()) && !page.contents().isEmpty();
      if (!more || !found.isEmpty()) {
        return new ListPage(List.copyOf(found), more);
      }
    }
  }

  @Override
  public List<PendingUpload> uploads(String prefix) throws StoreException {
    List<PendingUpload> pending = new ArrayList<>();
    String keyMarker = null;
    String idMarker = null;
    while (true) {
      String key = keyMarker;
      String id = idMarker;
      ListMultipartUploadsResponse page =
          call(
              "uploads",
              prefix,
              Precondition.NONE,
              c ->
                  c.listMultipartUploads(
                      r ->
                          r.bucket(url.bucket())
                              .prefix(base + prefix)
                              .keyMarker(key)
                              .uploadIdMarker(id)
                              .overrideConfiguration(timeouts(1L << 20))));
      page.uploads().stream()
          .filter(upload -> upload.key().startsWith(base + prefix))
          .map(
              upload ->
                  new PendingUpload(
                      upload.key().substring(base.length()),
                      upload.uploadId(),
                      upload.initiated().toEpochMilli()))
          .forEach(pending::add);
      if (!Boolean.TRUE.equals(page.isTruncated()) || page.nextKeyMarker() == null) {
        pending.sort((a, b) -> Keys.compare(a.key(), b.key()));
        return pending;
      }
      keyMarker = page.nextKeyMarker();
      idMarker = page.nextUploadIdMarker();
    }
  }

  // ---------------------------------------------------------------- uploads

  @Override
  public MultipartUpload upload(String key) throws StoreException {
    return begin(Keys.check(key), true);
  }

  private S3Upload begin(String key, boolean checksums) throws StoreException {
    String id =
        tagged(
                tag ->
                    call(
                        "upload",
                        key,
                        Precondition.NONE,
                        c ->
                            c.createMultipartUpload(
                                r -> {
                                  r.bucket(url.bucket())
                                      .key(base + key)
                                      .checksumAlgorithm(
                                          checksums ? ChecksumAlgorithm.CRC32_C : null)
                                      .overrideConfiguration(timeouts(0L));
                                  tags(key, tag).ifPresent(r::tagging);
                                  settings.encryption().ifPresent(r::serverSideEncryption);
                                  settings.kmsKey().ifPresent(r::ssekmsKeyId);
                                  settings.storageClass().ifPresent(r::storageClass);
                                })))
            .uploadId();
    return new S3Upload(this, key, id, false);
  }

  @Override
  public MultipartUpload resume(String key, String uploadId) throws StoreException {
    return new S3Upload(this, Keys.check(key), uploadId, true);
  }

  @Override
  public void close() {
    clients.close();
  }

  // ---------------------------------------------------------------- for S3Upload

  String bucket() {
    return url.bucket();
  }

  String path(String key) {
    return base + key;
  }

  /** A call of the SDK. */
  interface Call<T> {
    CompletableFuture<T> on(S3AsyncClient client);
  }

  /** Does it and waits; every failure comes out as a {@link StoreException}. */
  <T> T call(String operation, String key, Precondition precondition, Call<T> call)
      throws StoreException {
    boolean conditional = !(precondition instanceof Precondition.None);
    return call(
        operation, key, conditional ? S3Clients.Kind.ONCE : S3Clients.Kind.REPEATABLE, call);
  }

  /** As above, for a request that makes the server move bytes before it answers. */
  <T> T longCall(String operation, String key, Precondition precondition, Call<T> call)
      throws StoreException {
    boolean conditional = !(precondition instanceof Precondition.None);
    return call(operation, key, conditional ? S3Clients.Kind.LONG_ONCE : S3Clients.Kind.LONG, call);
  }

  /**
   * What was refused for its credentials or for its time has done nothing, and is sent again, be it
   * conditional or not, when there are other credentials, or the clock was put right by the reply.
   */
  private <T> T call(String operation, String key, S3Clients.Kind kind, Call<T> call)
      throws StoreException {
    for (int refusals = 0; ; refusals++) {
      Optional<AwsCredentials> used = signer(operation, key);
      try {
        return once(operation, key, kind, call);
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
      }
    }
  }

  private Optional<AwsCredentials> signer(String operation, String key) throws StoreException {
    try {
      return clients.credentials().current();
    } catch (RuntimeException e) { // no region, or closed
      throw S3Failures.translate(url, settings.endpoint(), operation, key, false, e);
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

  private <T> T once(String operation, String key, S3Clients.Kind kind, Call<T> call)
      throws StoreException {
    boolean conditional = kind == S3Clients.Kind.ONCE || kind == S3Clients.Kind.LONG_ONCE;
    if (Thread.currentThread().isInterrupted()) {
      throw interrupted(operation, key, null);
    }
    CompletableFuture<T> future;
    try {
      future = call.on(clients.of(kind));
    } catch (RuntimeException e) {
      throw S3Failures.translate(url, settings.endpoint(), operation, key, false, e);
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
      throw S3Failures.translate(
          url, settings.endpoint(), operation, key, conditional, e.getCause());
    }
  }

  private StoreException interrupted(String operation, String key, Throwable cause) {
    return new StoreException(
        Kind.INTERRUPTED, operation, url.of(key), "the thread was interrupted", "", cause);
  }

  /** Something that writes tags, or does not when it is handed false. */
  private interface Tagged<T> {
    T run(boolean tag) throws StoreException;
  }

  /** Does without tags on a server that does not know them. */
  private <T> T tagged(Tagged<T> write) throws StoreException {
    boolean tag = tagging.get();
    try {
      return write.run(tag);
    } catch (StoreException e) {
      Optional<S3Exception> reply = S3Failures.reply(e);
      if (!tag || settings.tags().isEmpty() || reply.isEmpty() || reply.get().statusCode() != 501) {
        throw e;
      }
      T result = write.run(false);
      if (tagging.getAndSet(false)) {
        log.warn("{} does not support tags: objects are stored without them", url);
      }
      return result;
    }
  }

  private Optional<String> tags(String key, boolean tag) {
    return tag ? settings.tags().header(key) : Optional.empty();
  }

  static AsyncRequestBody body(ByteBuffer body) {
    return AsyncRequestBody.fromRemainingByteBufferUnsafe(body.duplicate());
  }

  static String crc32c(ByteBuffer body) {
    CRC32C crc = new CRC32C();
    crc.update(body.duplicate());
    return Base64.getEncoder()
        .encodeToString(ByteBuffer.allocate(4).putInt((int) crc.getValue()).array());
  }

  /** Time for a request that moves so many bytes. */
  static AwsRequestOverrideConfiguration timeouts(long bytes) {
    return timeouts(Duration.ofSeconds(20 + bytes / SLOWEST));
  }

  /** Time for a request that makes the server move so many bytes. */
  static AwsRequestOverrideConfiguration serverTimeouts(long bytes) {
    Duration time = Duration.ofSeconds(30 + bytes / SLOWEST_SERVER);
    return timeouts(time.compareTo(LONG) < 0 ? time : LONG);
  }

  private static AwsRequestOverrideConfiguration timeouts(Duration attempt) {
    return AwsRequestOverrideConfiguration.builder()
        .apiCallAttemptTimeout(attempt)
        .apiCallTimeout(attempt.multipliedBy(2).plusSeconds(20))
        .build();
  }

  /** When the server answered, by its own clock. */
  static long date(SdkResponse response) {
    return response
        .sdkHttpResponse()
        .firstMatchingHeader("Date")
        .map(
            text -> {
              try {
                return ZonedDateTime.parse(text, DateTimeFormatter.RFC_1123_DATE_TIME).toInstant();
              } catch (DateTimeException e) {
                log.debug("the server's date is {}", text, e);
                return Instant.now();
              }
            })
        .orElseGet(Instant::now)
        .toEpochMilli();
  }
}
