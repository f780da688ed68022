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
import software.amazon.awssdk.awscore.AwsRequestOverrideConfiguration;
import software.amazon.awssdk.core.SdkResponse;
import software.amazon.awssdk.core.async.AsyncRequestBody;
import software.amazon.awssdk.services.s3.model.ChecksumAlgorithm;
import software.amazon.awssdk.services.s3.model.CommonPrefix;
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

  /** Comes behind all keys of a directory: the last character that there is. */
  private static final String LAST = "\udbff\udfff";

  private final StoreUrl url;
  private final S3Settings settings;
  private final S3Calls calls;
  private final String base;
  private final long maxCopy;
  private final long copyPart;
  private final AtomicBoolean tagging = new AtomicBoolean(true);

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
    this.calls = new S3Calls(url, settings, new S3Clients(settings, stall));
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
      HeadObjectResponse head = headObject("head", key);
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

  private HeadObjectResponse headObject(String operation, String key) throws StoreException {
    return calls.read(
        operation,
        key,
        c ->
            c.headObject(
                r -> r.bucket(url.bucket()).key(base + key).overrideConfiguration(timeouts(0L))));
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
    if (calls.bucketSeen()) {
      return;
    }
    try {
      calls.read(operation, "", calls::headBucket);
    } catch (StoreException e) {
      if (e.kind() == Kind.NOT_FOUND) {
        throw S3Failures.noBucket(url, operation, e);
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
          calls.read(
              "get",
              key,
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
  public ObjectInfo copy(String from, String to, Precondition precondition) throws StoreException {
    Keys.check(from);
    Keys.check(to);
    boolean conditional = !(precondition instanceof Precondition.None);
    for (int changes = 0; changes < MAX_CHANGES; changes++) {
      ObjectInfo source = head(from).orElseThrow(() -> noSuchObject("copy", from));
      if (conditional && source.size() == 0) {
        return put(to, ByteBuffer.allocate(0), precondition); // no part can be empty
      }
      Optional<ObjectInfo> copied =
          conditional || source.size() > maxCopy
              ? copyByParts(source, to, precondition)
              : copyAtOnce(source, to);
      if (copied.isPresent()) {
        return copied.get();
      }
    }
    throw new StoreException(
        Kind.CONFLICT, "copy", url.of(from), "the object changes all the time", "", null);
  }

  /** Returns nothing when the source is another one by now. */
  private Optional<ObjectInfo> copyAtOnce(ObjectInfo source, String to) throws StoreException {
    CopyObjectResponse copied;
    try {
      copied = copyObject(source, to);
    } catch (StoreException e) {
      return replaced(source, e);
    }
    return Optional.of(
        new ObjectInfo(to, source.size(), copied.copyObjectResult().eTag(), date(copied)));
  }

  private Optional<ObjectInfo> replaced(ObjectInfo source, StoreException e) throws StoreException {
    if (e.kind() != Kind.PRECONDITION_FAILED) {
      throw e;
    }
    log.debug("{} was replaced while it was copied", url.of(source.key()), e);
    return Optional.empty();
  }

  private CopyObjectResponse copyObject(ObjectInfo source, String to) throws StoreException {
    return tagged(
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
                                      r.tagging(tags).taggingDirective(TaggingDirective.REPLACE));
                          settings.encryption().ifPresent(r::serverSideEncryption);
                          settings.kmsKey().ifPresent(r::ssekmsKeyId);
                          settings.storageClass().ifPresent(r::storageClass);
                        })));
  }

  /**
   * Also a small object goes by parts when there is a precondition: hardly any server obeys one of
   * CopyObject, and all obey that of CompleteMultipartUpload. Returns nothing when the source is
   * another one by now.
   */
  private Optional<ObjectInfo> copyByParts(ObjectInfo source, String to, Precondition precondition)
      throws StoreException {
    HeadObjectResponse like = headObject("copy", source.key());
    if (!like.eTag().equals(source.version())) {
      return Optional.empty();
    }
    S3Upload upload = begin(to, Optional.of(like));
    try {
      int number = 0;
      for (long at = 0; at < source.size(); at += copyPart) {
        try {
          upload.copyPart(++number, source, at, Math.min(copyPart, source.size() - at));
        } catch (StoreException e) {
          Optional<ObjectInfo> nothing = replaced(source, e);
          upload.abort();
          return nothing;
        }
      }
      return Optional.of(upload.complete(precondition));
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
          calls.read(
              "list",
              prefix,
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
  public DirectoryPage listDirectory(String directory, String after) throws StoreException {
    String prefix = base + Keys.checkDirectory(directory);
    String behind = after.isEmpty() ? "" : base + after;
    if (!behind.startsWith(prefix)) {
      if (Keys.compare(behind, prefix) > 0) {
        return new DirectoryPage(List.of(), false);
      }
      behind = prefix;
    }
    List<DirectoryEntry> found = new ArrayList<>();
    String from = startAfter(prefix, behind);
    for (String token = null; ; ) {
      String next = token;
      ListObjectsV2Response page =
          calls.read(
              "list directory",
              directory,
              c ->
                  c.listObjectsV2(
                      r ->
                          r.bucket(url.bucket())
                              .prefix(prefix)
                              .delimiter("/")
                              .startAfter(from)
                              .continuationToken(next)
                              .maxKeys(PAGE)
                              .encodingType(EncodingType.URL)
                              .overrideConfiguration(timeouts(1L << 20))));
      for (S3Object object : page.contents()) {
        if (Keys.isSegment(object.key().substring(prefix.length()))) {
          found.add(
              new ObjectInfo(
                  object.key().substring(base.length()),
                  object.size(),
                  object.eTag(),
                  object.lastModified().toEpochMilli()));
        }
      }
      for (CommonPrefix below : page.commonPrefixes()) {
        String name = below.prefix().substring(prefix.length(), below.prefix().length() - 1);
        if (Keys.isSegment(name)) {
          found.add(new Directory(below.prefix().substring(base.length())));
        }
      }
      found.removeIf(entry -> Keys.compare(entry.key(), after) <= 0);
      token = page.nextContinuationToken();
      boolean more = Boolean.TRUE.equals(page.isTruncated()) && token != null;
      if (!more || !found.isEmpty()) {
        found.sort((a, b) -> Keys.compare(a.key(), b.key()));
        return new DirectoryPage(List.copyOf(found), more);
      }
    }
  }

  /** What all further entries' keys come behind; those in a directory that was listed do not. */
  private static String startAfter(String prefix, String behind) {
    if (behind.length() == prefix.length()) {
      return null;
    }
    int slash = behind.indexOf('/', prefix.length());
    return slash < 0 ? behind : behind.substring(0, slash + 1) + LAST;
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
    return begin(Keys.check(key), Optional.empty());
  }

  /**
   * @param like what the upload is to be a copy of, with what others attached to it; then without
   *     our checksums: the server makes the parts, and not every one takes their CRC32C then
   */
  private S3Upload begin(String key, Optional<HeadObjectResponse> like) throws StoreException {
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
                                          like.isEmpty() ? ChecksumAlgorithm.CRC32_C : null)
                                      .overrideConfiguration(timeouts(0L));
                                  like.ifPresent(
                                      object ->
                                          r.contentType(object.contentType())
                                              .contentEncoding(object.contentEncoding())
                                              .contentDisposition(object.contentDisposition())
                                              .contentLanguage(object.contentLanguage())
                                              .cacheControl(object.cacheControl())
                                              .metadata(object.metadata()));
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
    calls.close();
  }

  // ---------------------------------------------------------------- for S3Upload

  String bucket() {
    return url.bucket();
  }

  String path(String key) {
    return base + key;
  }

  <T> T call(String operation, String key, Precondition precondition, S3Calls.Call<T> call)
      throws StoreException {
    return calls.call(operation, key, precondition, call);
  }

  <T> T longCall(String operation, String key, Precondition precondition, S3Calls.Call<T> call)
      throws StoreException {
    return calls.longCall(operation, key, precondition, call);
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
