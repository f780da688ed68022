package org.lifeboat.vfs;

/** A file that was made and opened at once. */
public record Created(Entry entry, Opened opened) {}
