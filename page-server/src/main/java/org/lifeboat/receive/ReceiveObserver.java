package org.lifeboat.receive;

import org.lifeboat.page.ImageId;
import org.lifeboat.page.PackWriter;

/** Is told how a dump goes, on the threads that do the work: it must return at once. */
public interface ReceiveObserver extends PackWriter.PartObserver {

  /** One that does not care. */
  ReceiveObserver NONE = new ReceiveObserver() {};

  /** CRIU connected. */
  default void connected() {}

  /** CRIU began to send an image. */
  default void imageOpened(ImageId image) {}

  /** All pages were received and acknowledged. */
  default void received(ReceivedPages pages) {}

  @Override
  default void partStored(String key, int number, int bytes) {}

  /** The first failure; all that follows is its consequence. */
  default void failed(ReceiveException failure) {}
}
