/**
 * Object storage as Lifeboat uses it: a small synchronous interface for virtual threads, the {@code
 * file://} store, and the decorators that go around any store.
 */
package org.lifeboat.store;
