package org.lifeboat.task;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The exit code of a run, in its folder, from the moment on in which the store knows how it ended:
 * an engine that is started behind that must not ask again, for the store may have another owner by
 * then.
 */
final class OutcomeFile {

  private static final Logger log = LoggerFactory.getLogger(OutcomeFile.class);
  private static final String NAME = "outcome";
  private static final int MAX_BYTES = 16;

  private OutcomeFile() {}

  /** Whole or not at all. Without it the next engine asks the store, so a failure is only told. */
  static void write(Path runDirectory, int code) {
    Path draft = runDirectory.resolve(NAME + ".new");
    try {
      Files.deleteIfExists(draft);
      Files.createFile(
          draft,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
      Files.writeString(draft, Integer.toString(code));
      Files.move(draft, runDirectory.resolve(NAME), StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      log.warn("how the run ends could not be kept for another engine: {}", e.toString());
    }
  }

  /** Empty when the run has not ended, or when what is there cannot be an exit code. */
  static Optional<Integer> read(Path runDirectory) throws IOException {
    Path file = runDirectory.resolve(NAME);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    String text =
        Files.size(file) > MAX_BYTES
            ? ""
            : new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1).strip();
    if (!text.matches("[0-9]{1,3}") || Integer.parseInt(text) > 255) {
      log.warn("{} is damaged: the store is asked how the run ended", file);
      return Optional.empty();
    }
    return Optional.of(Integer.parseInt(text));
  }
}
