/** The messages that CRIU 4.2 sends to a page server, and the rules of their order; no I/O. */
package org.lifeboat.protocol;
