/** The restore side: from packs and index back to the images that CRIU reads. */
package org.lifeboat.serve;
