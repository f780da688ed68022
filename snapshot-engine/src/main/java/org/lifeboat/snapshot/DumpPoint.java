package org.lifeboat.snapshot;

import org.lifeboat.crash.CrashPoint;

/** Where a dump can be met by the death of something, in the order in which it gets there. */
public enum DumpPoint implements CrashPoint {
  /** Nothing is written yet. */
  DUMP_UNKNOWN,
  /** The store has it as DUMPING. */
  DUMP_BEGUN,
  /** CRIU was started. */
  DUMP_CRIU_STARTED,
  /** In CRIU's hook {@code pre-dump}: it freezes the tree right behind this. */
  DUMP_FREEZING,
  /** The first image with pages was opened; on the thread that receives. */
  DUMP_RECEIVING,
  /** The sink of pages or files has begun a pack. */
  DUMP_PACK_BEGUN,
  /** The sink of pages or files has a part safe. */
  DUMP_PART_SAFE,
  /** The sink of pages or files has a pack whole. */
  DUMP_PACK_SAFE,
  /** All pages are received, and CRIU has its answer. */
  DUMP_RECEIVED,
  /** In CRIU's hook {@code post-dump}, the tree frozen. */
  DUMP_HOOK,
  /** What the task had written to its pipes is out. */
  DUMP_DRAINED,
  /** The files of the instant are captured. */
  DUMP_FILES_CAPTURED,
  /** The packs are finished. */
  DUMP_PACKED,
  /** Every byte is fixed. */
  DUMP_SEALED,
  /** The store has all packs. */
  DUMP_PACKS_STORED,
  /** The store has the images, but no manifest. */
  DUMP_IMAGES_STORED,
  /** The store has the manifest. */
  DUMP_MANIFEST_STORED,
  /** The commit is about to be written. */
  DUMP_COMMITTING,
  /** The commit is written and known here. */
  DUMP_COMMITTED,
  /** The hook is decided and about to answer. */
  DUMP_VOTED,
  /** CRIU has ended. */
  DUMP_CRIU_ENDED,
  /** It failed, and the store does not know. */
  DUMP_FAILING,
  /** The store has it as FAILED, and what it had brought there. */
  DUMP_FAILED
}
