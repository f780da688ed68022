package org.lifeboat.protocol;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.lifeboat.page.ImageId;

/**
 * One message of CRIU's page protocol, as the dumping side sends it.
 *
 * <p>The header is a C struct in the byte order of the host (all hosts that we run on are little
 * endian), {@code struct page_server_iov} of CRIU's page-xfer.c:
 *
 * <pre>
 *   CRIU 4.2 and newer, 32 bytes          CRIU up to 4.1, 24 bytes
 *    0  u32  cmd                           0  u32  cmd
 *    4  u32  struct padding, any value     4  u32  nr_pages
 *    8  u64  nr_pages                      8  u64  vaddr
 *   16  u64  vaddr                        16  u64  dst_id
 *   24  u64  dst_id
 * </pre>
 *
 * The low 16 bits of cmd are the command, the high 16 bits the flags of ADD_F. dst_id is an id
 * shifted left by eight, or'ed with the kind of image. There is no version negotiation, so the two
 * forms are told apart by the first message ({@link #isOldForm}); only the newer one is spoken.
 *
 * @param command what is asked
 * @param flags the pagemap flags of an ADD_F; otherwise 0
 * @param pages how many pages; 0 unless ADD_F
 * @param vaddr the address of the first page in bytes; 0 unless ADD_F
 * @param dst the image, as it is on the wire
 */
public record PageMessage(Command command, int flags, long pages, long vaddr, long dst) {

  /** Size of the header in bytes. */
  public static final int HEADER_BYTES = 32;

  /** Size in bytes of the header that CRIU up to 4.1 sends: as many may be waited for at first. */
  public static final int OLD_HEADER_BYTES = 24;

  private static final int TYPE_TASK = 1;
  private static final int TYPE_SHMEM = 2;

  /** What the dumping side can ask. */
  public enum Command {
    /** Opens an image, closing the one before; the reply is one byte: has it a parent? */
    OPEN2(4),
    /** Asks if a parent of the image exists; the reply is an i32. */
    PARENT(5),
    /** A pagemap entry; its pages follow when it is PRESENT. No reply. */
    ADD_F(6),
    /** All was sent; the reply is an i32 status. Sent over TCP. */
    CLOSE(0x1023),
    /** As CLOSE, sent over a socket that was handed down. */
    FORCE_CLOSE(0x1024);

    private final int code;

    Command(int code) {
      this.code = code;
    }

    /** The number on the wire. */
    public int code() {
      return code;
    }
  }

  /**
   * Whether the first message of a connection is of the 24-byte form. That message carries neither
   * address nor pages, so its bytes 16 to 23 are a dst_id, never 0, in the old form, and the
   * address, always 0, in the new one.
   *
   * @param first at least {@link #OLD_HEADER_BYTES} bytes from index 0 on
   */
  public static boolean isOldForm(ByteBuffer first) {
    return first.order(ByteOrder.LITTLE_ENDIAN).getLong(16) != 0;
  }

  /** What to tell the user when {@link #isOldForm} is true. */
  public static ProtocolException oldForm() {
    return new ProtocolException(
        "this CRIU is older than 4.2: it speaks the page protocol with headers of 24 bytes (install"
            + " CRIU 4.2 or newer, or name one with LIFEBOAT_CRIU)");
  }

  /**
   * Reads a header from index 0 of the buffer, whatever its position and limit.
   *
   * @throws ProtocolException when a field has a value that no CRIU 4.2 sends
   */
  public static PageMessage decode(ByteBuffer header, int pageSize) throws ProtocolException {
    header.order(ByteOrder.LITTLE_ENDIAN);
    int cmd = header.getInt(0);
    long pages = header.getLong(8);
    long vaddr = header.getLong(16);
    long dst = header.getLong(24);
    int flags = cmd >>> 16;
    Command command =
        switch (cmd & 0xffff) {
          case 4 -> Command.OPEN2;
          case 5 -> Command.PARENT;
          case 6 -> Command.ADD_F;
          case 0x1023 -> Command.CLOSE;
          case 0x1024 -> Command.FORCE_CLOSE;
          default ->
              throw new ProtocolException(
                  "unknown command 0x"
                      + Integer.toHexString(cmd & 0xffff)
                      + " from CRIU (is it a version newer than 4.2, or run with --compress?)");
        };
    PageMessage message = new PageMessage(command, flags, pages, vaddr, dst);
    if (command == Command.ADD_F) {
      message.checkEntry(pageSize);
    } else if (flags != 0 || pages != 0 || vaddr != 0) {
      throw new ProtocolException(message + ": flags, pages and address must be 0");
    }
    return message;
  }

  private void checkEntry(int pageSize) throws ProtocolException {
    if (pages <= 0 || pages > ImageId.MAX_ADDRESS / pageSize) {
      throw new ProtocolException(this + ": an entry of that many pages cannot be");
    }
    if (vaddr < 0 || vaddr > ImageId.MAX_ADDRESS - pages * pageSize) {
      throw new ProtocolException(this + ": the address is out of range");
    }
    if (vaddr % pageSize != 0) {
      throw new ProtocolException(
          this + ": the address is not aligned to the page size of " + pageSize + " bytes");
    }
  }

  /** The image that {@link #dst} names. */
  public ImageId image() throws ProtocolException {
    long id = dst >>> 8;
    return switch ((int) (dst & 0xff)) {
      case TYPE_TASK -> new ImageId(ImageId.Kind.TASK, id);
      case TYPE_SHMEM -> new ImageId(ImageId.Kind.SHMEM, id);
      default -> throw new ProtocolException(this + ": unknown kind of image");
    };
  }

  /** The message that opens the image, asks for its parent, or adds to it. */
  public static PageMessage of(Command command, ImageId image, int flags, long pages, long vaddr) {
    int type = image.kind() == ImageId.Kind.TASK ? TYPE_TASK : TYPE_SHMEM;
    return new PageMessage(command, flags, pages, vaddr, image.id() << 8 | type);
  }

  /** The message that ends a dump. */
  public static PageMessage close() {
    return new PageMessage(Command.FORCE_CLOSE, 0, 0, 0, 0);
  }

  /** Writes the header at the buffer's position. */
  public void encode(ByteBuffer into) {
    into.order(ByteOrder.LITTLE_ENDIAN)
        .putInt(command.code() | flags << 16)
        .putInt(0)
        .putLong(pages)
        .putLong(vaddr)
        .putLong(dst);
  }

  @Override
  public String toString() {
    return command
        + " dst 0x"
        + Long.toHexString(dst)
        + " address 0x"
        + Long.toHexString(vaddr)
        + " pages "
        + Long.toUnsignedString(pages)
        + " flags "
        + flags;
  }
}
