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

/** Who this run is in its store: in the run's folder, for an engine that is started again. */
final class OwnerFile {

  private static final Logger log = LoggerFactory.getLogger(OwnerFile.class);
  private static final int MAX_BYTES = 200;

  private OwnerFile() {}

  /** Whole or not at all: an engine that dies here must not leave half an id. */
  static void write(Path file, String ownerId) throws IOException {
    Path draft = file.resolveSibling("owner.new");
    Files.deleteIfExists(draft);
    Files.createFile(
        draft, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    Files.writeString(draft, ownerId);
    Files.move(draft, file, StandardCopyOption.ATOMIC_MOVE);
  }

  /** The id; empty when there is no such file, or when what is in it cannot be an id. */
  static Optional<String> read(Path file) throws IOException {
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    String id =
        Files.size(file) > MAX_BYTES
            ? ""
            : new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1).strip();
    if (!id.matches("[0-9A-Za-z-]{1,64}")) {
      log.warn("{} is damaged: this run is known by its host and process id only", file);
      return Optional.empty();
    }
    return Optional.of(id);
  }
}
