package org.lifeboat.task;

import org.lifeboat.criu.HookServer;
import org.lifeboat.init.Children;
import org.lifeboat.init.InitClient;
import org.lifeboat.snapshot.Context;
import org.lifeboat.snapshot.Dumper;
import org.lifeboat.snapshot.MetadataStore;
import org.lifeboat.snapshot.Ownership;
import org.lifeboat.snapshot.Retention;
import org.lifeboat.snapshot.TaskFiles;
import org.lifeboat.store.ObjectStore;

/**
 * What a run has opened by now and works with: {@link Opening} fills it in, the rest of the engine
 * uses it, and {@link Leaving} closes it, however far it came. Each part is null until it is there.
 */
final class RunParts {

  InitClient init;
  Children children;
  RunRegistry registry;
  TaskFiles files;
  ObjectStore store;
  MetadataStore metadata;
  Ownership ownership;
  HookServer hooks;
  ControlServer control;

  // from here on: only when the store is this run's
  Context context;
  Retention retention;
  Dumper dumper;
  OwnerWatch watch;
  Hold hold;
  Standstill standstill;
}
