/**
 * The system calls that Java's file API lacks or bends: names as bytes, holes, extended attributes,
 * nodes, times to the nanosecond, renames that replace nothing. The one place of native file calls;
 * needs {@code --enable-native-access}.
 */
package org.lifeboat.sys;
