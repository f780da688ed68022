package org.lifeboat.vfs;

import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** How numbers lie in the journal's files: little endian, anywhere. */
final class ChangeLayout {

  static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;
  static final ValueLayout.OfInt I32 =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfLong I64 =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private ChangeLayout() {}
}
