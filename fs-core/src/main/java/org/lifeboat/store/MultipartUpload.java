package org.lifeboat.store;

import java.nio.ByteBuffer;
import java.util.List;
import org.lifeboat.store.ObjectStore.ObjectInfo;

/**
 * An object that comes into being part by part. Parts are numbered 1 to 10,000 and may be sent in
 * any order, in parallel and again (the last one wins); all but the last must have at least 5 MiB.
 * Thread-safe.
 */
public interface MultipartUpload {

  String key();

  /** What {@link ObjectStore#resume} takes, also from another process. */
  String id();

  /**
   * Sends one part from the buffer's remaining bytes; the buffer's position is left as it was.
   * Retried inside, alone.
   */
  Part part(int number, ByteBuffer body) throws StoreException;

  /** The parts that the store has, in ascending order of their numbers. */
  List<Part> parts() throws StoreException;

  /**
   * Makes the object visible, from all parts that this upload has (after {@link
   * ObjectStore#resume}: that the store has). No part may be under way.
   *
   * @throws StoreException as {@link ObjectStore#put}. After {@link
   *     StoreException.Kind#PRECONDITION_FAILED} the upload is still there and must be aborted.
   */
  ObjectInfo complete(Precondition precondition) throws StoreException;

  /** Throws the parts away. That the upload is gone already is no error. */
  void abort() throws StoreException;

  /** A part that the store has: its number, its size in bytes, and the store's opaque tag. */
  record Part(int number, long size, String tag) {}
}
