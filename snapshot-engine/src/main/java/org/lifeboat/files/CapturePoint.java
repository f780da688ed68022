package org.lifeboat.files;

import org.lifeboat.crash.CrashPoint;

/** Where a capture can be met by the death of something, in the order in which it gets there. */
public enum CapturePoint implements CrashPoint {
  /** What the tree has open and mapped is known. */
  CAPTURE_BEGUN,
  /** The scope was walked; contents may still be on their way to the sink. */
  CAPTURE_WALKED,
  /** All content is in the sink; the manifest is not finished. */
  CAPTURE_CONTENT
}
