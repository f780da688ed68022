package org.lifeboat.receive;

import java.io.IOException;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.HexFormat;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.lifeboat.page.Digests;
import org.lifeboat.store.Keys;

/**
 * What another process must know to finish a spill: a text file, one fact a line, only ever
 * appended to. Each line ends in a blank and its CRC32C in eight hexadecimal digits; reading ends
 * at the first line whose checksum is wrong, which is the one that was being written at a crash.
 * Keys and upload ids are URL-encoded.
 *
 * <pre>
 *   lifeboat-spill 1                    the format's version
 *   pack N KEY                          pack N was begun; its parts are in pack-N.spill
 *   upload N ID                         a multipart upload was begun for it
 *   part N NUMBER LENGTH SHA256         a part is in the file, at (NUMBER - 1) x 8 MiB
 *   complete N LENGTH                   all parts of the pack are in the file
 *   sealed                              all packs are complete
 *   stored N                            the object is in the store
 * </pre>
 *
 * It outlives this process, not this host: nothing is forced to the disk while tasks are frozen.
 */
final class SpillJournal implements AutoCloseable {

  static final String NAME = "spill.journal";
  private static final String HEAD = "lifeboat-spill 1";
  private static final int MAX_BYTES = 64 << 20;

  private final FileChannel file;

  /** What the journal says. */
  static final class State {
    private final Map<Integer, Pack> packs = new TreeMap<>();
    private boolean sealed;
    private long length;

    Map<Integer, Pack> packs() {
      return packs;
    }

    boolean sealed() {
      return sealed;
    }
  }

  /** What it says of a pack. */
  static final class Pack {
    private final int number;
    private final String key;
    private final Map<Integer, String> digests = new TreeMap<>();
    private String uploadId;
    private long length = -1;
    private boolean stored;

    Pack(int number, String key) {
      this.number = number;
      this.key = key;
    }

    int number() {
      return number;
    }

    String key() {
      return key;
    }

    Map<Integer, String> digests() {
      return digests;
    }

    String uploadId() {
      return uploadId;
    }

    long length() {
      return length;
    }

    boolean stored() {
      return stored;
    }

    void uploading(String id) {
      uploadId = id;
    }
  }

  private SpillJournal(FileChannel file) {
    this.file = file;
  }

  /** Begins a journal, where none is. */
  static SpillJournal create(Path directory) throws IOException {
    SpillJournal journal =
        new SpillJournal(
            FileChannel.open(
                directory.resolve(NAME),
                Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE),
                PosixFilePermissions.asFileAttribute(
                    PosixFilePermissions.fromString("rw-------"))));
    journal.line(HEAD);
    return journal;
  }

  /** Goes on behind what was read; a line that was cut off is removed. */
  static SpillJournal append(Path directory, State state) throws IOException {
    FileChannel file = FileChannel.open(directory.resolve(NAME), StandardOpenOption.WRITE);
    file.truncate(state.length).position(state.length);
    return new SpillJournal(file);
  }

  private synchronized void line(String text) throws IOException {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    ByteBuffer line =
        StandardCharsets.UTF_8.encode(text + " " + checksum(ByteBuffer.wrap(bytes)) + "\n");
    while (line.hasRemaining()) {
      file.write(line);
    }
  }

  private static String checksum(ByteBuffer bytes) {
    return HexFormat.of().toHexDigits(Digests.crc32c(bytes, 0, bytes.limit()));
  }

  private static String encode(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8);
  }

  private static String decode(String text) {
    return URLDecoder.decode(text, StandardCharsets.UTF_8);
  }

  void pack(int number, String key) throws IOException {
    line("pack " + number + " " + encode(key));
  }

  void upload(int number, String id) throws IOException {
    line("upload " + number + " " + encode(id));
  }

  void part(int number, int part, int length, String sha256) throws IOException {
    line("part " + number + " " + part + " " + length + " " + sha256);
  }

  void complete(int number, long length) throws IOException {
    line("complete " + number + " " + length);
  }

  void sealed() throws IOException {
    line("sealed");
  }

  void stored(int number) throws IOException {
    line("stored " + number);
  }

  /** Reads as far as it is good. */
  static State read(Path directory) throws IOException {
    Path path = directory.resolve(NAME);
    if (Files.size(path) > MAX_BYTES) {
      throw new ReceiveException(path + " is too long for a journal: remove it");
    }
    State state = new State();
    boolean first = true;
    String all = Files.readString(path, StandardCharsets.ISO_8859_1);
    for (int end = all.indexOf('\n'); end >= 0; end = all.indexOf('\n', end + 1)) {
      String line = all.substring((int) state.length, end);
      int at = line.lastIndexOf(' ');
      if (at < 0) {
        break;
      }
      String text = line.substring(0, at);
      ByteBuffer bytes = ByteBuffer.wrap(text.getBytes(StandardCharsets.ISO_8859_1));
      if (!line.substring(at + 1).equals(checksum(bytes))) {
        break;
      }
      if (first && !text.equals(HEAD)) {
        throw new ReceiveException(
            path + " is of a format that this version does not know: " + text);
      }
      if (!first) {
        apply(state, text.split(" "));
      }
      first = false;
      state.length = end + 1L;
    }
    return state;
  }

  private static void apply(State state, String[] words) throws IOException {
    try {
      if (words[0].equals("sealed")) {
        state.sealed = true;
        return;
      }
      int number = Integer.parseInt(words[1]);
      if (words[0].equals("pack")) {
        state.packs.put(number, new Pack(number, Keys.check(decode(words[2]))));
        return;
      }
      Pack pack = state.packs.get(number);
      switch (words[0]) {
        case "upload" -> pack.uploadId = decode(words[2]);
        case "part" -> pack.digests.put(Integer.parseInt(words[2]), words[4]);
        case "complete" -> pack.length = Long.parseLong(words[2]);
        case "stored" -> pack.stored = true;
        default -> throw new ReceiveException("unknown word in a spill's journal: " + words[0]);
      }
    } catch (RuntimeException e) {
      throw new ReceiveException(
          "a spill's journal is inconsistent: " + String.join(" ", words), e);
    }
  }

  @Override
  public void close() throws IOException {
    file.close();
  }
}
