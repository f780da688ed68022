/** The {@code lifeboat} command. */
package org.lifeboat.cli;
