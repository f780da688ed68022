package org.lifeboat.cache;

import org.lifeboat.crash.CrashPoint;

/** Where the cache can be met by the death of its process. */
public enum CachePoint implements CrashPoint {
  /** A new directory has its layout file, and no contents yet. */
  CACHE_LAYOUT,
  /** A new content, empty and dirty, has its file. */
  CACHE_CREATED,
  /** The map of a clean content exists, its file does not. */
  CACHE_MAP,
  /** Its file exists as well, and is empty. */
  CACHE_FILE,
  /** Fetched blocks are in the file, the map does not know. */
  CACHE_STORED,
  /** The map knows of them. */
  CACHE_RECORDED,
  /** A clean content was emptied in order to be written anew; it is not dirty yet. */
  CACHE_EMPTIED,
  /** A content has just become dirty by its name. */
  CACHE_DIRTY,
  /** The new map of a content that is about to be clean has a temporary name. */
  CACHE_CLEAN_TEMPORARY,
  /** The new map has its name; the content is still called dirty. */
  CACHE_CLEAN_MAP,
  /** The content is called clean. */
  CACHE_CLEAN,
  /** Blocks are evicted from the map, not from the file. */
  CACHE_ERASED,
  /** They are evicted from the file. */
  CACHE_PUNCHED,
  /** The file of a content that is being removed is gone, its map is not. */
  CACHE_REMOVING,
  /** The file that is to share a content's blocks exists, and is empty. */
  CACHE_SEALING
}
