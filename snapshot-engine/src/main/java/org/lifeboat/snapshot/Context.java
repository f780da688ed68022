package org.lifeboat.snapshot;

import java.nio.file.Path;
import java.time.Clock;
import java.util.List;
import org.lifeboat.crash.CrashPoints;
import org.lifeboat.criu.Criu;
import org.lifeboat.criu.HookServer;
import org.lifeboat.init.Children;
import org.lifeboat.init.InitClient;
import org.lifeboat.store.ObjectStore;

/**
 * What a dump and a restore of one run work with.
 *
 * @param ownerId this run's id in the store
 * @param epoch the store's epoch since this run took it
 * @param attempt the batch system's number of this attempt
 * @param command what the task runs, for the record
 * @param directory the task's working directory
 * @param runDirectory the sockets' directory
 * @param cache where packs, images and page files are kept meanwhile; wiped when a run starts
 * @param hook the program that CRIU runs as its action script
 * @param memory how many bytes a dump may buffer
 * @param crashPoints is told of every change of state
 */
public record Context(
    ObjectStore store,
    MetadataStore metadata,
    InitClient init,
    Children children,
    Criu criu,
    HookServer hooks,
    TaskFiles files,
    String ownerId,
    long epoch,
    int attempt,
    List<String> command,
    Path directory,
    Path runDirectory,
    Path cache,
    Path hook,
    long memory,
    long stdoutInode,
    long stderrInode,
    String lifeboatVersion,
    Clock clock,
    CrashPoints crashPoints) {}
