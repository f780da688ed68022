package org.lifeboat.page;

/**
 * The layout of {@code pages.index}, version 1. All fixed-size numbers are little endian; varint is
 * the unsigned LEB128 of protobuf, at most ten bytes.
 *
 * <p>The file is a header and blocks. It is written while pages arrive, by one thread, and read the
 * same way, in one pass and bounded memory: an entry is followed by the frames that hold its pages,
 * pages ascend, so the next frame always begins with the next page that has none yet. Whatever is
 * missing, doubled or out of order shows at once. A table of frames sorted for random access was
 * rejected: eager restores don't need it, and a reader can build one.
 *
 * <pre>
 * header, 32 bytes
 *    0  u8[8]  "LBPAGES" 0x0a
 *    8  u16    version, 1: a reader refuses a greater one
 *   10  u16    minor version, 0: differs where older readers need not care
 *   12  u32    page size: 4096, 16384 or 65536
 *   16  u32    range size: 65536
 *   20  u32    part size: 8388608
 *   24  u32    0
 *   28  u32    CRC32C of bytes 0 to 27
 *
 * block
 *    0  u8     kind: 1 image, 2 records, 3 packs, 4 end; a reader skips kinds from 128 on that it
 *              does not know and refuses other unknown ones
 *    1  u8     codec of the content: 0 raw, 2 zstd
 *    2  u16    0
 *    4  u32    stored length, at most 1 MiB
 *    8  u32    content length, at most 1 MiB
 *   12  u32    CRC32C of bytes 0 to 11 and of the stored bytes
 *   16  u8[]   stored bytes
 *
 * image block: begins an image, which the records blocks up to the next image block belong to
 *    0  u32    kind: 1 task, 2 shared memory
 *    4  u32    0
 *    8  u64    id
 *
 * records block: records one after the other; differences begin anew at each image block
 *   entry:  varint 1, (address - end of the entry before) / page size, pages, flags
 *   frame:  varint 2, range number - range number of the frame before, present mask, zero mask;
 *           then, unless the masks are equal:
 *           varint codec, pack number - pack number before, offset - end of the frame before in
 *           that pack (0 for a new pack), stored length, and u32 CRC32C of the stored bytes
 *   The range number is address / 65536; bit i of a mask is the page i of the range. Pack number
 *   and offset run on from image to image.
 *
 * packs block: packs one after the other, all of them in at least one block, behind all images
 *   varint key length, u8[] key, varint length, part length, number of parts, u8[32] SHA-256 of
 *   each part; a pack that is longer than a block is continued: the number of parts is followed by
 *   as many digests as fit, and the next block goes on with digests
 *
 * end block, the last 8 x 8 content bytes of the file
 *    0  u64    images      8  u64  entries    16  u64  pages       24  u64  zero pages
 *   32  u64    frames     40  u64  bytes in frames as stored       48  u64  packs
 *   56  u64    blocks before this one
 * </pre>
 */
final class IndexFormat {

  static final long MAGIC = 0x0a53454741_50424cL;
  static final int VERSION = 1;
  static final int HEADER_BYTES = 32;
  static final int BLOCK_HEADER_BYTES = 16;
  static final int MAX_BLOCK = 1 << 20;

  /** A writer ends a records block behind this many bytes. */
  static final int TARGET_BLOCK = 128 * 1024;

  static final int KIND_IMAGE = 1;
  static final int KIND_RECORDS = 2;
  static final int KIND_PACKS = 3;
  static final int KIND_END = 4;
  static final int FIRST_OPTIONAL_KIND = 128;

  static final int RECORD_ENTRY = 1;
  static final int RECORD_FRAME = 2;

  static final int IMAGE_BYTES = 16;
  static final int END_BYTES = 64;

  private IndexFormat() {}
}
