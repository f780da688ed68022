/**
 * How pages are kept: frames of compressed pages, packs of frames in an object store, and the index
 * that says where each page is.
 */
package org.lifeboat.page;
