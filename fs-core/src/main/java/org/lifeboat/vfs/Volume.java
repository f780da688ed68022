package org.lifeboat.vfs;

import org.lifeboat.store.ObjectStore;

/**
 * A store in the mount.
 *
 * @param root its root's node
 */
record Volume(long root, ObjectStore store) {}
