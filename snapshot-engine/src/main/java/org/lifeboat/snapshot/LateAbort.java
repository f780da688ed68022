package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.lifeboat.page.PackInfo;
import org.lifeboat.page.PartSink;

/**
 * A sink that only takes note when it is to throw away what it has. Throwing away takes requests to
 * a store that perhaps does not answer, and is asked for while the tree stands still.
 */
final class LateAbort implements PartSink {

  private final PartSink sink;
  private volatile boolean aborted;

  LateAbort(PartSink sink) {
    this.sink = sink;
  }

  @Override
  public void prepare() {
    sink.prepare();
  }

  @Override
  public String begin(int number) throws IOException {
    return sink.begin(number);
  }

  @Override
  public void part(String key, int number, ByteBuffer body, String sha256) throws IOException {
    sink.part(key, number, body, sha256);
  }

  @Override
  public void complete(PackInfo pack) throws IOException {
    sink.complete(pack);
  }

  @Override
  public void seal() throws IOException {
    sink.seal();
  }

  @Override
  public void abort() {
    aborted = true;
  }

  /** Throws away now what was to be. */
  void finish() throws IOException {
    if (aborted) {
      sink.abort();
    }
  }
}
