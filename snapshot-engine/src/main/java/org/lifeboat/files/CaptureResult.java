package org.lifeboat.files;

import java.nio.file.Path;
import java.time.Instant;
import java.util.List;

/**
 * What a capture took.
 *
 * @param manifest the manifest's file
 * @param sha256 the checksum in its footer, in hexadecimal
 * @param instant when it began
 * @param entries names in the manifest but the unchanged ones
 * @param unchanged names that are as they were at the start
 * @param deleted names that are gone since the start
 * @param bytes raw bytes of content
 * @param storedBytes bytes that went into the sink
 * @param warnings one line each: what may not restore as it was
 */
public record CaptureResult(
    Path manifest,
    String sha256,
    Instant instant,
    long entries,
    long unchanged,
    long deleted,
    long bytes,
    long storedBytes,
    List<String> warnings) {}
