/**
 * Tests of the whole product: real tasks, real CRIU, real object stores, and hosts that share
 * nothing but the store.
 */
package org.lifeboat.deploy;
