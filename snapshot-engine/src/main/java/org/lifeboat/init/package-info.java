/**
 * The engine's side of {@code lifeboat-init}, the small program that is PID 1 and starts
 * everything.
 */
package org.lifeboat.init;
