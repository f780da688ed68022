/**
 * The dump side: pages come from CRIU over a UNIX socket, and go compressed into packs and an
 * index.
 */
package org.lifeboat.receive;
