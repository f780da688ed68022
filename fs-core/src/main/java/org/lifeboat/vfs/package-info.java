/**
 * The file system as a transport drives it, without the transport: {@link
 * org.lifeboat.vfs.FileOperations} and its types.
 */
package org.lifeboat.vfs;
