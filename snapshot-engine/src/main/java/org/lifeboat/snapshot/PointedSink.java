package org.lifeboat.snapshot;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.page.PackInfo;
import org.lifeboat.page.PartSink;

/** Tells where a sink of packs has got to. */
record PointedSink(PartSink sink, CrashPoints crashPoints) implements PartSink {

  @Override
  public void prepare() {
    sink.prepare();
  }

  @Override
  public String begin(int number) throws IOException {
    String key = sink.begin(number);
    crashPoints.at(DumpPoint.DUMP_PACK_BEGUN);
    return key;
  }

  @Override
  public void part(String key, int number, ByteBuffer body, String sha256) throws IOException {
    sink.part(key, number, body, sha256);
    crashPoints.at(DumpPoint.DUMP_PART_SAFE);
  }

  @Override
  public void complete(PackInfo pack) throws IOException {
    sink.complete(pack);
    crashPoints.at(DumpPoint.DUMP_PACK_SAFE);
  }

  @Override
  public void seal() throws IOException {
    sink.seal();
  }

  @Override
  public void abort() throws IOException {
    sink.abort();
  }
}
