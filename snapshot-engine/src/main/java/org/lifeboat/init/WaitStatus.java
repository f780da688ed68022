package org.lifeboat.init;

/** A status as {@code waitpid(2)} gives it. */
public record WaitStatus(int raw) {

  public boolean signalled() {
    return (raw & 0x7f) != 0;
  }

  /** The signal that ended the process; 0 when it exited. */
  public int signal() {
    return raw & 0x7f;
  }

  /** The exit code as a shell gives it: the process's own, or 128 + n for signal n. */
  public int exitCode() {
    return signalled() ? 128 + signal() : (raw >> 8) & 0xff;
  }

  public boolean success() {
    return raw == 0;
  }

  @Override
  public String toString() {
    return signalled() ? "killed by signal " + signal() : "exit code " + exitCode();
  }
}
