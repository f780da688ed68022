package org.lifeboat.sys;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class DeviceTest {

  private static final BytePath PIPE = BytePath.of(Path.of("a pipe"));

  @Test
  void whatAnotherProcessHasOpenOutlivesIt() throws Exception {
    Process owner =
        new ProcessBuilder(
                "python3",
                "-c",
                "import os,sys\nr,w=os.pipe()\nos.write(w,b'kept')\nprint(r,flush=True)\nsys.stdin.read()")
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    try (BufferedReader said = owner.inputReader()) {
      int theirs = Integer.parseInt(said.readLine());
      ErrnoException none =
          assertThrows(ErrnoException.class, () -> Device.of(owner.pid(), 987, PIPE));
      assertEquals(Errno.EBADF, none.errno());
      try (Device ours = Device.of(owner.pid(), theirs, PIPE);
          Arena arena = Arena.ofConfined()) {
        owner.destroyForcibly().waitFor();
        MemorySegment into = arena.allocate(16);
        assertEquals(4, ours.read(into));
        byte[] bytes = into.asSlice(0, 4).toArray(ValueLayout.JAVA_BYTE);
        assertEquals("kept", new String(bytes, StandardCharsets.US_ASCII));
        assertEquals(0, ours.read(into)); // the writer is gone, the reader is not
      }
    } finally {
      owner.destroyForcibly();
    }
  }

  @Test
  void aProcessThatIsGoneHasNothing() throws Exception {
    Process gone = new ProcessBuilder("true").start();
    assertEquals(0, gone.waitFor());
    ErrnoException failure =
        assertThrows(ErrnoException.class, () -> Device.of(gone.pid(), 0, PIPE));
    assertTrue(failure.getMessage().contains("ESRCH"), failure.getMessage());
  }
}
