package org.lifeboat.files;

import java.util.List;
import org.lifeboat.sys.BytePath;

/**
 * What a roll-back is going to do on this host, as far as can be told before.
 *
 * @param put names that are made or replaced
 * @param kept names that are right already
 * @param bytes raw bytes of content to be written
 * @param aside what is moved aside: deleted at the snapshot's instant, unknown to it and newer, or
 *     in the way
 * @param missing names that were unchanged at the snapshot, and are not on this host; their content
 *     was not captured
 * @param differing names that were unchanged at the snapshot, and are different on this host
 * @param warnings one line each
 */
public record RollBackPlan(
    long put,
    long kept,
    long bytes,
    List<BytePath> aside,
    long missing,
    long differing,
    List<String> warnings) {}
