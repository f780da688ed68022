package org.lifeboat.init;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.lifeboat.store.TestData;

final class FramesTest {

  /** Bytes in memory that come, and are taken, one to three at a time. */
  private static final class Trickle implements ByteChannel {
    private final ByteBuffer in;
    private final java.io.ByteArrayOutputStream out = new java.io.ByteArrayOutputStream();
    private final Random random = new Random(1);

    Trickle(byte[] bytes) {
      in = ByteBuffer.wrap(bytes);
    }

    @Override
    public int read(ByteBuffer into) {
      if (!in.hasRemaining()) {
        return -1;
      }
      int n = Math.min(1 + random.nextInt(3), Math.min(in.remaining(), into.remaining()));
      for (int i = 0; i < n; i++) {
        into.put(in.get());
      }
      return n;
    }

    @Override
    public int write(ByteBuffer from) {
      int n = Math.min(1 + random.nextInt(3), from.remaining());
      for (int i = 0; i < n; i++) {
        out.write(from.get());
      }
      return n;
    }

    @Override
    public boolean isOpen() {
      return true;
    }

    @Override
    public void close() {}
  }

  private static byte[] frame(List<String> fields) throws IOException {
    Trickle channel = new Trickle(new byte[0]);
    Frames.write(channel, fields);
    return channel.out.toByteArray();
  }

  @Test
  void isWhatTheContractSays() throws IOException {
    assertArrayEquals(new byte[] {5, 0, 0, 0, 'o', 'k', 0, '7', 0}, frame(List.of("ok", "7", "")));
  }

  @Test
  void comesBackAsItWas() throws IOException {
    for (List<String> fields :
        List.of(
            List.of("hello", "1"),
            List.of("", "", ""),
            List.of("task", Frames.raw("/caf\u00e9/\ud83d\ude00"), "\u0080\u00ff"),
            List.of("x".repeat(Frames.MAX_LENGTH)))) {
      assertEquals(fields, Frames.read(new Trickle(frame(fields))));
    }
  }

  @Test
  void severalInARow() throws IOException {
    byte[] one = frame(List.of("a"));
    byte[] both = Arrays.copyOf(one, 2 * one.length);
    System.arraycopy(one, 0, both, one.length, one.length);
    Trickle channel = new Trickle(both);
    assertEquals(List.of("a"), Frames.read(channel));
    assertEquals(List.of("a"), Frames.read(channel));
    assertNull(Frames.read(channel));
  }

  @Test
  void everyByteOfAnArgumentPasses() {
    StringBuilder raw = new StringBuilder();
    for (int c = 1; c < 256; c++) {
      raw.append((char) c);
    }
    assertEquals("caf\u00e9", Frames.text(Frames.raw("caf\u00e9")));
    assertEquals(255, raw.length());
    List<String> fields = List.of(raw.toString());
    assertEquals(
        fields,
        org.junit.jupiter.api.Assertions.assertDoesNotThrow(
            () -> Frames.read(new Trickle(frame(fields)))));
  }

  @Test
  void tooLongIsRefusedOnBothSides() {
    assertThrows(IOException.class, () -> frame(List.of("x".repeat(Frames.MAX_LENGTH + 1))));
    assertThrows(
        IOException.class, () -> Frames.read(new Trickle(new byte[] {1, 0, 0x10, 0, 'x'})));
    assertThrows(IOException.class, () -> Frames.read(new Trickle(new byte[] {0, 0, 0, 0})));
    assertThrows(IOException.class, () -> Frames.read(new Trickle(new byte[] {-1, -1, -1, -1})));
  }

  @Test
  void cutOffAnywhereIsAnEnd() throws IOException {
    byte[] whole = frame(List.of("exited", "final-1", "0"));
    for (int length = 1; length < whole.length; length++) {
      byte[] part = Arrays.copyOf(whole, length);
      assertThrows(EOFException.class, () -> Frames.read(new Trickle(part)));
    }
  }

  @Test
  void rubbishIsReadOrRefused() {
    Random random = new TestData("frames").random();
    List<String> seen = new ArrayList<>();
    for (int round = 0; round < 3000; round++) {
      byte[] bytes = new byte[random.nextInt(40)];
      random.nextBytes(bytes);
      if (bytes.length > 3 && round % 2 == 0) {
        bytes[1] = bytes[2] = bytes[3] = 0;
        bytes[0] = (byte) (bytes.length - 4 - random.nextInt(2));
      }
      try {
        List<String> fields = Frames.read(new Trickle(bytes));
        if (fields != null) {
          assertTrue(fields.size() >= 1);
          seen.addAll(fields);
        }
      } catch (IOException e) {
        assertTrue(e.getMessage() != null);
      }
    }
    assertTrue(seen.size() > 100);
  }
}
