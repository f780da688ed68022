package org.lifeboat.task;

import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Why a command could not be started, as a shell would say it: 127 when it is not there, 126 when
 * it cannot be executed.
 */
record StartFailure(int code, String message) {

  private static final int ENOENT = 2;
  private static final int E2BIG = 7;
  private static final int ENOEXEC = 8;
  private static final int ENOMEM = 12;
  private static final int EACCES = 13;
  private static final int ENOTDIR = 20;
  private static final int EAGAIN = 11;

  /**
   * @param errno of chdir(2) or execve(2)
   * @param words what the system said
   */
  static StartFailure of(String command, Path directory, int errno, String words) {
    if (!Files.isDirectory(directory)) {
      return new StartFailure(
          ExitCodes.HOST,
          "the working directory " + directory + " is gone (make it, or start from another)");
    }
    Path file = directory.resolve(command);
    boolean there = command.contains("/") && Files.exists(file);
    return switch (errno) {
      case ENOENT ->
          there
              ? new StartFailure(
                  ExitCodes.NOT_FOUND,
                  command
                      + ": the interpreter that its first line names, or its dynamic loader, is not"
                      + " on this host (install it, or correct the line)")
              : new StartFailure(
                  ExitCodes.NOT_FOUND,
                  command
                      + ": command not found ("
                      + (command.contains("/")
                          ? "is the path right?"
                          : "is it installed, and in a folder of PATH?")
                      + ")");
      case EACCES, ENOTDIR ->
          new StartFailure(
              ExitCodes.NOT_EXECUTABLE,
              command
                  + (there && Files.isDirectory(file)
                      ? ": is a directory (name a program in it)"
                      : errno == ENOTDIR
                          ? ": a part of this path is no directory (is the path right?)"
                          : ": Permission denied (chmod +x makes a file executable; is its file"
                              + " system mounted noexec?)"));
      case ENOEXEC ->
          new StartFailure(
              ExitCodes.NOT_EXECUTABLE,
              command
                  + ": no program that this host can execute (a script needs a first line such as"
                  + " #!/bin/sh; a binary must be of this CPU architecture)");
      case E2BIG ->
          new StartFailure(
              ExitCodes.NOT_EXECUTABLE,
              command + ": arguments and environment are too long (shorten them)");
      case ENOMEM, EAGAIN ->
          new StartFailure(
              ExitCodes.HOST,
              command
                  + " cannot be started: "
                  + words
                  + " (give the container more memory or processes)");
      default -> new StartFailure(ExitCodes.NOT_EXECUTABLE, command + ": " + words);
    };
  }
}
