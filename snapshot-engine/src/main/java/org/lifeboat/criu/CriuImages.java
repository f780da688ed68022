package org.lifeboat.criu;

import java.io.IOException;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * What Lifeboat reads from CRIU's images, and the one thing that it changes in them.
 *
 * <p>The change: CRIU assumes that the tree's root is PID 1 of its namespace. A process whose
 * session leader has ended (the classic daemon) is restored through a helper that dies before the
 * root is its children's reaper again, so it comes back as a child of init, outside the tree, and
 * the next dump would lose it. Its session is therefore set to the root's before a restore; then
 * CRIU needs no helper. The process sees another {@code getsid()}, to which no effect is known.
 */
public final class CriuImages {

  private static final int TCP_ESTABLISHED = 1;

  private CriuImages() {}

  /** The processes of the tree, in the order in which CRIU creates them: the root first. */
  public static List<TreeProcess> processes(Path images) throws IOException {
    List<TreeProcess> processes = new ArrayList<>();
    for (byte[] entry : Image.read(images.resolve("pstree.img")).entries()) {
      int pid = 0;
      int parent = 0;
      int session = 0;
      Set<Integer> threads = new LinkedHashSet<>();
      for (Proto.Field field : Proto.parse(entry)) {
        switch (field.number()) {
          case 1 -> pid = (int) field.value();
          case 2 -> parent = (int) field.value();
          case 4 -> session = (int) field.value();
          case 5 -> threads.addAll(numbers(field));
          default -> {}
        }
      }
      if (!threads.contains(pid)) {
        threads.clear(); // a zombie: CRIU writes an id that it has never set
      }
      threads.add(pid);
      processes.add(new TreeProcess(pid, parent, session, Set.copyOf(threads)));
    }
    if (processes.isEmpty()) {
      throw new CriuException(
          "malformed image: " + images.resolve("pstree.img") + " is empty", null);
    }
    return processes;
  }

  private static List<Integer> numbers(Proto.Field field) throws CriuException {
    if (field.wire() == 0) {
      return List.of((int) field.value());
    }
    List<Integer> packed = new ArrayList<>();
    byte[] bytes = field.bytes();
    int value = 0;
    int shift = 0;
    for (byte b : bytes) {
      value |= (b & 0x7f) << shift;
      shift += 7;
      if (b >= 0) {
        packed.add(value);
        value = 0;
        shift = 0;
      }
    }
    return packed;
  }

  /**
   * Puts processes whose session leader has ended into the root's session.
   *
   * @return the processes that were changed
   */
  public static List<Integer> joinOrphanSessions(Path images) throws IOException {
    Path file = images.resolve("pstree.img");
    List<TreeProcess> processes = processes(images);
    Set<Integer> alive = new HashSet<>();
    processes.forEach(process -> alive.add(process.pid()));
    int root = processes.getFirst().session();
    List<Integer> changed = new ArrayList<>();
    Image image = Image.read(file);
    List<byte[]> entries = new ArrayList<>();
    for (int i = 0; i < processes.size(); i++) {
      TreeProcess process = processes.get(i);
      byte[] entry = image.entries().get(i);
      if (!alive.contains(process.session()) && process.session() != root) {
        changed.add(process.pid());
        entry =
            Proto.write(
                Proto.parse(entry).stream()
                    .map(field -> field.number() == 4 ? Proto.Field.varint(4, root) : field)
                    .toList());
      }
      entries.add(entry);
    }
    if (!changed.isEmpty()) {
      new Image(image.magic(), entries).write(file);
    }
    return changed;
  }

  /** The local addresses of the established TCP connections in the images. */
  public static Set<InetAddress> connectedAddresses(Path images) throws IOException {
    Path file = images.resolve("files.img");
    Set<InetAddress> addresses = new LinkedHashSet<>();
    if (!Files.exists(file)) {
      return addresses;
    }
    for (byte[] entry : Image.read(file).entries()) {
      for (Proto.Field field : Proto.parse(entry)) {
        if (field.number() == 4 && field.wire() == 2) {
          connectedAddress(field.bytes(), addresses);
        }
      }
    }
    return addresses;
  }

  private static void connectedAddress(byte[] socket, Set<InetAddress> into) throws IOException {
    int family = 0;
    int protocol = 0;
    int state = 0;
    List<Integer> source = new ArrayList<>();
    for (Proto.Field field : Proto.parse(socket)) {
      switch (field.number()) {
        case 3 -> family = (int) field.value();
        case 5 -> protocol = (int) field.value();
        case 6 -> state = (int) field.value();
        case 11 -> source.addAll(numbers(field));
        default -> {}
      }
    }
    int words = family == 2 ? 1 : 4;
    if (protocol != 6 || state != TCP_ESTABLISHED || source.size() < words) {
      return;
    }
    ByteBuffer address = ByteBuffer.allocate(4 * words).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < words; i++) {
      address.putInt(source.get(i));
    }
    into.add(InetAddress.getByAddress(address.array()));
  }

  /**
   * The files that must be there under their name when CRIU restores: open and mapped ones but for
   * those that are deleted (their content is in the images) and those of the kernel's own file
   * systems.
   */
  public static List<NamedFile> namedFiles(Path images) throws IOException {
    Path file = images.resolve("files.img");
    if (!Files.exists(file)) {
      return List.of();
    }
    Set<Long> remapped = new HashSet<>();
    Path remaps = images.resolve("remap-fpath.img");
    if (Files.exists(remaps)) {
      for (byte[] entry : Image.read(remaps).entries()) {
        for (Proto.Field field : Proto.parse(entry)) {
          if (field.number() == 1 || field.number() == 2) {
            remapped.add(field.value());
          }
        }
      }
    }
    List<NamedFile> named = new ArrayList<>();
    for (byte[] entry : Image.read(file).entries()) {
      for (Proto.Field field : Proto.parse(entry)) {
        if (field.number() == 3 && field.wire() == 2) {
          namedFile(field.bytes(), remapped).ifPresent(named::add);
        }
      }
    }
    return named;
  }

  private static Optional<NamedFile> namedFile(byte[] regular, Set<Long> remapped)
      throws CriuException {
    String name = "";
    long size = -1;
    for (Proto.Field field : Proto.parse(regular)) {
      switch (field.number()) {
        case 1 -> {
          if (remapped.contains(field.value())) {
            return Optional.empty();
          }
        }
        case 6 -> name = new String(field.bytes(), StandardCharsets.ISO_8859_1);
        case 8 -> size = field.value();
        default -> {}
      }
    }
    String path = "/" + name.replaceFirst("^\\.?/*", "");
    return path.equals("/") || path.matches("/(proc|sys|dev)(/.*)?")
        ? Optional.empty()
        : Optional.of(new NamedFile(path, size));
  }

  /**
   * A file that CRIU opens by its name.
   *
   * @param path as raw bytes, one a character
   * @param size that CRIU insists on, in bytes; -1 for any
   */
  public record NamedFile(String path, long size) {}

  /** A process of the tree. */
  public record TreeProcess(int pid, int parent, int session, Set<Integer> threads) {}
}
