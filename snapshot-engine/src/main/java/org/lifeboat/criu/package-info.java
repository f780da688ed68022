/**
 * CRIU as a program: its command lines, its hooks, its images as far as we change them, and its log
 * in words.
 */
package org.lifeboat.criu;
