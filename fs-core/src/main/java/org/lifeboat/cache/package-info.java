/**
 * The cache on a local disk: contents of files, whole or by blocks, fetched from a store by ranges,
 * read ahead, checked by checksums, evicted when room is short. It knows neither FUSE nor object
 * stores; a {@link org.lifeboat.cache.Source} gives it bytes. {@link org.lifeboat.cache.Layout}
 * draws what is on the disk.
 */
package org.lifeboat.cache;
