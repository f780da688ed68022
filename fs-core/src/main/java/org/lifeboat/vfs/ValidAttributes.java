package org.lifeboat.vfs;

/**
 * Attributes, and how long the kernel may go on telling them without asking again.
 *
 * @param validNanos from 0 on; {@link Entry#FOREVER} until they are invalidated
 */
public record ValidAttributes(Attributes attributes, long validNanos) {}
