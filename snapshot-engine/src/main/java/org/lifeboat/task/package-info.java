/** One run of a task, from the command line to its exit code. */
package org.lifeboat.task;
