package org.lifeboat.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.reactivestreams.Subscriber;
import org.reactivestreams.Subscription;
import software.amazon.awssdk.core.async.AsyncResponseTransformer;
import software.amazon.awssdk.core.async.SdkPublisher;
import software.amazon.awssdk.services.s3.model.GetObjectResponse;

/**
 * Copies a response's body straight into the caller's buffer. The SDK calls it once per attempt, on
 * its own threads; when the caller has given up, {@link #abandon} makes sure that a late body does
 * not write into a buffer that is used for something else by then.
 */
final class BodyReader implements AsyncResponseTransformer<GetObjectResponse, BodyReader.Result> {

  private static final Pattern CONTENT_RANGE = Pattern.compile("bytes (\\d+)-(\\d+)/(\\d+)");

  /** What was read: how many bytes, and how large the object is. */
  record Result(GetObjectResponse response, int bytes, long size) {}

  private final long offset;
  private final ByteBuffer into;
  private final Object lock = new Object();
  private boolean abandoned;
  private Attempt attempt;

  BodyReader(long offset, ByteBuffer into) {
    this.offset = offset;
    this.into = into;
    this.attempt = new Attempt();
  }

  /** After this nothing is written into the buffer any more. */
  void abandon() {
    synchronized (lock) {
      abandoned = true;
    }
  }

  @Override
  public CompletableFuture<Result> prepare() {
    Attempt next = new Attempt();
    synchronized (lock) {
      attempt = next;
    }
    return next.future;
  }

  private Attempt current() {
    synchronized (lock) {
      return attempt;
    }
  }

  @Override
  public void onResponse(GetObjectResponse response) {
    current().response(response);
  }

  @Override
  public void onStream(SdkPublisher<ByteBuffer> publisher) {
    publisher.subscribe(current());
  }

  @Override
  public void exceptionOccurred(Throwable error) {
    current().future.completeExceptionally(error);
  }

  private final class Attempt implements Subscriber<ByteBuffer> {

    private final CompletableFuture<Result> future = new CompletableFuture<>();
    private final ByteBuffer target = into.duplicate();
    private GetObjectResponse response = null;
    private long size;
    private int expected;

    void response(GetObjectResponse head) {
      response = head;
      long length = head.contentLength() == null ? 0 : head.contentLength();
      if (head.contentRange() == null) {
        size = length; // the server took no notice of the range
      } else {
        Matcher matcher = CONTENT_RANGE.matcher(head.contentRange());
        if (!matcher.matches() || Long.parseLong(matcher.group(1)) != offset) {
          future.completeExceptionally(
              new IOException("another range came than was asked for: " + head.contentRange()));
          return;
        }
        size = Long.parseLong(matcher.group(3));
      }
      if (head.contentRange() == null && offset > 0) {
        future.completeExceptionally(new IOException("the server took no notice of the range"));
      }
      expected = (int) Math.min(into.remaining(), size - offset);
    }

    @Override
    public void onSubscribe(Subscription subscription) {
      subscription.request(Long.MAX_VALUE);
    }

    @Override
    public void onNext(ByteBuffer bytes) {
      synchronized (lock) {
        if (!abandoned && attempt == this && !future.isDone()) {
          int room = Math.min(bytes.remaining(), expected - (target.position() - into.position()));
          target.put(bytes.slice(bytes.position(), room));
        }
      }
    }

    @Override
    public void onError(Throwable failure) {
      future.completeExceptionally(failure);
    }

    @Override
    public void onComplete() {
      int got = target.position() - into.position();
      if (got < expected) {
        future.completeExceptionally(new TruncatedBodyException(expected, got));
      } else {
        future.complete(new Result(response, got, size));
      }
    }
  }
}
