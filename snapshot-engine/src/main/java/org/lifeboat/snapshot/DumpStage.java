package org.lifeboat.snapshot;

/** Where a dump stands; from COMMITTING on nothing can stop it. */
enum DumpStage {
  RUNNING,
  GIVEN_UP,
  COMMITTING,
  COMMITTED
}
