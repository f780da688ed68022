/** The object store on Google Cloud Storage; this version has no more than its name. */
package org.lifeboat.gcs;
