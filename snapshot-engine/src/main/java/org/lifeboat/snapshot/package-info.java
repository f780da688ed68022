/**
 * Snapshots in the store: what they hold, who owns them, and how one comes into being and back to
 * life.
 */
package org.lifeboat.snapshot;
