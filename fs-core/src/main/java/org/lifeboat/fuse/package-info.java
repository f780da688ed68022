/**
 * The kernel's FUSE protocol, spoken on /dev/fuse: the mount, requests and replies, the threads
 * that serve them, passthrough, notifications, and the take-over of a mount from a server that
 * died. Knows nothing of what the files are.
 */
package org.lifeboat.fuse;
