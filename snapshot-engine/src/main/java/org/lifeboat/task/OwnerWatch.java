package org.lifeboat.task;

import java.util.Optional;
import java.util.function.Consumer;
import org.lifeboat.snapshot.MetadataStore;
import org.lifeboat.snapshot.Ownership;
import org.lifeboat.snapshot.SnapshotException;
import org.lifeboat.store.StoreException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Beats for this run, and looks before each beat whether it still owns the store. */
final class OwnerWatch implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(OwnerWatch.class);

  private final Ownership ownership;
  private final MetadataStore metadata;
  private final String ownerId;
  private final Consumer<String> lost;
  private final Ownership.Sleeper sleeper;
  private final Thread thread = Thread.ofPlatform().daemon().name("owner").unstarted(this::loop);

  /**
   * @param lost is told once, in words, that the store has another owner
   */
  OwnerWatch(
      Ownership ownership,
      MetadataStore metadata,
      String ownerId,
      Ownership.Sleeper sleeper,
      Consumer<String> lost) {
    this.sleeper = sleeper;
    this.ownership = ownership;
    this.metadata = metadata;
    this.ownerId = ownerId;
    this.lost = lost;
  }

  void start() {
    thread.start();
  }

  private void loop() {
    boolean failing = false;
    while (true) {
      try {
        sleeper.sleep(Ownership.BEAT);
        // before each beat: one of a run that has lost the store would hide those of the owner
        Optional<MetadataStore.Current> now = metadata.look();
        // a copy may be of the owner before: this one's next change decides
        if (now.isPresent()
            && now.get().damage().isEmpty()
            && !now.get().document().owner().id().equals(ownerId)) {
          lost.accept(
              "another run has taken the store over, on " + now.get().document().owner().host());
          return;
        }
        ownership.beat(ownerId, System.nanoTime());
        if (failing) {
          log.info("the store answers again");
          failing = false;
        }
      } catch (InterruptedException e) {
        return;
      } catch (StoreException | SnapshotException | RuntimeException e) {
        if (!failing) {
          log.warn("the heartbeat failed, it is tried again: {}", e.getMessage());
          failing = true;
        }
      }
    }
  }

  @Override
  public void close() {
    thread.interrupt();
  }
}
