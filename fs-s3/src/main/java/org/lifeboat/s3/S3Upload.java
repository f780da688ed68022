package org.lifeboat.s3;

import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.concurrent.ConcurrentSkipListMap;
import org.lifeboat.store.MultipartUpload;
import org.lifeboat.store.ObjectStore.ObjectInfo;
import org.lifeboat.store.Precondition;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreException.Kind;
import software.amazon.awssdk.services.s3.model.CompleteMultipartUploadResponse;
import software.amazon.awssdk.services.s3.model.CompletedPart;
import software.amazon.awssdk.services.s3.model.ListPartsResponse;
import software.amazon.awssdk.services.s3.model.S3Exception;

/**
 * A multipart upload with a CRC32C for each part (checksum type COMPOSITE), which S3 wants back
 * when the upload is completed: a part's tag is its ETag and, behind a space, its CRC32C in Base64.
 *
 * <p><b>A reply to Complete that was lost.</b> Asked again, S3 answers as the first time, MinIO
 * says 404 NoSuchUpload. So when an earlier Complete of this upload may have arrived, a 404 is
 * followed by a HEAD: an object of our size is ours when its ETag is the one that our parts make,
 * and, without a precondition (then the key is nobody else's), also when it has as many parts.
 */
final class S3Upload implements MultipartUpload {

  private static final int MAX_NUMBER = 10_000;

  private final S3Store store;
  private final String key;
  private final String id;
  private final boolean resumed;
  private final SortedMap<Integer, Part> sent = new ConcurrentSkipListMap<>();
  private volatile boolean perhapsComplete;

  S3Upload(S3Store store, String key, String id, boolean resumed) {
    this.store = store;
    this.key = key;
    this.id = id;
    this.resumed = resumed;
  }

  @Override
  public String key() {
    return key;
  }

  @Override
  public String id() {
    return id;
  }

  @Override
  public Part part(int number, ByteBuffer body) throws StoreException {
    if (number < 1 || number > MAX_NUMBER) {
      throw new IllegalArgumentException("a part's number is 1 to 10000, not " + number);
    }
    int size = body.remaining();
    String crc = S3Store.crc32c(body);
    String etag =
        store
            .call(
                "part " + number,
                key,
                Precondition.NONE,
                c ->
                    c.uploadPart(
                        r ->
                            r.bucket(store.bucket())
                                .key(store.path(key))
                                .uploadId(id)
                                .partNumber(number)
                                .contentLength((long) size)
                                .checksumCRC32C(crc)
                                .overrideConfiguration(S3Store.timeouts(size)),
                        S3Store.body(body)))
            .eTag();
    Part part = new Part(number, size, tag(etag, crc));
    sent.put(number, part);
    return part;
  }

  /** Makes a part from a range of another object, without its bytes coming here. */
  void copyPart(int number, ObjectInfo source, long offset, long length) throws StoreException {
    var copied =
        store
            .longCall(
                "copy part " + number,
                key,
                Precondition.NONE,
                c ->
                    c.uploadPartCopy(
                        r ->
                            r.sourceBucket(store.bucket())
                                .sourceKey(store.path(source.key()))
                                .copySourceIfMatch(source.version())
                                .copySourceRange("bytes=" + offset + "-" + (offset + length - 1))
                                .destinationBucket(store.bucket())
                                .destinationKey(store.path(key))
                                .uploadId(id)
                                .partNumber(number)
                                .overrideConfiguration(S3Store.serverTimeouts(length))))
            .copyPartResult();
    sent.put(number, new Part(number, length, tag(copied.eTag(), copied.checksumCRC32C())));
  }

  private static String tag(String etag, String crc) {
    return crc == null || crc.isEmpty() ? etag : etag + " " + crc;
  }

  private static String etag(Part part) {
    int space = part.tag().indexOf(' ');
    return space < 0 ? part.tag() : part.tag().substring(0, space);
  }

