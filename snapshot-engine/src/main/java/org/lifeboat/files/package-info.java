/**
 * The files of a snapshot where there is no mount: what the task changed or holds open is captured
 * while its tree is frozen, and put back before its memory is.
 *
 * <p>{@link org.lifeboat.files.Scope} says what belongs to the task, {@link
 * org.lifeboat.files.Baseline} how it was at the start, {@link org.lifeboat.files.Capture} writes
 * the difference and what is open into a {@link org.lifeboat.files.Manifest} and a {@link
 * org.lifeboat.files.ContentSink}, {@link org.lifeboat.files.RollBack} applies it to a host.
 */
package org.lifeboat.files;
