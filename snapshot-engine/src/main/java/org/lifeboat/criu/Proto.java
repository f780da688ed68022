package org.lifeboat.criu;

import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.List;

/**
 * As much of the protobuf wire format as CRIU's images need: fields in their order, unknown ones
 * kept as they are, so that an image can be changed in one field and written back.
 */
final class Proto {

  private Proto() {}

  /**
   * A field.
   *
   * @param wire 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes
   * @param value the varint's value; for the others undefined
   * @param bytes the raw bytes of the others
   */
  @SuppressWarnings("ArrayRecordComponent") // never compared, never shared
  record Field(int number, int wire, long value, byte[] bytes) {
    static Field varint(int number, long value) {
      return new Field(number, 0, value, new byte[0]);
    }
  }

  static List<Field> parse(byte[] message) throws CriuException {
    List<Field> fields = new ArrayList<>();
    Cursor cursor = new Cursor(message);
    while (cursor.at < message.length) {
      long tag = cursor.varint();
      int number = (int) (tag >>> 3);
      int wire = (int) (tag & 7);
      switch (wire) {
        case 0 -> fields.add(Field.varint(number, cursor.varint()));
        case 1 -> fields.add(new Field(number, wire, 0, cursor.take(8)));
        case 2 -> fields.add(new Field(number, wire, 0, cursor.take(cursor.varint())));
        case 5 -> fields.add(new Field(number, wire, 0, cursor.take(4)));
        default -> throw new CriuException("malformed image: wire type " + wire, null);
      }
    }
    return fields;
  }

  static byte[] write(List<Field> fields) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (Field field : fields) {
      varint(out, ((long) field.number << 3) | field.wire);
      if (field.wire == 0) {
        varint(out, field.value);
      } else {
        if (field.wire == 2) {
          varint(out, field.bytes.length);
        }
        out.writeBytes(field.bytes);
      }
    }
    return out.toByteArray();
  }

  private static void varint(ByteArrayOutputStream out, long value) {
    long rest = value;
    while ((rest & ~0x7fL) != 0) {
      out.write((int) ((rest & 0x7f) | 0x80));
      rest >>>= 7;
    }
    out.write((int) rest);
  }

  private static final class Cursor {
    private final byte[] bytes;
    private int at;

    Cursor(byte[] bytes) {
      this.bytes = bytes;
    }

    long varint() throws CriuException {
      long value = 0;
      for (int shift = 0; shift < 64; shift += 7) {
        if (at >= bytes.length) {
          throw new CriuException("malformed image: it ends within a number", null);
        }
        byte b = bytes[at++];
        value |= (long) (b & 0x7f) << shift;
        if (b >= 0) {
          return value;
        }
      }
      throw new CriuException("malformed image: a number of more than 64 bits", null);
    }

    byte[] take(long length) throws CriuException {
      if (length < 0 || length > bytes.length - at) {
        throw new CriuException(
            "malformed image: a field of " + length + " bytes does not fit", null);
      }
      byte[] out = java.util.Arrays.copyOfRange(bytes, at, at + (int) length);
      at += (int) length;
      return out;
    }
  }
}
