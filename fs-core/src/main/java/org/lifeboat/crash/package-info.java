/** Named instants at which a test can stop a process, to kill it or another one exactly there. */
package org.lifeboat.crash;
