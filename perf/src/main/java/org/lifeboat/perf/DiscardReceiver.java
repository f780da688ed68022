package org.lifeboat.perf;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import java.util.Random;
import org.lifeboat.page.PackNames;
import org.lifeboat.receive.AdaptiveCodec;
import org.lifeboat.receive.PageReceiver;
import org.lifeboat.receive.PageSet;
import org.lifeboat.receive.ReceiveObserver;
import org.lifeboat.receive.ReceivedPages;
import org.lifeboat.receive.ReceiverConfig;
import org.lifeboat.receive.UploadSink;
import org.lifeboat.receive.WarmUp;
import org.lifeboat.store.DiscardStore;

/**
 * Receives one dump as the engine does, with a store behind it that forgets everything.
 *
 * <pre>
 *  DiscardReceiver SOCKET INDEX POOL_BYTES UPLOADS
 *    stdout:  ready
 *             {"rawBytes":..,"pages":..,"zeroPages":..,"seconds":..,"storedBytes":..,"waits":..}
 *    then waits for the end of stdin, so that its memory and CPU can be read from outside
 * </pre>
 */
public final class DiscardReceiver {

  private DiscardReceiver() {}

  /** Receives one dump; see the class. */
  public static void main(String[] args) throws IOException, InterruptedException {
    ReceiverConfig config =
        new ReceiverConfig(
            Long.parseLong(args[2]),
            Runtime.getRuntime().availableProcessors(),
            Integer.parseInt(args[3]),
            new AdaptiveCodec(),
            4096);
    try (WarmUp warmUp = WarmUp.begin(Path.of(args[1]).getParent(), Duration.ZERO, Duration.ZERO)) {
      warmUp.await(); // as in an engine whose task has run for a while
    }
    DiscardStore store = new DiscardStore();
    try (PageReceiver receiver =
        PageReceiver.open(
            config,
            new UploadSink(store, PackNames.unique("pages", 1, new Random(1))),
            Path.of(args[0]),
            Path.of(args[1]),
            ReceiveObserver.NONE)) {
      receiver.start();
      System.out.println("ready");
      ReceivedPages received = receiver.awaitReceived(Duration.ofMinutes(5));
      PageSet pages = receiver.finish();
      if (store.bytes() != pages.storedBytes()) {
        throw new IllegalStateException(
            "the store was given " + store.bytes() + " bytes of " + pages.storedBytes());
      }
      System.out.printf(
          Locale.ROOT,
          "{\"rawBytes\":%d,\"pages\":%d,\"zeroPages\":%d,\"seconds\":%.6f,\"storedBytes\":%d,\"waits\":%d}%n",
          received.rawBytes(),
          received.pages(),
          pages.totals().zeroPages(),
          received.seconds(),
          store.bytes(),
          receiver.waits());
    }
    while (System.in.read() >= 0) {
      // until its end
    }
  }
}
