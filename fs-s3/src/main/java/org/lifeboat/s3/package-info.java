/** The object store on Amazon S3 and on servers that speak its protocol. */
package org.lifeboat.s3;