  @Override
  public List<Part> parts() throws StoreException {
    List<Part> parts = new ArrayList<>();
    Integer marker = null;
    while (true) {
      Integer after = marker;
      ListPartsResponse page =
          store.call(
              "parts",
              key,
              Precondition.NONE,
              c ->
                  c.listParts(
                      r ->
                          r.bucket(store.bucket())
                              .key(store.path(key))
                              .uploadId(id)
                              .partNumberMarker(after)
                              .overrideConfiguration(S3Store.timeouts(1L << 20))));
      page.parts()
          .forEach(
              part ->
                  parts.add(
                      new Part(
                          part.partNumber(),
                          part.size(),
                          tag(part.eTag(), part.checksumCRC32C()))));
      if (!Boolean.TRUE.equals(page.isTruncated()) || page.nextPartNumberMarker() == null) {
        return parts;
      }
      marker = page.nextPartNumberMarker();
    }
  }

  @Override
  public ObjectInfo complete(Precondition precondition) throws StoreException {
    Collection<Part> parts = resumed ? parts() : List.copyOf(sent.values());
    if (parts.isEmpty()) {
      throw new StoreException(
          Kind.INVALID, "complete", store.url().of(key), "the upload has no part", "", null);
    }
    List<CompletedPart> completed = parts.stream().map(S3Upload::completed).toList();
    long size = parts.stream().mapToLong(Part::size).sum();
    boolean retried = precondition instanceof Precondition.None || perhapsComplete;
    try {
      CompleteMultipartUploadResponse response =
          store.longCall(
              "complete",
              key,
              precondition,
              c ->
                  c.completeMultipartUpload(
                      r -> {
                        r.bucket(store.bucket())
                            .key(store.path(key))
                            .uploadId(id)
                            .multipartUpload(upload -> upload.parts(completed))
                            .overrideConfiguration(S3Store.serverTimeouts(size));
                        switch (precondition) {
                          case Precondition.None() -> {}
                          case Precondition.Absent() -> r.ifNoneMatch("*");
                          case Precondition.Matches(String version) -> r.ifMatch(version);
                        }
                      }));
      return new ObjectInfo(key, size, response.eTag(), S3Store.date(response));
    } catch (StoreException e) {
      if (e.kind() == Kind.UNKNOWN_OUTCOME || e.retryable()) {
        perhapsComplete = true;
      }
      if (retried && isNoSuchUpload(e)) {
        Optional<ObjectInfo> there = store.head(key).filter(object -> object.size() == size);
        boolean unconditional = precondition instanceof Precondition.None;
        if (there.isPresent()
            && (isMadeOf(parts, there.get())
                || (unconditional
                    && unquoted(there.get().version()).endsWith("-" + parts.size())))) {
          return there.get();
        }
      }
      throw e;
    }
  }

  private static CompletedPart completed(Part part) {
    int space = part.tag().indexOf(' ');
    return CompletedPart.builder()
        .partNumber(part.number())
        .eTag(etag(part))
        .checksumCRC32C(space < 0 ? null : part.tag().substring(space + 1))
        .build();
  }

  private static boolean isNoSuchUpload(StoreException e) {
    Optional<S3Exception> reply = S3Failures.reply(e);
    return reply.isPresent() && S3Failures.code(reply.get()).equals("NoSuchUpload");
  }

  /** Whether the ETag is the MD5 of the parts' MD5s, as it is where ETags are digests. */
  private static boolean isMadeOf(Collection<Part> parts, ObjectInfo object) {
    try {
      MessageDigest md5 = MessageDigest.getInstance("MD5");
      for (Part part : parts) {
        md5.update(HexFormat.of().parseHex(unquoted(etag(part))));
      }
      String expected = HexFormat.of().formatHex(md5.digest()) + "-" + parts.size();
      return unquoted(object.version()).equals(expected);
    } catch (IllegalArgumentException e) {
      return false; // not hexadecimal, so no digests
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has MD5", e);
    }
  }

  private static String unquoted(String etag) {
    return etag.replace("\"", "");
  }

  @Override
  public void abort() throws StoreException {
    try {
      store.call(
          "abort",
          key,
          Precondition.NONE,
          c ->
              c.abortMultipartUpload(
                  r ->
                      r.bucket(store.bucket())
                          .key(store.path(key))
                          .uploadId(id)
                          .overrideConfiguration(S3Store.timeouts(0L))));
    } catch (StoreException e) {
      if (e.kind() != Kind.NOT_FOUND) {
        throw e;
      }
    }
  }
}
