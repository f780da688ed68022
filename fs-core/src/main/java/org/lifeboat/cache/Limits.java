package org.lifeboat.cache;

/**
 * How much of the disk a cache may take.
 *
 * @param maxBytes of allocated disk blocks, contents and their maps together; from 1 on
 * @param freeFloorBytes of the file system that the cache leaves free; from 0 on
 */
public record Limits(long maxBytes, long freeFloorBytes) {

  public Limits {
    if (maxBytes < 1 || freeFloorBytes < 0) {
      throw new IllegalArgumentException("limits " + maxBytes + ", " + freeFloorBytes);
    }
  }
}
